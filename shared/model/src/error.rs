use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a model, a tokenizer or an adapter cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is there and is not what it should be.
    #[error("{} is damaged or not what it should be: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The architecture is not one of Lore's.
    #[error(
        "architecture `{0}` is not supported; supported are llama, mistral, qwen2, qwen3 and gemma3_text"
    )]
    UnknownArchitecture(String),
    /// A setting that would change the numbers is not supported.
    #[error("`{setting}` = {value} is not supported{}", remedy.as_ref().map(|r| format!("; {r}")).unwrap_or_default())]
    UnsupportedSetting {
        /// The key in the configuration.
        setting: String,
        /// Its value.
        value: String,
        /// What would work.
        remedy: Option<String>,
    },
    /// A setting that the model needs is missing or has the wrong type.
    #[error("the configuration lacks `{0}`, or it has the wrong type")]
    MissingSetting(String),
    /// A tensor that the model needs is missing.
    #[error("the weights lack tensor `{0}`")]
    MissingTensor(String),
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {actual:?}, but the configuration asks for {expected:?}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// What the configuration asks for.
        expected: Vec<usize>,
        /// What the file holds.
        actual: Vec<usize>,
    },
    /// The tokenizer cannot be used.
    #[error("the tokenizer cannot be used: {0}")]
    Tokenizer(String),
    /// The chat template failed on these messages.
    #[error("the chat template failed: {0}")]
    Template(String),
    /// The model has no chat template.
    #[error(
        "the model has no chat template, so it cannot hold a conversation; use an instruction-tuned model"
    )]
    NoTemplate,
    /// An adapter uses something of PEFT that Lore does not support.
    #[error("adapter {}: `{setting}` = {value} is not supported", path.display())]
    UnsupportedAdapter {
        /// The adapter's folder.
        path: PathBuf,
        /// The key of `adapter_config.json`.
        setting: String,
        /// Its value.
        value: String,
    },
    /// An adapter belongs to another base model.
    #[error("adapter `{adapter}` was made for `{trained_on}`, but `{loaded}` is loaded: {problem}")]
    WrongBase {
        /// The adapter.
        adapter: String,
        /// The base model that it names.
        trained_on: String,
        /// The base model that is loaded.
        loaded: String,
        /// What does not fit.
        problem: String,
    },
    /// No such adapter.
    #[error("no adapter `{0}` is loaded")]
    NoAdapter(String),
    /// A request that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A loss or a norm of gradients is no number, so nothing sensible can follow.
    #[error("the {what} is {value}; a lower learning rate may help")]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// What it is.
        value: f64,
    },
    /// Training cannot go on.
    #[error("training stopped: {0}")]
    Training(String),
    /// The thread that owns the model is gone.
    #[error("the model has stopped")]
    Stopped,
    /// A GPU was asked for, and there is none that can be used.
    #[error("no GPU can be used: {0}; `device = \"auto\"` takes the CPU instead")]
    NoDevice(String),
    /// A computation failed.
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}

impl ModelError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, problem: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn unsupported(setting: &str, value: impl ToString) -> Self {
        Self::UnsupportedSetting {
            setting: setting.to_owned(),
            value: value.to_string(),
            remedy: None,
        }
    }
}

/// The result of everything in this crate.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;
