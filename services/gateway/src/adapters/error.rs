use lore_model::ModelError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a version of an adapter is not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// It belongs to other weights.
    #[error(
        "adapter `{adapter}` was trained on `{trained_on}`, but `{loaded}` is loaded: {problem}"
    )]
    WrongBase {
        /// The version, `name@version`.
        adapter: String,
        /// The base model that it was trained on.
        trained_on: String,
        /// The base model that is served.
        loaded: String,
        /// How that shows.
        problem: String,
    },
    /// Its weights are not those that were registered.
    #[error(
        "adapter `{adapter}` for `{base}` is damaged: {} has SHA-256 {actual:.12}…, but {expected:.12}… was registered",
        path.display()
    )]
    Damaged {
        /// The version, `name@version`.
        adapter: String,
        /// Its base model.
        base: String,
        /// The file.
        path: PathBuf,
        /// SHA-256 in the catalog.
        expected: String,
        /// SHA-256 of the file.
        actual: String,
    },
    /// A file of it cannot be read.
    #[error("adapter `{adapter}` for `{base}` cannot be read: {}", path.display())]
    Read {
        /// The version, `name@version`.
        adapter: String,
        /// Its base model.
        base: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The decoder refuses it.
    #[error("adapter `{adapter}` cannot be used with `{loaded}`")]
    Model {
        /// The version, `name@version`.
        adapter: String,
        /// The base model that is served.
        loaded: String,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// Work on another thread did not come back.
    #[error("adapter `{0}` was not loaded: work on another thread did not come back")]
    Join(String),
}

impl AdapterError {
    /// The error with its causes in one line.
    pub(super) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        text
    }
}
