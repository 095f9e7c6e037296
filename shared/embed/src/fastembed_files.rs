//! The four tokenizer files that fastembed wants of a user's own model. Packages often lack three of them, so they are made here.

use crate::{EmbedError, EmbedFiles, EmbedTokenizer, profile::TokenizerFacts};
use fastembed::TokenizerFiles;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A tokenizer that only reads ids that [`write_ids`] wrote.
///
/// The model's own tokenizer runs once, in [`EmbedTokenizer`], which the chunker shares. Giving fastembed the real one too took
/// another 250 MB and 2 s for multilingual-e5-small.
pub(crate) fn id_reader(
    files: &EmbedFiles,
    tokenizer: &EmbedTokenizer,
) -> Result<TokenizerFiles, EmbedError> {
    let pad = PadToken::find(files)?;
    let highest = tokenizer.vocabulary().max(pad.id + 1);
    let vocabulary: Map<String, Value> =
        (0..highest).map(|id| (id.to_string(), id.into())).collect();
    let tokenizer_file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": pad.id.to_string() },
    });
    Ok(with_small_files(
        bytes(&tokenizer_file),
        pad.id,
        &pad.id.to_string(),
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
    /// The declared one, else the usual ones, else the token with id 0.
    fn find(files: &EmbedFiles) -> Result<Self, EmbedError> {
        let path = &files.tokenizer;
        let json = std::fs::read(path).map_err(EmbedError::read(path))?;
        let added: AddedTokens =
            serde_json::from_slice(&json).map_err(|e| EmbedError::invalid(path, e))?;
        let declared = TokenizerFacts::read(files)?.pad_token;
        let candidates = declared
            .into_iter()
            .chain(["[PAD]", "<pad>"].map(String::from));
        let found = candidates
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
