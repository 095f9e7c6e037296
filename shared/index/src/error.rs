use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// The cause of an error as an engine gave it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an index could not do what it was asked.
#[derive(Debug, Error)]
pub enum IndexError {
    /// No such collection.
    #[error("there is no collection `{collection}` in the {side} index")]
    NoCollection {
        /// Its name.
        collection: String,
        /// `dense` or `lexical`.
        side: &'static str,
    },
    /// A name that cannot be a collection's.
    #[error(
        "`{0}` cannot name a collection: 1 to 64 of a-z A-Z 0-9 _ - . are allowed, not starting with a dot"
    )]
    CollectionName(String),
    /// Vectors of the wrong length.
    #[error(
        "collection `{collection}` holds vectors of {expected} numbers, not {actual}: use the embedder it was created with"
    )]
    Dimensions {
        /// The collection.
        collection: String,
        /// Its length.
        expected: u32,
        /// The length given.
        actual: u32,
    },
    /// Vectors that cannot be stored or searched for.
    #[error("{0}")]
    Vectors(String),
    /// Another process has the folder open for writing.
    #[error("{} is in use by another Lore process: stop it, or choose another data directory", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A collection's folder that cannot be read.
    #[error(
        "the index folder {} cannot be read ({reason}): stop Lore, move the folder away, start Lore and run `lore index verify --repair`, \
         which writes it again from the catalog",
        path.display()
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried: `create`, `read`, …
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An embedded engine refused.
    #[error("cannot {doing} collection `{collection}`")]
    Engine {
        /// What was tried: `search`, `write to`, …
        doing: &'static str,
        /// The collection.
        collection: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The Qdrant server cannot be reached or did not answer in time, after retries.
    #[error(
        "the Qdrant server at {url} does not answer ({reason}): check that it runs and that `dense.url` names its gRPC port (6334 by default)"
    )]
    Unreachable {
        /// Its address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The Qdrant server refused.
    #[error("the Qdrant server at {url} could not {doing} collection `{collection}`: {reason}")]
    Server {
        /// Its address.
        url: String,
        /// What was tried.
        doing: &'static str,
        /// The collection.
        collection: String,
        /// What it said.
        reason: String,
    },
    /// The Qdrant server is not one that Lore can use.
    #[error("the Qdrant server at {url} cannot be used: {reason}")]
    Unusable {
        /// Its address.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Work on another thread ended before it was done: the process is shutting down, or the engine has a fault.
    #[error("the index stopped while it worked on collection `{collection}`: {reason}")]
    Stopped {
        /// The collection.
        collection: String,
        /// What is known.
        reason: String,
    },
    /// An error that several waiting calls share.
    #[error(transparent)]
    Shared(Arc<IndexError>),
}

impl IndexError {
    /// Whether the same call may succeed a little later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Shared(error) => error.is_transient(),
            _ => false,
        }
    }
}
