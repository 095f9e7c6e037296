use super::ServerSettings;
use crate::IndexError;
use crate::folder::check_name;
use qdrant_client::{Qdrant, QdrantError};
use std::time::{Duration, Instant};

/// How often a call is tried while the server does not answer.
const MOST_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

// The gRPC codes that mean something here.
const CANCELLED: i32 = 1;
const DEADLINE: i32 = 4;
const NOT_FOUND: i32 = 5;
const FORBIDDEN: i32 = 7;
const EXHAUSTED: i32 = 8;
const ABORTED: i32 = 10;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const UNKNOWN_CALLER: i32 = 16;

/// A connection to a server, and what is needed to speak of it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: Qdrant,
    url: String,
    prefix: String,
    patience: Duration,
}

impl Server {
    pub(super) fn new(settings: ServerSettings) -> Result<Self, IndexError> {
        let ServerSettings {
            url,
            api_key,
            prefix,
            timeout,
        } = settings;
        let builder = Qdrant::from_url(&url)
            .api_key(api_key)
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(5)));
        let client = builder
            .skip_compatibility_check()
            .build()
            .map_err(|error| IndexError::Unusable {
                url: url.clone(),
                reason: format!("{error}; an address looks like http://127.0.0.1:6334"),
            })?;
        Ok(Self {
            client,
            url,
            prefix,
            patience: timeout,
        })
    }

    /// The collection's name on the server.
    pub(super) fn name(&self, collection: &str) -> Result<String, IndexError> {
        check_name(collection)?;
        Ok(format!("{}{collection}", self.prefix))
    }

    /// The name in Lore of a collection on the server, where it is Lore's.
    pub(super) fn collection(&self, name: &str) -> Option<String> {
        name.strip_prefix(&self.prefix)
            .filter(|name| check_name(name).is_ok())
            .map(str::to_owned)
    }

    /// Makes a call that may be repeated, again where the server did not answer or was too busy.
    pub(super) async fn call<T, F: Future<Output = Result<T, QdrantError>>>(
        &self,
        doing: &'static str,
        collection: &str,
        call: impl Fn() -> F,
    ) -> Result<T, IndexError> {
        let started = Instant::now();
        let mut tried = 1;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = FIRST_PAUSE * 2u32.pow(tried - 1);
            let Some(pause) = retry_after(&error, pause)
                .filter(|pause| started.elapsed() + *pause < self.patience)
            else {
                return Err(self.failed(doing, collection, error));
            };
            if tried == MOST_TRIES {
                return Err(self.failed(doing, collection, error));
            }
            tracing::debug!(url = %self.url, doing, collection, tried, %error, "the Qdrant server did not answer, trying again");
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    pub(super) fn missing(&self, collection: &str) -> IndexError {
        IndexError::NoCollection {
            collection: collection.to_owned(),
            side: "dense",
        }
    }

    pub(super) fn refused(
        &self,
        doing: &'static str,
        collection: &str,
        reason: &str,
    ) -> IndexError {
        IndexError::Server {
            url: self.url.clone(),
            doing,
            collection: collection.to_owned(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn unusable(&self, reason: String) -> IndexError {
        IndexError::Unusable {
            url: self.url.clone(),
            reason,
        }
    }

    pub(super) fn foreign(&self, collection: &str) -> IndexError {
        self.refused(
            "read",
            collection,
            "it was not made by Lore: choose another prefix, or remove it on the server",
        )
    }

    fn failed(&self, doing: &'static str, collection: &str, error: QdrantError) -> IndexError {
        let reason = match &error {
            QdrantError::ResponseError { status }
            | QdrantError::ResourceExhaustedError { status, .. } => status.message().to_owned(),
            other => other.to_string(),
        };
        match code(&error) {
            Some(NOT_FOUND) => self.missing(collection),
            Some(FORBIDDEN | UNKNOWN_CALLER) => self.unusable(format!(
                "it refuses the API key ({reason}): set `dense.api_key` to the server's"
            )),
            _ if retry_after(&error, FIRST_PAUSE).is_some() => IndexError::Unreachable {
                url: self.url.clone(),
                reason,
            },
            _ => self.refused(doing, collection, &reason),
        }
    }
}

fn code(error: &QdrantError) -> Option<i32> {
    match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => Some(status.code() as i32),
        _ => None,
    }
}

/// How long to wait before the same call may succeed; `None` where it will not.
fn retry_after(error: &QdrantError, pause: Duration) -> Option<Duration> {
    match error {
        QdrantError::ResourceExhaustedError {
            retry_after_seconds,
            ..
        } => Some(Duration::from_secs(*retry_after_seconds)),
        QdrantError::ResponseError { status } => match status.code() as i32 {
            CANCELLED | DEADLINE | EXHAUSTED | ABORTED | UNAVAILABLE => Some(pause),
            // The client's own word for a server that it cannot reach.
            INTERNAL if status.message().starts_with("Failed to connect") => Some(pause),
            _ => None,
        },
        QdrantError::Io(_) => Some(pause),
        _ => None,
    }
}
