//! What the small files beside a model say of its use.

use crate::{EmbedError, EmbedFiles, EmbedProfile, Pooling};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::Path;

/// Lore's own file, for what no other file says.
const LORE_FILE: &str = "lore-embedder.json";

/// The profile of the model in `files`: `lore-embedder.json`, else the files of sentence-transformers, else what is known of the
/// model's name.
///
/// # Errors
/// A file that is not JSON, an unknown field in `lore-embedder.json`, or a way of pooling that cannot be followed.
pub(crate) fn read_profile(files: &EmbedFiles) -> Result<EmbedProfile, EmbedError> {
    let own: EmbedProfile = read_json(&files.dir.join(LORE_FILE))?.unwrap_or_default();
    let declared = EmbedProfile {
        pooling: read_pooling(&files.dir)?,
        max_tokens: read_max_tokens(files)?,
        ..read_prompts(&files.dir)?
    };
    Ok(own.or(declared).or(known_profile(files)))
}

/// Families whose files do not say it all.
fn known_profile(files: &EmbedFiles) -> EmbedProfile {
    let name = files.name.to_lowercase();
    if files.is_e5s1()
        || ["e5-small", "e5-base", "e5-large"]
            .iter()
            .any(|e5| name.contains(e5))
    {
        let prefix = |text: &str| Some(text.to_string());
        return EmbedProfile {
            query_prefix: prefix("query: "),
            passage_prefix: prefix("passage: "),
            ..Default::default()
        };
    }
    let max_tokens = name.contains("all-minilm-l6").then_some(256);
    EmbedProfile {
        max_tokens,
        ..Default::default()
    }
}

/// `modules.json`: the steps of a sentence-transformers model.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    pooling_mode: Option<String>,
}

fn read_pooling(dir: &Path) -> Result<Option<Pooling>, EmbedError> {
    let modules_path = dir.join("modules.json");
    let modules: Vec<Module> = read_json(&modules_path)?.unwrap_or_default();
    if let Some(module) = modules.iter().find(|m| m.kind.ends_with(".Dense")) {
        let reason = format!(
            "the model ends in a Dense module (`{}`), which cannot be followed",
            module.path
        );
        return Err(EmbedError::invalid(&modules_path, reason));
    }
    let folder = modules
        .iter()
        .find(|m| m.kind.ends_with(".Pooling"))
        .map_or("1_Pooling", |m| m.path.as_str());
    let path = dir.join(folder).join("config.json");
    let config: Option<PoolingConfig> = read_json(&path)?;
    config.map(|config| config.pooling(&path)).transpose()
}

impl PoolingConfig {
    fn pooling(&self, path: &Path) -> Result<Pooling, EmbedError> {
        match (
            self.pooling_mode.as_deref(),
            self.pooling_mode_cls_token,
            self.pooling_mode_mean_tokens,
        ) {
            (Some("cls"), ..) | (None, true, false) => Ok(Pooling::Cls),
            (Some("mean"), ..) | (None, false, true) => Ok(Pooling::Mean),
            (mode, ..) => {
                let mode = mode.unwrap_or("neither or both of cls and mean");
                Err(EmbedError::invalid(
                    path,
                    format!("pooling `{mode}` cannot be followed; cls and mean can"),
                ))
            }
        }
    }
}

/// `config_sentence_transformers.json`: prompts by purpose.
fn read_prompts(dir: &Path) -> Result<EmbedProfile, EmbedError> {
    let path = dir.join("config_sentence_transformers.json");
    let config: Value = read_json(&path)?.unwrap_or_default();
    let prompt = |names: [&str; 3]| {
        names
            .iter()
            .find_map(|name| config.get("prompts")?.get(name)?.as_str().map(String::from))
    };
    Ok(EmbedProfile {
        query_prefix: prompt(["query", "search_query", "retrieval.query"]),
        passage_prefix: prompt(["passage", "document", "search_document"]),
        ..Default::default()
    })
}

fn read_max_tokens(files: &EmbedFiles) -> Result<Option<usize>, EmbedError> {
    let declared: Option<Value> = read_json(&files.dir.join("sentence_bert_config.json"))?;
    let length = declared
        .as_ref()
        .and_then(|config| config.get("max_seq_length")?.as_u64());
    Ok(length.and_then(|length| usize::try_from(length).ok()))
}

/// What the tokenizer's own small files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenizerFacts {
    pub pad_token: Option<String>,
    pub max_tokens: Option<usize>,
}

impl TokenizerFacts {
    /// Reads `tokenizer_config.json`, where it is there.
    pub(crate) fn read(files: &EmbedFiles) -> Result<Self, EmbedError> {
        let config: Value = read_json(&files.tokenizer.with_file_name("tokenizer_config.json"))?
            .unwrap_or_default();
        let pad = config.get("pad_token");
        let pad = pad.and_then(|pad| pad.as_str().or_else(|| pad.get("content")?.as_str()));
        // "no limit" is written as 1e30
        let length = config
            .get("model_max_length")
            .and_then(Value::as_f64)
            .filter(|n| (1.0..1e9).contains(n));
        Ok(Self {
            pad_token: pad.map(String::from),
            max_tokens: length.map(|n| n as usize),
        })
    }
}

/// The file as JSON, or `None` where there is no such file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EmbedError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EmbedError::read(path)(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| EmbedError::invalid(path, e))
}
