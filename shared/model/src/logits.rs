//! Here are token ids in a file, give me the logits in another, so that anybody can compare them.

use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::lora::Adapter;
use crate::weights::{Source, read_safetensors, write_safetensors};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of the tensor of token ids, the first that is there.
const IDS: [&str; 2] = ["input_ids", "ids"];

/// What logits are computed from, and where they go.
#[derive(Clone, Debug)]
pub struct LogitsFiles {
    /// A GGUF file or a folder in the Hugging Face layout.
    pub model: PathBuf,
    /// A PEFT folder.
    pub adapter: Option<PathBuf>,
    /// Safetensors with `input_ids` or `ids`: (batch, tokens) or (tokens), whole numbers.
    pub ids: PathBuf,
    /// Safetensors that is written: `logits` (batch, tokens, vocabulary), float32.
    pub out: PathBuf,
}

/// Computes the logits of every token on the CPU, and writes them; gives their shape.
///
/// # Errors
/// Files that are missing or damaged; ids that are not in the vocabulary; an adapter of another base.
pub fn write_logits(files: &LogitsFiles) -> Result<[usize; 3]> {
    let rows = read_ids(&files.ids)?;
    let source = Source::open(&files.model)?;
    let settings = source.settings()?;
    let vocabulary = settings.vocab_size;
    let wrong = rows.iter().flatten().find(|id| **id as usize >= vocabulary);
    if let Some(id) = wrong {
        let problem =
            format!("token id {id} is not below {vocabulary}, the size of the vocabulary");
        return Err(ModelError::damaged(&files.ids, problem));
    }
    let decoder = Decoder::load(&source, None, 0, &Device::Cpu)?;
    let base = files.model.display().to_string();
    let load =
        |folder: &PathBuf| Adapter::load(folder, &decoder, &folder.display().to_string(), &base);
    let adapter = files.adapter.as_ref().map(load).transpose()?;
    let logits = decoder.all_logits(&rows, adapter.as_ref())?;
    let logits = logits.to_dtype(DType::F32)?.contiguous()?; // (batch, tokens, vocabulary)
    let shape = logits.dims3()?;
    write_safetensors(&files.out, &BTreeMap::from([("logits".to_owned(), logits)]))?;
    Ok(shape.into())
}

fn read_ids(path: &Path) -> Result<Vec<Vec<u32>>> {
    let mut tensors = read_safetensors(path, &Device::Cpu)?;
    let damaged = |problem: String| ModelError::damaged(path, problem);
    let found = IDS.iter().find_map(|name| tensors.remove(*name));
    let ids = found.ok_or_else(|| damaged("it has neither `input_ids` nor `ids`".to_owned()))?;
    let ids = match ids.rank() {
        1 => ids.unsqueeze(0)?,
        2 => ids,
        rank => {
            return Err(damaged(format!(
                "the ids have {rank} dimensions, not (batch, tokens)"
            )));
        }
    };
    if !matches!(
        ids.dtype(),
        DType::I64 | DType::U32 | DType::I32 | DType::U8
    ) || ids.elem_count() == 0
    {
        return Err(damaged(format!(
            "the ids are {:?} of type {:?}; whole numbers are needed",
            ids.dims(),
            ids.dtype()
        )));
    }
    rows(&ids, &damaged)
}

fn rows(ids: &Tensor, damaged: &impl Fn(String) -> ModelError) -> Result<Vec<Vec<u32>>> {
    let rows: Vec<Vec<i64>> = ids.to_dtype(DType::I64)?.to_vec2()?;
    let id = |id: i64| u32::try_from(id).map_err(|_| damaged(format!("{id} is no token id")));
    rows.into_iter()
        .map(|row| row.into_iter().map(id).collect())
        .collect()
}
