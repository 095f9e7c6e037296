//! The four tokenizer files that fastembed wants of a user's own model. Packages often lack three of them, so they are made here.

use crate::{EmbedError, EmbedFiles, EmbedTokenizer, profile::TokenizerFacts};
use fastembed::TokenizerFiles;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// A tokenizer that only reads ids that [`write_ids`] wrote.
///
/// The model's own tokenizer runs once, in [`EmbedTokenizer`], which the chunker shares. Giving fastembed the real one too took
/// another 250 MB and 2 s for multilingual-e5-small.
pub(crate) fn id_reader(
    files: &EmbedFiles,
    tokenizer: &EmbedTokenizer,
) -> Result<TokenizerFiles, EmbedError> {
    let pad = PadToken::of(files, tokenizer)?;
    let highest = tokenizer.vocabulary().max(pad.id + 1);
    // Text, not a value: a map of 250,000 entries takes longer to make than the model to load.
    let mut vocabulary = String::with_capacity(16 * highest as usize);
    for id in 0..highest {
        let comma = if id == 0 { "" } else { "," };
        let _ = write!(vocabulary, "{comma}\"{id}\":{id}"); // a string takes everything
    }
    let pad_name = pad.id.to_string();
    let tokenizer_file = format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {{"type": "WhitespaceSplit"}}, "post_processor": null, "decoder": null,
        "model": {{"type": "WordLevel", "vocab": {{{vocabulary}}}, "unk_token": "{pad_name}"}}}}"#
    );
    Ok(with_small_files(
        tokenizer_file.into_bytes(),
        pad.id,
        &pad_name,
        usize::MAX,
    ))
}

/// Ids as a text that [`id_reader`] reads.
pub(crate) fn write_ids(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// The model's own tokenizer, cut to `max_tokens`.
pub(crate) fn own_tokenizer(
    files: &EmbedFiles,
    max_tokens: usize,
) -> Result<TokenizerFiles, EmbedError> {
    let pad = PadToken::find(files)?;
    let tokenizer_file =
        std::fs::read(&files.tokenizer).map_err(EmbedError::read(&files.tokenizer))?;
    Ok(with_small_files(
        tokenizer_file,
        pad.id,
        &pad.content,
        max_tokens,
    ))
}

fn with_small_files(
    tokenizer_file: Vec<u8>,
    pad_id: u32,
    pad_token: &str,
    max_tokens: usize,
) -> TokenizerFiles {
    TokenizerFiles {
        tokenizer_file,
        config_file: bytes(&json!({ "pad_token_id": pad_id })),
        special_tokens_map_file: bytes(&json!({})), // they stand in tokenizer.json
        tokenizer_config_file: bytes(
            &json!({ "model_max_length": max_tokens, "pad_token": pad_token }),
        ),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The token that fills a batch up. The mask hides it, but RoBERTa's own exports count positions by its id.
struct PadToken {
    id: u32,
    content: String,
}

/// What is read of `tokenizer.json` to find it.
#[derive(Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

impl PadToken {
    /// The same as [`PadToken::find`], by a tokenizer that is loaded: its file is not read again.
    fn of(files: &EmbedFiles, tokenizer: &EmbedTokenizer) -> Result<Self, EmbedError> {
        let found = Self::candidates(files)?
            .into_iter()
            .find_map(|content| Some((tokenizer.added_id(&content)?, content)));
        let (id, content) = found.unwrap_or_else(|| (0, "[PAD]".into()));
        Ok(Self { id, content })
    }

    /// The declared one, and the usual ones.
    fn candidates(files: &EmbedFiles) -> Result<Vec<String>, EmbedError> {
        let declared = TokenizerFacts::read(files)?.pad_token;
        let usual = ["[PAD]", "<pad>"].map(String::from);
        Ok(declared.into_iter().chain(usual).collect())
    }

    /// The declared one, else the usual ones, else the token with id 0.
    fn find(files: &EmbedFiles) -> Result<Self, EmbedError> {
        let path = &files.tokenizer;
        let json = std::fs::read(path).map_err(EmbedError::read(path))?;
        let added: AddedTokens =
            serde_json::from_slice(&json).map_err(|e| EmbedError::invalid(path, e))?;
        let found = Self::candidates(files)?
            .into_iter()
            .filter_map(|content| {
                added
                    .added_tokens
                    .iter()
                    .find(|token| token.content == content)
            })
            .next();
        Ok(found.map_or(
            Self {
                id: 0,
                content: "[PAD]".into(),
            },
            |t| Self {
                id: t.id,
                content: t.content.clone(),
            },
        ))
    }
}
