use crate::run::RunError;
use crate::run::files::sha256;
use lore_model::{Decoder, DeviceChoice, ModelError, Source, Tokenizer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A base model, loaded for training.
pub(crate) struct Base {
    /// What requests call it.
    pub(crate) name: String,
    /// The GGUF file, or the folder.
    pub(crate) path: PathBuf,
    /// Its weights.
    pub(crate) decoder: Decoder,
    /// Its tokenizer and chat template.
    pub(crate) tokenizer: Tokenizer,
    /// Names its weights.
    pub(crate) fingerprint: String,
}

impl Base {
    /// Loads it; takes a second or two.
    ///
    /// # Errors
    /// Names the file, the tensor or the setting that is wrong.
    pub(crate) fn load(
        name: &str,
        path: &Path,
        threads: usize,
        device: DeviceChoice,
    ) -> Result<Self, ModelError> {
        let source = Source::open(path)?;
        let chosen = device.open()?;
        tracing::info!(model = name, device = chosen.reason, "training computes");
        let decoder = Decoder::load(&source, None, threads, &chosen.device)?;
        Ok(Self {
            name: name.to_owned(),
            path: source.path().to_owned(),
            tokenizer: Tokenizer::load(&source)?,
            fingerprint: decoder.fingerprint()?,
            decoder,
        })
    }

    /// Whether its weights are integers in memory.
    pub(crate) fn is_quantised(&self) -> bool {
        self.decoder
            .linears()
            .any(|linear| linear.weight.is_quantised())
    }

    /// SHA-256 of the files that hold its weights and its configuration, by name.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, String>, RunError> {
        let mut sums = BTreeMap::new();
        for path in weight_files(&self.path)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            sums.insert(name, sha256(&path)?);
        }
        Ok(sums)
    }
}

fn weight_files(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(crate::run::file("list", path))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(crate::run::file("list", path))?.path();
        let kind = file.extension().and_then(|kind| kind.to_str());
        if matches!(kind, Some("safetensors" | "json" | "gguf")) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
