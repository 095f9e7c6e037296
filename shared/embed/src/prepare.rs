//! Makes an ONNX file of a model's weights, once.

use crate::{
    EmbedError, EmbedFiles, EmbedSettings, Precision,
    check::{KnownVectors, lowest_cosine},
    embedder::Embedder,
    fingerprint::fingerprint,
    onnx::{self, E5s1, EncoderSpec, ModelPaths, SafeTensorsFiles, Weights},
    runtime::adds_exactly,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// The extension of the file beside an export that holds its large weights.
const DATA: &str = "onnx.data";

/// What [`prepare`] found or did.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The model that ONNX Runtime reads.
    pub onnx: PathBuf,
    /// Whether it was made by this call.
    pub exported: bool,
    /// The lowest cosine to the known vectors, where this call made the model and its vectors are known.
    pub cosine: Option<f32>,
}

/// Sees to it that the embedder's ONNX file exists: exports the weights where they are given and no ONNX is.
///
/// # Guarantees
/// Safe to call from several threads and processes at once: one exports, the others wait for it and find the file. A
/// file under the final name is whole, belongs to the present weights, and reproduced the known vectors of the model (if its
/// vectors are known). Needs memory for one tensor at a time, and for the loaded model while it is checked.
///
/// # Errors
/// Says what is missing, misshapen or cannot be written.
pub fn prepare(settings: &EmbedSettings) -> Result<Prepared, EmbedError> {
    prepare_as(settings, Purpose::Embed)
}

/// What the model is for: an embedder, or a cross-encoder with a score on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Embed,
    Rerank,
}

pub(crate) fn prepare_as(
    settings: &EmbedSettings,
    purpose: Purpose,
) -> Result<Prepared, EmbedError> {
    if let Some(onnx) = &settings.files.onnx {
        return Ok(Prepared {
            onnx: onnx.clone(),
            exported: false,
            cosine: None,
        });
    }
    let export = Export::of(settings, purpose)?;
    if export.path.is_file() {
        return Ok(Prepared {
            onnx: export.path,
            exported: false,
            cosine: None,
        });
    }
    export.run(settings)
}

/// The configured weights, opened.
pub(crate) fn open_weights(files: &EmbedFiles) -> Result<Weights, EmbedError> {
    let missing = || EmbedError::Missing {
        name: files.name.clone(),
        dir: files.dir.clone(),
        missing: "a weight file",
    };
    let path = files.weights.as_deref().ok_or_else(missing)?;
    if files.is_e5s1() {
        Ok(Weights::E5s1(E5s1::open(path)?))
    } else {
        Ok(Weights::SafeTensors(SafeTensorsFiles::open(path)?))
    }
}

/// One export: what is made of which weights.
struct Export {
    path: PathBuf,
    weights: Weights,
    spec: EncoderSpec,
    purpose: Purpose,
}

impl Export {
    fn of(settings: &EmbedSettings, purpose: Purpose) -> Result<Self, EmbedError> {
        let files = &settings.files;
        let weights = open_weights(files)?;
        let spec = EncoderSpec::read(&weights, &files.config(), purpose == Purpose::Rerank)?;
        let print = fingerprint(weights.path(), &files.config())?;
        let path = files
            .export_dir
            .join(format!("{}{print}.onnx", stem(settings.precision, purpose)));
        Ok(Self {
            path,
            weights,
            spec,
            purpose,
        })
    }

    /// Exports to a temporary file, checks it, and gives it its name.
    fn run(self, settings: &EmbedSettings) -> Result<Prepared, EmbedError> {
        let dir = &settings.files.export_dir;
        fs::create_dir_all(dir).map_err(EmbedError::write(dir))?;
        let _lock = lock(dir)?;
        if self.path.is_file() {
            return Ok(Prepared {
                onnx: self.path,
                exported: false,
                cosine: None,
            });
        }
        let temporary = Temporary(self.path.with_extension("onnx.part"));
        tracing::info!(model = settings.files.name, to = %self.path.display(), "exporting to ONNX");
        let data = Temporary(self.path.with_extension(DATA));
        let _unfinished = Temporary(data.0.with_extension("data.part"));
        let paths = ModelPaths {
            graph: &temporary.0,
            data: &data.0,
        };
        onnx::export(&self.weights, &self.spec, settings.precision, &paths)?;
        let cosine = match self.purpose {
            Purpose::Embed => check(settings, &temporary.0)?,
            Purpose::Rerank => None,
        };
        fs::rename(&temporary.0, &self.path).map_err(EmbedError::write(&self.path))?;
        data.keep();
        remove_older(&self.path, stem(settings.precision, self.purpose));
        Ok(Prepared {
            onnx: self.path,
            exported: true,
            cosine,
        })
    }
}

/// The start of an export's file name.
fn stem(precision: Precision, purpose: Purpose) -> String {
    let head = if purpose == Purpose::Rerank {
        "rerank-"
    } else {
        ""
    };
    // Machines of both kinds may share a folder.
    let kind = match precision {
        Precision::Float32 => "float32",
        Precision::Int8 if adds_exactly() => "vnni8",
        Precision::Int8 => "int8",
    };
    format!("lore-{head}{kind}-")
}

/// Compares the vectors of the model at `onnx` with those that are known of it.
fn check(settings: &EmbedSettings, onnx: &Path) -> Result<Option<f32>, EmbedError> {
    let Some(known) = KnownVectors::of(&settings.files.name) else {
        return Ok(None);
    };
    let mut embedder = Embedder::open(settings, onnx)?;
    let lowest = lowest_cosine(&known, &mut embedder)?;
    let minimum = known.minimum(settings.precision);
    if lowest.cosine < minimum {
        let name = settings.files.name.clone();
        return Err(EmbedError::Check {
            name,
            text: lowest.text,
            cosine: lowest.cosine,
            minimum,
        });
    }
    tracing::info!(
        model = settings.files.name,
        cosine = lowest.cosine,
        "the export reproduces the known vectors"
    );
    Ok(Some(lowest.cosine))
}

/// Waits until no other thread or process exports into `dir`. The lock ends with the file handle.
fn lock(dir: &Path) -> Result<File, EmbedError> {
    let path = dir.join("lore-export.lock");
    let file = File::create(&path).map_err(EmbedError::write(&path))?;
    file.lock().map_err(EmbedError::write(&path))?;
    Ok(file)
}

/// A file that is removed unless it was renamed, or is to be kept.
struct Temporary(PathBuf);

impl Temporary {
    fn keep(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = fs::remove_file(&self.0)
        {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove a temporary file");
        }
    }
}

/// Removes exports of former weights. A process that uses one keeps what it has mapped.
fn remove_older(current: &Path, stem: String) {
    let Some(entries) = current.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return;
    };
    for path in entries.filter_map(|entry| entry.ok().map(|e| e.path())) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let ours = name.starts_with(&stem) && (name.ends_with(".onnx") || name.ends_with(DATA));
        if ours && path != current && path != current.with_extension(DATA) {
            match fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "removed the export of former weights")
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove the export of former weights")
                }
            }
        }
    }
}
