//! Here is a folder or a GGUF file, give me the tensors by their Hugging Face names.

mod dequantise;
mod gguf;
mod matrix;
mod packed;
mod safetensors;

pub(crate) use dequantise::quantise_q8_0;
pub use gguf::GgufFile;
pub(crate) use gguf::gguf_name;
pub use matrix::{FrozenLinear, Matrix};
pub use packed::Packed;
pub(crate) use packed::tensors;
pub(crate) use safetensors::write_whole;
pub use safetensors::{SafetensorsFolder, read_safetensors, write_safetensors};

use crate::error::{ModelError, Result};
use crate::settings::Settings;
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// The files of one base model, opened and mapped into memory.
pub enum Source {
    /// `config.json` and safetensors.
    Folder(SafetensorsFolder),
    /// One GGUF file.
    Gguf(GgufFile),
}

impl Source {
    /// Opens `path`: a GGUF file, or a folder in the Hugging Face layout.
    ///
    /// # Errors
    /// Names the file that is missing or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return match lone_gguf(path) {
                Some(file) => GgufFile::open(&file).map(Self::Gguf),
                None => SafetensorsFolder::open(path).map(Self::Folder),
            };
        }
        GgufFile::open(path).map(Self::Gguf)
    }

    /// The checked configuration.
    pub fn settings(&self) -> Result<Settings> {
        match self {
            Self::Folder(folder) => Settings::from_config_json(&folder.config_json()?),
            Self::Gguf(file) => file.settings(),
        }
    }

    /// Whether a tensor of this Hugging Face name is there.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.has(name),
            Self::Gguf(file) => file.has(name),
        }
    }

    /// A tensor as float32 on `device`.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], [`ModelError::WrongShape`] when it is not of `shape`.
    pub fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        let tensor = match self {
            Self::Folder(folder) => folder.tensor(name, device)?,
            Self::Gguf(file) => file.tensor(name, device)?,
        };
        check_shape(name, shape, tensor.dims())?;
        Ok(tensor.to_dtype(DType::F32)?)
    }

    /// A weight matrix of shape (outputs, inputs): quantised where the file has it so, but in bfloat16 on a GPU.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn matrix(&self, name: &str, shape: [usize; 2], device: &Device) -> Result<Matrix> {
        if device.is_cuda() {
            return self.narrow_matrix(name, &shape, device).map(Matrix::Dense);
        }
        match self {
            Self::Folder(_) => Ok(Matrix::Dense(self.tensor(name, &shape, device)?)),
            Self::Gguf(file) => file.matrix(name, shape, device, true),
        }
    }

    /// What is added to a product, in the type that the product has: bfloat16 on a GPU, else float32.
    pub(crate) fn vector(&self, name: &str, size: usize, device: &Device) -> Result<Tensor> {
        let values = self.tensor(name, &[size], device)?;
        Ok(match device.is_cuda() {
            true => values.to_dtype(DType::BF16)?,
            false => values,
        })
    }

    /// A weight matrix in bfloat16, which is what GPUs multiply; blocks of integers are widened.
    fn narrow_matrix(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        let tensor = match self {
            Self::Folder(folder) => folder.tensor(name, device)?,
            Self::Gguf(file) => file.tensor(name, &Device::Cpu)?,
        };
        check_shape(name, shape, tensor.dims())?;
        Ok(tensor.to_dtype(DType::BF16)?.to_device(device)?)
    }

    /// The embedding table: as [`Source::matrix`], but kept in the file's own format, since only single rows are read.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn table(&self, name: &str, shape: [usize; 2], device: &Device) -> Result<Matrix> {
        match self {
            _ if device.is_cuda() => self.matrix(name, shape, device),
            Self::Folder(_) => self.matrix(name, shape, device),
            Self::Gguf(file) => file.matrix(name, shape, device, false),
        }
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder.path(),
            Self::Gguf(file) => file.path(),
        }
    }
}

fn check_shape(name: &str, expected: &[usize], actual: &[usize]) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(ModelError::WrongShape {
        name: name.to_owned(),
        expected: expected.to_vec(),
        actual: actual.to_vec(),
    })
}

/// The GGUF file of a folder that holds one and no `config.json`.
fn lone_gguf(folder: &Path) -> Option<std::path::PathBuf> {
    if folder.join("config.json").exists() {
        return None;
    }
    let mut files = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    files.find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "gguf")
    })
}
