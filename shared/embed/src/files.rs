use crate::{EmbedError, onnx::E5S1_MAGIC};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The files of one embedder or reranker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedFiles {
    /// Its name, for messages and known vectors.
    pub name: String,
    /// Its folder, in which its small configuration files are looked for.
    pub dir: PathBuf,
    /// A model that is used as it is; goes before `weights`.
    pub onnx: Option<PathBuf>,
    /// Weights to export: safetensors (or their index), or `E5S1`.
    pub weights: Option<PathBuf>,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Where the exported model is kept; the folder itself unless changed.
    pub export_dir: PathBuf,
}

impl EmbedFiles {
    /// Finds the files of model `name` in the folder `dir`.
    ///
    /// # Errors
    /// [`EmbedError::Missing`] says which file is not there and how to get it; a folder that cannot be read is
    /// [`EmbedError::Read`].
    pub fn find(name: impl Into<String>, dir: impl Into<PathBuf>) -> Result<Self, EmbedError> {
        let (name, dir) = (name.into(), dir.into());
        let missing = |missing| EmbedError::Missing {
            name: name.clone(),
            dir: dir.clone(),
            missing,
        };
        if !dir.is_dir() {
            return Err(missing("the folder"));
        }
        let tokenizer = first_file(&dir, &["tokenizer.json", "onnx/tokenizer.json"])
            .ok_or_else(|| missing("tokenizer.json"))?;
        let onnx = first_file(&dir, &["model.onnx", "onnx/model.onnx"]);
        let weights = match first_file(&dir, &["model.safetensors", "model.safetensors.index.json"])
        {
            Some(path) => Some(path),
            None => find_e5s1(&dir)?,
        };
        if onnx.is_none() && weights.is_none() {
            return Err(missing("model.onnx, model.safetensors or an E5S1 file"));
        }
        let export_dir = dir.clone();
        Ok(Self {
            name,
            dir,
            onnx,
            weights,
            tokenizer,
            export_dir,
        })
    }

    /// Its `config.json`, whether it is there or not.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("config.json")
    }

    /// Whether the weights are an `E5S1` file.
    pub(crate) fn is_e5s1(&self) -> bool {
        self.weights.as_deref().is_some_and(has_e5s1_magic)
    }
}

fn first_file(dir: &Path, names: &[&str]) -> Option<PathBuf> {
    names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

/// The first `*.bin` that begins as an `E5S1` file.
fn find_e5s1(dir: &Path) -> Result<Option<PathBuf>, EmbedError> {
    let entries = std::fs::read_dir(dir).map_err(EmbedError::read(dir))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    paths.sort();
    Ok(paths
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "bin") && has_e5s1_magic(path)))
}

fn has_e5s1_magic(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && &magic == E5S1_MAGIC
}
