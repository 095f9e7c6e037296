//! Here is a model's folder, tell me what is in it, without loading it.

use crate::error::Result;
use crate::settings::Settings;
use crate::tokenizer::Tokenizer;
use crate::weights::Source;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What a model's files hold.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The checked configuration.
    pub settings: Settings,
    /// `gguf` or `safetensors`.
    pub format: &'static str,
    /// Number of weights.
    pub parameters: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Weights by the kind of tensor (its name without the layer) and its element type.
    pub classes: BTreeMap<String, BTreeMap<String, usize>>,
    /// The tokenizer, where there is one that Lore can use.
    pub tokenizer: Option<TokenizerInspection>,
    /// Why there is none.
    pub tokenizer_problem: Option<String>,
}

/// What a tokenizer holds.
#[derive(Clone, Debug, Serialize)]
pub struct TokenizerInspection {
    /// Whether the model can hold a conversation.
    pub chat_template: bool,
    /// The texts of the tokens that end an answer.
    pub stops: Vec<String>,
}

/// Reads what is there; the weights themselves stay on disk.
///
/// # Errors
/// A file that is missing or damaged; an architecture or a setting that Lore does not compute, by name.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let source = Source::open(path)?;
    let (format, sizes) = match &source {
        Source::Folder(folder) => ("safetensors", folder.sizes()),
        Source::Gguf(file) => ("gguf", file.sizes()),
    };
    let mut classes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (name, dtype, count) in &sizes {
        *classes
            .entry(class(name))
            .or_default()
            .entry(dtype.clone())
            .or_default() += count;
    }
    let (tokenizer, tokenizer_problem) = match tokenizer(&source) {
        Ok(tokenizer) => (Some(tokenizer), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(Inspection {
        settings: source.settings()?,
        format,
        parameters: sizes.iter().map(|size| size.2).sum(),
        tensors: sizes.len(),
        classes,
        tokenizer,
        tokenizer_problem,
    })
}

fn tokenizer(source: &Source) -> Result<TokenizerInspection> {
    let tokenizer = Tokenizer::load(source)?;
    let stops = tokenizer
        .stops()
        .iter()
        .map(|stop| tokenizer.token_text(*stop))
        .collect();
    Ok(TokenizerInspection {
        chat_template: tokenizer.template().is_some(),
        stops,
    })
}

/// A tensor's name without the number of its layer.
fn class(name: &str) -> String {
    let parts = name
        .split('.')
        .filter(|part| part.parse::<usize>().is_err());
    parts.collect::<Vec<_>>().join(".")
}
