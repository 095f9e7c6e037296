use lore_types::ApiError;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why a call did not succeed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is not an `http://` or `https://` URL.
    #[error("`{url}` is not the address of a server: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key holds characters that cannot stand in a header.
    #[error("the API key holds characters that cannot be sent in a header")]
    Key,
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// No connection came about, or it broke.
    #[error("{} {url}", unreached(source))]
    Unreachable {
        /// The address of the server.
        url: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered, and not with success.
    #[error("{}", error.message)]
    Api {
        /// HTTP status.
        status: u16,
        /// The server's own words.
        error: Box<ApiError>,
        /// How long the server asks to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// The answer is not what a Lore server answers.
    #[error("{url} answered something that is not Lore's API: {reason}")]
    Malformed {
        /// The address that was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The stream ended before its last event.
    #[error("{url} ended the stream before its last event")]
    Cut {
        /// The address that was asked.
        url: String,
    },
    /// A file that was to be sent cannot be read, or one that was to be written cannot be.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn unreached(source: &reqwest::Error) -> &'static str {
    if source.is_connect() {
        "no Lore server answers at"
    } else {
        "the connection broke to"
    }
}

impl ClientError {
    /// The HTTP status, where the server answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the thing that was named does not exist on the server.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether nothing listens at the address at all, as opposed to a connection that broke in the middle.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.is_connect())
    }

    /// Whether the same call may succeed later: the server is full or still loading.
    pub fn is_busy(&self) -> bool {
        matches!(self.status(), Some(429 | 503))
    }
}
