//! What is wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, where it was said, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key as the person wrote it, for example `ingest.workers` or `LORE_INGEST_WORKERS`.
    pub key: String,
    /// What is wrong, naming the value.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(
        key: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.what, self.remedy)
    }
}

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// Every value that is wrong, in the order of the sections.
    #[error("{}", list(problems))]
    Problems {
        /// At least one.
        problems: Vec<Problem>,
    },
}

impl ConfigErrors {
    /// The problems with single keys; empty where the file as a whole could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Problems { problems } => problems,
            Self::Read { .. } | Self::Syntax { .. } => &[],
        }
    }
}

fn list(problems: &[Problem]) -> String {
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("\n  - {problem}"))
        .collect();
    format!("the configuration has {count} {noun}:{}", lines.concat())
}
