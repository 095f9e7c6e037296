use super::{BadLines, Format};
use std::path::PathBuf;
use thiserror::Error;

/// Why a data set cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than Lore reads.
    #[error(
        "`{name}` has {bytes} bytes; the most is {limit}: cut it into several files, which one job can mix"
    )]
    TooLarge {
        /// The file's name.
        name: String,
        /// Its length.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The bytes are no UTF-8 text.
    #[error("`{name}` is {encoding}; save it as UTF-8")]
    Encoding {
        /// The file's name.
        name: String,
        /// What it looks like.
        encoding: &'static str,
    },
    /// There is no example in it.
    #[error("`{name}` holds no example: {problem}")]
    Empty {
        /// The file's name.
        name: String,
        /// What it holds instead.
        problem: &'static str,
    },
    /// No line has the keys of a format.
    #[error(
        "the format of `{name}` is not recognised: its first lines have the keys {keys}; known are {}",
        Format::described()
    )]
    UnknownFormat {
        /// The file's name.
        name: String,
        /// Keys of the first objects.
        keys: String,
        /// Lines that are no objects at all.
        bad: BadLines,
    },
    /// No line is a JSON object.
    #[error("`{name}` is neither JSON Lines nor a JSON array of objects: {bad}")]
    NoObjects {
        /// The file's name.
        name: String,
        /// What is wrong with the lines.
        bad: BadLines,
    },
    /// Some lines are no examples.
    #[error(
        "{} of {lines} lines of `{name}` ({format}) cannot be used: {bad}; mend them, or skip them with `on_bad_line` = `skip`",
        bad.count()
    )]
    BadLines {
        /// The file's name.
        name: String,
        /// The format that was recognised.
        format: Format,
        /// Lines, blank ones left out.
        lines: usize,
        /// Those that are no examples.
        bad: BadLines,
    },
    /// No line is an example.
    #[error("none of the {} lines of `{name}` ({format}) can be used: {bad}", bad.count())]
    NothingLeft {
        /// The file's name.
        name: String,
        /// The format that was recognised.
        format: Format,
        /// What is wrong with the lines.
        bad: BadLines,
    },
    /// The numbers of a mixture make no sense.
    #[error("{0}")]
    Mixture(String),
    /// The model cannot take any conversation.
    #[error(transparent)]
    Model(#[from] lore_model::ModelError),
}

impl DatasetError {
    /// The lines that are to blame, where lines are.
    pub fn bad_lines(&self) -> Option<&BadLines> {
        match self {
            Self::BadLines { bad, .. }
            | Self::NothingLeft { bad, .. }
            | Self::NoObjects { bad, .. }
            | Self::UnknownFormat { bad, .. } => Some(bad),
            _ => None,
        }
    }
}
