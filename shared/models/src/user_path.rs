//! A user's own model: a path instead of a name.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::catalogue::{Role, Task};
use crate::error::ModelError;
use crate::files::ModelFiles;

/// The files that a folder may hold, the first match of a role wins.
const KNOWN: [(Role, &str); 8] = [
    (Role::Weights, "model.safetensors"),
    (Role::Onnx, "model.onnx"),
    (Role::Onnx, "onnx/model.onnx"),
    (Role::Tokenizer, "tokenizer.json"),
    (Role::Config, "config.json"),
    (Role::SpecialTokens, "special_tokens_map.json"),
    (Role::TokenizerConfig, "tokenizer_config.json"),
    (Role::Licence, "LICENSE"),
];

/// Whether a text that is no name of the catalogue is meant as a path: it exists, or it looks like one.
pub(crate) fn looks_like_path(name: &str) -> bool {
    let path = Path::new(name);
    let suffix = path.extension().is_some_and(|suffix| {
        ["gguf", "so", "dylib", "dll", "onnx"]
            .iter()
            .any(|s| suffix == *s)
    });
    name.contains(['/', '\\']) || suffix || path.exists()
}

/// The model at a path.
pub(crate) fn resolve(name: &str) -> Result<ModelFiles, ModelError> {
    let path = std::path::absolute(name).unwrap_or_else(|_| PathBuf::from(name));
    if path.is_dir() {
        folder(name, &path)
    } else if path.is_file() {
        single(name, &path)
    } else {
        Err(unusable(&path, "there is no such file or folder"))
    }
}

fn unusable(path: &Path, what: impl Into<String>) -> ModelError {
    ModelError::UserPath {
        path: path.to_owned(),
        what: what.into(),
    }
}

fn single(name: &str, path: &Path) -> Result<ModelFiles, ModelError> {
    let suffix = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let (task, role) = match suffix.as_str() {
        _ if is_gguf(path) => (Task::Generate, Role::Gguf),
        "gguf" => {
            return Err(unusable(
                path,
                "it does not begin with the letters GGUF, so it is cut or something else",
            ));
        }
        "so" | "dylib" | "dll" => (Task::Runtime, Role::Library),
        _ if path.to_string_lossy().contains(".so.") => (Task::Runtime, Role::Library),
        "safetensors" | "onnx" => {
            return Err(unusable(
                path,
                "name the folder, which must hold tokenizer.json and config.json too",
            ));
        }
        _ => {
            return Err(unusable(
                path,
                "a GGUF file, a shared library, or a safetensors or ONNX folder is expected",
            ));
        }
    };
    Ok(own(
        name,
        path.parent().unwrap_or(Path::new("/")),
        task,
        String::new(),
        vec![(role, path.to_owned())],
    ))
}

fn is_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok()
        && &magic == b"GGUF"
}

fn folder(name: &str, dir: &Path) -> Result<ModelFiles, ModelError> {
    let files = known_files(dir);
    let has = |role: Role| files.iter().any(|(found, _)| *found == role);
    if !has(Role::Weights) && !has(Role::Onnx) {
        return only_gguf(name, dir);
    }
    if !has(Role::Tokenizer) {
        return Err(unusable(dir, "it has weights but no tokenizer.json"));
    }
    let (task, architecture) = read_config(dir)?;
    Ok(own(name, dir, task, architecture, files))
}

fn known_files(dir: &Path) -> Vec<(Role, PathBuf)> {
    let mut files: Vec<(Role, PathBuf)> = Vec::new();
    for (role, name) in KNOWN {
        let path = dir.join(name);
        if path.is_file() && !files.iter().any(|(found, _)| *found == role) {
            files.push((role, path));
        }
    }
    files
}

fn only_gguf(name: &str, dir: &Path) -> Result<ModelFiles, ModelError> {
    let entries = std::fs::read_dir(dir).map_err(|error| unusable(dir, error.to_string()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && is_gguf(path))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => single(name, &path),
        (Some(_), false) => Err(unusable(
            dir,
            "it holds several GGUF files; name one of them",
        )),
        (None, _) => Err(unusable(
            dir,
            "it holds neither model.safetensors nor model.onnx nor a GGUF file",
        )),
    }
}

/// Task and architecture from `config.json`; an embedder where it does not say more.
fn read_config(dir: &Path) -> Result<(Task, String), ModelError> {
    let path = dir.join("config.json");
    let text =
        std::fs::read_to_string(&path).map_err(|error| unusable(&path, error.to_string()))?;
    let config: Value =
        serde_json::from_str(&text).map_err(|error| unusable(&path, error.to_string()))?;
    let class = config
        .pointer("/architectures/0")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let task = match class {
        _ if class.ends_with("ForSequenceClassification") => Task::Rerank,
        _ if class.ends_with("ForCausalLM") => Task::Generate,
        _ => Task::Embed,
    };
    let architecture = config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok((task, architecture.to_owned()))
}

fn own(
    name: &str,
    dir: &Path,
    task: Task,
    architecture: String,
    files: Vec<(Role, PathBuf)>,
) -> ModelFiles {
    ModelFiles {
        name: name.to_owned(),
        task,
        architecture,
        dir: dir.to_owned(),
        entry: None,
        files,
    }
}
