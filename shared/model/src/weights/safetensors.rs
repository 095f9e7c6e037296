use crate::error::{ModelError, Result};
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// A folder in the Hugging Face layout: `config.json` and one or several safetensors files.
pub struct SafetensorsFolder {
    path: PathBuf,
    files: MmapedSafetensors,
    names: BTreeSet<String>,
    /// What stands before `model.` in the files' names: nothing, or `language_model.` in multimodal Gemma.
    prefix: &'static str,
}

impl SafetensorsFolder {
    /// Opens the folder; weights are mapped, not read.
    ///
    /// # Errors
    /// Names the file that is missing or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let files = weight_files(path)?;
        let mapped = map(path, &files)?;
        let names: BTreeSet<String> = mapped.tensors().into_iter().map(|(name, _)| name).collect();
        let prefix = if names
            .iter()
            .any(|name| name.starts_with("language_model.model."))
        {
            "language_model."
        } else {
            ""
        };
        Ok(Self {
            path: path.to_owned(),
            files: mapped,
            names,
            prefix,
        })
    }

    /// The text of `config.json`.
    pub fn config_json(&self) -> Result<String> {
        let path = self.path.join("config.json");
        std::fs::read_to_string(&path).map_err(ModelError::read(&path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every tensor's name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(&format!("{}{name}", self.prefix))
    }

    /// The element type of a tensor, where candle has it.
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        let view = self.files.get(&format!("{}{name}", self.prefix)).ok()?;
        DType::try_from(view.dtype()).ok()
    }

    pub(crate) fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        if !self.has(name) {
            return Err(ModelError::MissingTensor(name.to_owned()));
        }
        Ok(self.files.load(&format!("{}{name}", self.prefix), device)?)
    }

    /// Name, element type and number of elements of every tensor.
    pub(crate) fn sizes(&self) -> Vec<(String, String, usize)> {
        let size = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            (
                name,
                format!("{:?}", view.dtype()).to_uppercase(),
                view.shape().iter().product(),
            )
        };
        self.files.tensors().into_iter().map(size).collect()
    }
}

#[expect(
    unsafe_code,
    reason = "mapping a file is undefined only when another process cuts it short meanwhile; models are never written in place"
)]
fn map(folder: &Path, files: &[PathBuf]) -> Result<MmapedSafetensors> {
    // SAFETY: see the reason above; downloads are renamed into place when whole.
    unsafe { MmapedSafetensors::multi(files) }.map_err(|error| ModelError::damaged(folder, error))
}

/// The safetensors files: those of the index, or `model.safetensors`, or every one in the folder.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        return indexed_files(folder, &index);
    }
    let single = folder.join("model.safetensors");
    match single.metadata() {
        Ok(_) => Ok(vec![single]),
        Err(source) => Err(ModelError::Read {
            path: single,
            source,
        }),
    }
}

fn indexed_files(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string(index).map_err(ModelError::read(index))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| ModelError::damaged(index, error))?;
    let map = value
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| ModelError::damaged(index, "no `weight_map`"))?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    let file = |name: &str| {
        let plain = Path::new(name).components().count() == 1 && !name.starts_with('.');
        plain
            .then(|| folder.join(name))
            .ok_or_else(|| ModelError::damaged(index, format!("`{name}` is not a file name")))
    };
    names.into_iter().map(file).collect()
}

/// Reads a whole safetensors file into memory.
///
/// # Errors
/// Names the file that cannot be read or is damaged.
pub fn read_safetensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(ModelError::read(path))?;
    candle_core::safetensors::load_buffer(&bytes, device)
        .map_err(|error| ModelError::damaged(path, error))
}

/// Writes tensors, ordered by name, to `path`: first beside it, then renamed, so that a half-written file is never seen.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write_safetensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)),
        Some(metadata),
    )
    .map_err(|error| ModelError::damaged(path, error))?;
    write_whole(path, &bytes)
}

/// Writes `bytes` beside `path`, makes sure that they are on disk, and renames.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let partial = path.with_extension("part");
    let mut file = std::fs::File::create(&partial).map_err(ModelError::write(&partial))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(ModelError::write(&partial))?;
    std::fs::rename(&partial, path).map_err(ModelError::write(path))
}
