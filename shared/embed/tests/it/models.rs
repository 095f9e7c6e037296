//! Where models and the runtime lie.

use lore_embed::{EmbedFiles, EmbedSettings, Embedder};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The folder of models: `LORE_MODELS_DIR`, else the default one.
pub fn models_dir() -> PathBuf {
    std::env::var_os("LORE_MODELS_DIR").map_or_else(default_models_dir, PathBuf::from)
}

fn default_models_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("lore/models")
}

/// ONNX Runtime, or `None` with a loud word.
pub fn runtime() -> Option<PathBuf> {
    let path = models_dir().join("onnxruntime/libonnxruntime.so");
    if !path.is_file() {
        eprintln!(
            "SKIPPED: no ONNX Runtime at {}; run `lore models pull onnxruntime`",
            path.display()
        );
        return None;
    }
    Some(path)
}

/// The settings of a real embedder, or `None` with a loud word. Its export is kept between test runs.
pub fn real(name: &str) -> Option<EmbedSettings> {
    let dir = models_dir().join(name);
    if !dir.is_dir() {
        eprintln!(
            "SKIPPED: no {name} at {}; run `lore models pull {name}`",
            dir.display()
        );
        return None;
    }
    let mut files = EmbedFiles::find(name, dir).unwrap();
    files.export_dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("lore-embed")
        .join(name);
    let mut settings = EmbedSettings::new(files, runtime()?);
    settings.threads = 2;
    Some(settings)
}

/// A real embedder, loaded once for all tests, or `None` with a loud word.
pub fn loaded(name: &str) -> Option<MutexGuard<'static, Embedder>> {
    static MINILM: OnceLock<Option<Mutex<Embedder>>> = OnceLock::new();
    static E5: OnceLock<Option<Mutex<Embedder>>> = OnceLock::new();
    let cell = if name == "all-minilm-l6-v2" {
        &MINILM
    } else {
        &E5
    };
    let load = || real(name).map(|settings| Mutex::new(Embedder::load(&settings).unwrap()));
    Some(
        cell.get_or_init(load)
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

/// The folder of a tiny model: `tests/reference/tiny_models.py` made it.
pub fn tiny_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The settings of a tiny model, exporting into `export_dir`, or `None` where there is no runtime.
pub fn tiny(name: &str, export_dir: &Path) -> Option<EmbedSettings> {
    let mut files = EmbedFiles::find(name, tiny_dir(name)).unwrap();
    files.export_dir = export_dir.into();
    let mut settings = EmbedSettings::new(files, runtime()?);
    settings.threads = 1;
    Some(settings)
}

/// What the reference says of a tiny model.
#[derive(Deserialize)]
pub struct Expected {
    #[serde(default)]
    pub texts: Vec<ExpectedVector>,
    #[serde(default)]
    pub pairs: Vec<ExpectedScore>,
}

#[derive(Deserialize)]
pub struct ExpectedVector {
    pub text: String,
    pub vector: Vec<f32>,
}

#[derive(Deserialize)]
pub struct ExpectedScore {
    pub query: String,
    pub passage: String,
    pub score: f32,
}

pub fn expected(name: &str) -> Expected {
    let bytes = std::fs::read(tiny_dir(name).join("expected.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The cosine of two unit vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
