use super::staged::{Output, StagedFolder};
use super::weights::{Named, Weights};
use super::{config, tokens};
use crate::error::{ModelError, Result};
use crate::weights::Source;
use candle_core::DType;
use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Map, json};
use std::path::Path;

/// Values that one thread converts at a time.
const PIECE: usize = 16 * 1024;

pub(super) fn write(weights: &Weights<'_>, out: &Path) -> Result<()> {
    let folder = StagedFolder::new(out)?;
    folder.text("config.json", &config::text(weights)?)?;
    tokens::write_files(weights, &folder)?;
    write_weights(weights, &folder.path().join("model.safetensors"))?;
    folder.finish()
}

fn write_weights(weights: &Weights<'_>, path: &Path) -> Result<()> {
    let names = weights.names();
    let dtypes: Vec<DType> = names.iter().map(|named| dtype(weights, named)).collect();
    let mut file = Output::create(path)?;
    let header = header(&names, &dtypes);
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(header.as_bytes())?;
    for (named, dtype) in names.iter().zip(&dtypes) {
        file.write(&bytes(named, &weights.values(named)?, *dtype)?)?;
    }
    file.finish()
}

/// The base's own type; float32 for what was quantised or trained as a whole.
fn dtype(weights: &Weights<'_>, named: &Named) -> DType {
    match weights.source {
        Source::Folder(folder) if !weights.is_trained() => folder
            .dtype(&named.name)
            .or_else(|| folder.dtype("model.embed_tokens.weight"))
            .filter(|dtype| matches!(dtype, DType::F16 | DType::BF16))
            .unwrap_or(DType::F32),
        _ => DType::F32,
    }
}

fn header(names: &[Named], dtypes: &[DType]) -> String {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for (named, dtype) in names.iter().zip(dtypes) {
        let end = start + named.count() * dtype.size_in_bytes();
        let kind = match dtype {
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            _ => "F32",
        };
        entries.insert(
            named.name.clone(),
            json!({"dtype": kind, "shape": named.shape, "data_offsets": [start, end]}),
        );
        start = end;
    }
    let mut text = serde_json::Value::Object(entries).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    text
}

fn bytes(named: &Named, values: &[f32], dtype: DType) -> Result<Vec<u8>> {
    match dtype {
        DType::F16 => halves(&named.name, values),
        DType::BF16 => Ok(spread(values, |value| bf16::from_f32(value).to_le_bytes())),
        _ => Ok(singles(values)),
    }
}

/// Values as `N` bytes each, on all threads.
fn spread<const N: usize>(values: &[f32], convert: impl Fn(f32) -> [u8; N] + Sync) -> Vec<u8> {
    let mut out = vec![0u8; values.len() * N];
    out.par_chunks_mut(PIECE * N)
        .zip(values.par_chunks(PIECE))
        .for_each(|(out, values)| {
            for (out, value) in out.chunks_exact_mut(N).zip(values) {
                out.copy_from_slice(&convert(*value));
            }
        });
    out
}

pub(super) fn singles(values: &[f32]) -> Vec<u8> {
    spread(values, f32::to_le_bytes)
}

/// Half precision ends at 65504.
pub(super) fn halves(name: &str, values: &[f32]) -> Result<Vec<u8>> {
    let too_large = |value: &&f32| !f16::from_f32(**value).is_finite();
    match values.par_iter().find_any(too_large) {
        Some(value) => Err(ModelError::Invalid(format!(
            "`{name}` holds {value}, which half precision cannot"
        ))),
        None => Ok(spread(values, |value| f16::from_f32(value).to_le_bytes())),
    }
}
