use crate::dataset::DatasetError;
use lore_model::ModelError;
use lore_types::FineTuningError;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a run ended before its time.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file cannot be written or read.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Memory runs out.
    #[error("about {needed} bytes of memory are needed and {available} are available")]
    Memory {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// A checkpoint that is not of this run.
    #[error("checkpoint {} is of another run: {problem}", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// What the held-out examples give is no number.
    #[error("the validation loss is {loss}; a lower learning rate may help")]
    Validation {
        /// The loss.
        loss: f64,
    },
    /// The model cannot be used, or training it failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The examples cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Something that the request asked for.
    #[error("{0}")]
    Request(String),
}

/// Marks errors of files: `.map_err(file("write", &path))`.
pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError + use<> {
    let path = path.to_owned();
    move |source| RunError::File {
        doing,
        path,
        source,
    }
}

impl RunError {
    /// The stable word for a job's `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { source, .. } if is_full(source) => "disk_full",
            Self::File { .. } => "storage_failed",
            Self::Memory { .. } => "out_of_memory",
            Self::Checkpoint { .. } => "wrong_checkpoint",
            Self::Validation { .. } => "nan_loss",
            Self::Dataset(_) => "bad_dataset",
            Self::Request(_) => "invalid_request",
            Self::Model(error) => model_code(error),
        }
    }

    /// What a job says of it.
    pub fn reason(&self) -> FineTuningError {
        FineTuningError {
            code: self.code().to_owned(),
            message: format!("{}{}", chain(self), remedy(self.code())),
            param: None,
        }
    }
}

fn model_code(error: &ModelError) -> &'static str {
    match error {
        ModelError::NotFinite { .. } => "nan_loss",
        ModelError::WrongBase { .. } => "wrong_base",
        ModelError::Write { source, .. } if is_full(source) => "disk_full",
        ModelError::Write { .. } => "storage_failed",
        _ => "model_unusable",
    }
}

fn remedy(code: &str) -> &'static str {
    match code {
        "disk_full" => "; make room and resume the job: it goes on from its last checkpoint",
        "out_of_memory" => {
            "; lower micro_batch_tokens or max_tokens, or turn gradient_checkpointing on"
        }
        _ => "",
    }
}

/// Whether an error means that there is no room: no space, a quota, or a limit on the size of files.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// An error and its causes in one line: `a: b: c`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
