//! Hugging Face weights: one `model.safetensors`, or several with an index.

use crate::EmbedError;
use half::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::Read,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The longest header that is believed.
const MAX_HEADER: u64 = 100 << 20;

/// Open safetensors files of one model.
#[derive(Debug)]
pub(crate) struct SafeTensorsFiles {
    path: PathBuf,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    /// Where the first tensor's bytes begin.
    start: u64,
    tensors: HashMap<String, TensorInfo>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl SafeTensorsFiles {
    /// Opens `path`: a `.safetensors` file, or an index of several.
    pub(crate) fn open(path: &Path) -> Result<Self, EmbedError> {
        let shards = if path.extension().is_some_and(|e| e == "json") {
            shard_paths(path)?
                .iter()
                .map(|p| Shard::open(p))
                .collect::<Result<_, _>>()?
        } else {
            vec![Shard::open(path)?]
        };
        Ok(Self {
            path: path.into(),
            shards,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.shards
            .iter()
            .find_map(|s| s.tensors.get(name))
            .map(|info| info.shape.clone())
    }

    pub(crate) fn read(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>, EmbedError> {
        let found = self
            .shards
            .iter()
            .find_map(|s| s.tensors.get(name).map(|info| (s, info)));
        let Some((shard, info)) = found else {
            return Err(EmbedError::invalid(
                &self.path,
                format!("tensor `{name}` is missing"),
            ));
        };
        shard.read(name, info, range)
    }
}

/// The files that an index names, each once, beside it.
fn shard_paths(index: &Path) -> Result<Vec<PathBuf>, EmbedError> {
    let bytes = std::fs::read(index).map_err(EmbedError::read(index))?;
    let parsed: Index =
        serde_json::from_slice(&bytes).map_err(|e| EmbedError::invalid(index, e))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    names
        .into_iter()
        .map(|name| match Path::new(&name).file_name() {
            Some(file) if Path::new(&name) == Path::new(file) => Ok(index.with_file_name(file)),
            _ => Err(EmbedError::invalid(
                index,
                format!("`{name}` is not a plain file name"),
            )),
        })
        .collect()
}

impl Shard {
    fn open(path: &Path) -> Result<Self, EmbedError> {
        let mut file = File::open(path).map_err(EmbedError::read(path))?;
        let mut length = [0; 8];
        file.read_exact(&mut length)
            .map_err(EmbedError::read(path))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(EmbedError::invalid(
                path,
                format!("not safetensors: header of {length} bytes"),
            ));
        }
        let mut header = Vec::new();
        (&file)
            .take(length)
            .read_to_end(&mut header)
            .map_err(EmbedError::read(path))?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|e| EmbedError::invalid(path, format!("not safetensors: {e}")))?;
        let tensors = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.clone()))
            .collect();
        Ok(Self {
            path: path.into(),
            file,
            start: 8 + length,
            tensors,
        })
    }

    fn read(
        &self,
        name: &str,
        info: &TensorInfo,
        range: Range<usize>,
    ) -> Result<Vec<f32>, EmbedError> {
        let size = match info.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                return Err(EmbedError::invalid(
                    &self.path,
                    format!("tensor `{name}` is {other:?}, not a float"),
                ));
            }
        };
        let begin = info.data_offsets.0 + range.start * size;
        if begin + range.len() * size > info.data_offsets.1 {
            return Err(EmbedError::invalid(
                &self.path,
                format!("tensor `{name}` is shorter than its shape says"),
            ));
        }
        let mut bytes = vec![0; range.len() * size];
        self.file
            .read_exact_at(&mut bytes, self.start + begin as u64)
            .map_err(EmbedError::read(&self.path))?;
        Ok(to_f32(info.dtype, &bytes))
    }
}

/// `bytes` as float32; `dtype` is one of the three floats.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
    }
}
