//! Here are a base model and an adapter, give me one model for other tools: a merged folder in the Hugging Face layout, or
//! one GGUF file for llama.cpp and its relatives.
//!
//! Weights are read, changed and written one by one, so the model is never in memory as a whole. What is written appears
//! whole or not at all. A model that the format cannot express is refused, never approximated.

mod config;
mod folder;
mod gguf;
mod metadata;
mod same;
mod staged;
mod tokens;
mod weights;

pub use gguf::GgufType;

use crate::error::Result;
use crate::lora::Adapter;
use crate::train::Parameters;
use crate::weights::Source;
use std::path::Path;
use weights::{Changed, Weights};

/// Writes `config.json`, `model.safetensors` and the tokenizer's files to the folder `out`, with the adapter merged into
/// the weights. They keep the base's element type; those of a GGUF base become float32.
///
/// An adapter on an output projection that is tied to the embeddings unties it.
///
/// # Errors
/// A folder that already holds files; an adapter that does not fit; a file that cannot be written.
pub fn merged(source: &Source, adapter: Option<&Adapter>, out: &Path) -> Result<()> {
    let changed = adapter.map_or(Changed::Nothing, Changed::Adapter);
    folder::write(&Weights::new(source, changed)?, out)
}

/// The same for a model whose every weight was trained, in float32.
///
/// # Errors
/// As [`merged`]; parameters that are an adapter's.
pub fn trained(source: &Source, parameters: &Parameters, out: &Path) -> Result<()> {
    folder::write(&Weights::new(source, Changed::Trained(parameters))?, out)
}

/// Writes one GGUF file with the adapter merged into the weights: matrices as `kind` says, all else in float32.
///
/// # Errors
/// A file that is already there or cannot be written; an adapter that does not fit; a model or a tokenizer that GGUF has
/// no words for, by the setting.
pub fn gguf(source: &Source, adapter: Option<&Adapter>, kind: GgufType, out: &Path) -> Result<()> {
    let changed = adapter.map_or(Changed::Nothing, Changed::Adapter);
    gguf::write(&Weights::new(source, changed)?, kind, out)
}
