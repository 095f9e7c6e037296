//! Where the files that tests need are, or a loud word that they are not.

use candle_core::{Device, Tensor};
use lore_model::{Decoder, Source};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The parity folders: `LORE_PARITY_DIR`, or `parity` of the folder shared beside the checkout.
pub fn parity() -> Vec<PathBuf> {
    let root = std::env::var_os("LORE_PARITY_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/parity"),
        PathBuf::from,
    );
    let entries = std::fs::read_dir(&root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries
        .filter(|path| path.join("reference.safetensors").exists())
        .collect();
    folders.sort();
    if folders.is_empty() {
        eprintln!(
            "SKIPPED: no parity folders in {}; set LORE_PARITY_DIR to check against transformers and PEFT",
            root.display()
        );
    }
    folders
}

/// A GGUF file of the models' folder (`LORE_MODELS_DIR`, or the user's cache).
pub fn gguf(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let models = std::env::var_os("LORE_MODELS_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(cache?.join("lore/models")))?;
    let path = models.join(name).join("model.gguf");
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: no {}; fetch it with `lore models pull {name}`",
        path.display()
    );
    None
}

pub fn decoder(folder: &Path) -> Decoder {
    let source = Source::open(folder).expect("the folder opens");
    Decoder::load(&source, None, 0, &Device::Cpu).expect("the model loads")
}

pub fn tensors(path: &Path) -> HashMap<String, Tensor> {
    lore_model::read_safetensors(path, &Device::Cpu).expect("the tensors are read")
}

/// Rows of token ids.
pub fn ids(tensor: &Tensor) -> Vec<Vec<u32>> {
    let rows: Vec<Vec<i64>> = tensor.to_vec2().expect("rows of ids");
    rows.into_iter()
        .map(|row| {
            row.into_iter()
                .map(|id| u32::try_from(id).expect("an id"))
                .collect()
        })
        .collect()
}

/// The largest absolute difference.
pub fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b)
        .expect("one shape")
        .abs()
        .expect("numbers")
        .flatten_all()
        .expect("numbers");
    let values: Vec<f32> = difference.to_vec1().expect("numbers");
    values.into_iter().fold(0.0, |largest, value| {
        if value.is_nan() {
            f32::INFINITY
        } else {
            largest.max(value)
        }
    })
}
