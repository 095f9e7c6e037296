use std::path::{Path, PathBuf};

/// What can go wrong between an embedder's files and its vectors.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The folder holds no embedder.
    #[error(
        "no embedder `{name}` in `{dir}`: {missing} is missing; run `lore models pull {name}`, or point to a folder with \
         tokenizer.json and model.onnx, model.safetensors + config.json or an E5S1 file"
    )]
    Missing {
        /// The embedder that was asked for.
        name: String,
        /// The folder that was searched.
        dir: PathBuf,
        /// What was not found in it.
        missing: &'static str,
    },
    /// The caller's lookup of the name failed.
    #[error("embedder `{name}` is not available")]
    Unavailable {
        /// The embedder that was asked for.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// ONNX Runtime's library is missing or unusable.
    #[error("cannot use ONNX Runtime at `{path}`: {reason}; run `lore models pull onnxruntime`")]
    Runtime {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// This process already uses another ONNX Runtime, and it can hold only one.
    #[error(
        "ONNX Runtime is already loaded from `{loaded}`, so `{asked}` cannot be; use one library for all models"
    )]
    SecondRuntime {
        /// The library in use.
        loaded: PathBuf,
        /// The library that was asked for.
        asked: PathBuf,
    },
    /// A file of the model says something that cannot be used.
    #[error("`{path}`: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// ONNX Runtime or the tokenizer refused the model.
    #[error("cannot load model `{name}`: {reason}")]
    Load {
        /// The model.
        name: String,
        /// What the library said.
        reason: String,
    },
    /// ONNX Runtime failed on a batch.
    #[error("model `{name}` failed on a batch of {texts} texts: {reason}")]
    Inference {
        /// The model.
        name: String,
        /// How many texts the batch had.
        texts: usize,
        /// What the library said.
        reason: String,
    },
    /// The model gives vectors of another length than was declared.
    #[error(
        "embedder `{name}` gives vectors of {actual} dimensions, but {expected} are declared for it"
    )]
    Dimensions {
        /// The embedder.
        name: String,
        /// Declared.
        expected: usize,
        /// Given.
        actual: usize,
    },
    /// The exported model does not reproduce the known vectors.
    #[error(
        "the export of `{name}` is wrong: cosine {cosine:.4} to the known vector of {text:?} is below {minimum}; \
         remove the model's folder and run `lore models pull {name}` again"
    )]
    Check {
        /// The embedder.
        name: String,
        /// The text with the worst vector.
        text: String,
        /// Its cosine.
        cosine: f32,
        /// The least that is accepted.
        minimum: f32,
    },
    /// A text has no vector: the model sees no token in it, or computes something that is not a number.
    #[error("embedder `{name}` has no vector for text {index}: {reason}")]
    NoVector {
        /// The embedder.
        name: String,
        /// Which of the texts, from 0.
        index: usize,
        /// Why.
        reason: &'static str,
    },
    /// The queue is full; try again later (HTTP 429).
    #[error("model `{name}` is busy: {waiting} requests are waiting")]
    Busy {
        /// The model.
        name: String,
        /// How many requests fill the queue.
        waiting: usize,
    },
    /// The thread that owns the model has ended.
    #[error("model `{name}` has stopped; restart the service")]
    Stopped {
        /// The model.
        name: String,
    },
}

impl EmbedError {
    /// `name` could not be looked up, because of `source`.
    pub fn unavailable(
        name: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            name: name.into(),
            source: source.into(),
        }
    }

    /// Whether trying again later can help.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// Whether files have to be fetched or pointed to first.
    pub fn is_missing_model(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Unavailable { .. } | Self::Runtime { .. }
        )
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn invalid(path: &Path, reason: impl ToString) -> Self {
        Self::Invalid {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn load(name: &str, reason: impl ToString) -> Self {
        Self::Load {
            name: name.into(),
            reason: reason.to_string(),
        }
    }
}
