use crate::state::NoGenerator;
use lore_catalog::CatalogError;
use lore_embed::EmbedError;
use lore_http::{ApiFailure, ErrorCode};
use lore_index::IndexError;
use lore_model::GenerateError;
use lore_types::FilterError;
use thiserror::Error;

/// Why a question, a search or another request of the gateway was not answered.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// A field that must say something is empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A field is longer than makes sense.
    #[error("`{field}` has {actual} characters, but takes {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its characters.
        actual: usize,
        /// Most characters.
        limit: usize,
    },
    /// A field has a value that cannot be used.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it, as the rest of the sentence.
        problem: String,
    },
    /// A field of OpenAI's API that Lore does not implement.
    #[error("`{field}` is not supported: {instead}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A filter that cannot be understood.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// No such collection.
    #[error("no collection `{name}`")]
    NoCollection {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// No such model.
    #[error("no model `{name}`")]
    NoModel {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// An adapter without a promoted version.
    #[error("adapter `{adapter}` has no promoted version")]
    NothingPromoted {
        /// The adapter.
        adapter: String,
        /// Its versions.
        versions: Vec<u32>,
    },
    /// A version of an adapter that cannot be served.
    #[error("{0}")]
    AdapterRefused(String),
    /// The language model is not there.
    #[error("the language model `{}` is not there: {}", .0.model, .0.reason)]
    NoGenerator(NoGenerator),
    /// The question and its conversation leave no room for an answer.
    #[error(
        "the prompt has {prompt} tokens and the answer may take {answer}, but `{model}` takes {context} in all"
    )]
    NoRoom {
        /// The model.
        model: String,
        /// Tokens of the prompt without passages.
        prompt: usize,
        /// Most tokens of the answer.
        answer: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// An embedder failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The generator failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The server stops, and its grace period is over.
    #[error("the server stopped before the answer was whole")]
    Stopping,
    /// Work on another thread did not come back.
    #[error("work on another thread did not come back")]
    Join(#[source] tokio::task::JoinError),
}

impl From<GatewayError> for ApiFailure {
    fn from(error: GatewayError) -> Self {
        let text = error.to_string();
        match error {
            GatewayError::Empty(field) => Self::new(ErrorCode::InvalidRequest, text).param(field).hint("write something in it"),
            GatewayError::TooLong { field, .. } => Self::new(ErrorCode::InvalidRequest, text).param(field),
            GatewayError::Invalid { field, .. } | GatewayError::Unsupported { field, .. } => {
                Self::new(ErrorCode::InvalidRequest, text).param(field)
            }
            GatewayError::Filter(_) => Self::new(ErrorCode::InvalidFilter, text)
                .param("filter")
                .hint("a filter is a JSON object such as {\"team\": \"hr\", \"year\": {\"$gte\": 2024}}"),
            GatewayError::NoCollection { known, .. } => {
                Self::new(ErrorCode::CollectionNotFound, text).param("collection").hint(collections_hint(&known))
            }
            GatewayError::NoModel { known, .. } => Self::new(ErrorCode::ModelNotFound, text)
                .param("model")
                .hint(format!("`GET /v1/models` lists what can be asked: {}", known.join(", "))),
            GatewayError::NothingPromoted { adapter, versions } => Self::new(ErrorCode::ModelNotFound, text)
                .param("model")
                .hint(nothing_promoted(&adapter, &versions)),
            GatewayError::AdapterRefused(_) => Self::new(ErrorCode::Conflict, text)
                .param("model")
                .hint("train or import it again for the model that is loaded, or load its own base (`models.generator`)"),
            GatewayError::NoGenerator(missing) => Self::new(ErrorCode::ModelNotInstalled, text).hint(missing.hint),
            GatewayError::NoRoom { .. } => Self::new(ErrorCode::ContextLengthExceeded, text)
                .param("messages")
                .hint("shorten the question or the conversation, or ask for fewer tokens"),
            GatewayError::Catalog(error) => catalog(&error),
            GatewayError::Index(error) => index(&error),
            GatewayError::Embed(error) => embed(&error),
            GatewayError::Generate(error) => generate(&error),
            GatewayError::Stopping => Self::new(ErrorCode::NotReady, text)
                .hint("ask again when it is back; `server.shutdown_grace` gives answers more time")
                .retry_after(5),
            GatewayError::Join(error) => Self::internal(&error),
        }
    }
}

fn nothing_promoted(adapter: &str, versions: &[u32]) -> String {
    let versions: Vec<String> = versions
        .iter()
        .map(|one| format!("{adapter}@{one}"))
        .collect();
    format!(
        "`lore adapters promote {adapter}` does it; one version can be asked as {}",
        versions.join(", ")
    )
}

fn collections_hint(known: &[String]) -> String {
    if known.is_empty() {
        return "there is no collection yet; `lore ingest --collection NAME PATH` makes one"
            .to_owned();
    }
    format!(
        "`GET /v1/collections` lists what there is: {}; `lore ingest --collection NAME PATH` makes one",
        known.join(", ")
    )
}

fn catalog(error: &CatalogError) -> ApiFailure {
    if error.is_transient() {
        return ApiFailure::new(ErrorCode::NotReady, "the catalog is busy")
            .retry_after(1)
            .cause(error);
    }
    ApiFailure::internal(error)
}

fn index(error: &IndexError) -> ApiFailure {
    match error {
        IndexError::NoCollection { .. } => ApiFailure::new(ErrorCode::Internal, error.to_string())
            .hint("`lore index verify --repair` writes it again from the catalog")
            .cause(error),
        IndexError::Dimensions { .. } | IndexError::Vectors(_) => {
            ApiFailure::new(ErrorCode::Internal, error.to_string()).cause(error)
        }
        IndexError::Unreachable { .. } => {
            ApiFailure::new(ErrorCode::UpstreamUnavailable, error.to_string())
                .retry_after(2)
                .cause(error)
        }
        IndexError::Shared(error) => index(error),
        IndexError::CollectionName(_)
        | IndexError::Locked { .. }
        | IndexError::Damaged { .. }
        | IndexError::Io { .. }
        | IndexError::Engine { .. }
        | IndexError::Server { .. }
        | IndexError::Unusable { .. }
        | IndexError::Stopped { .. } => ApiFailure::internal(error),
    }
}

fn embed(error: &EmbedError) -> ApiFailure {
    if error.is_busy() {
        return ApiFailure::new(ErrorCode::QueueFull, error.to_string()).retry_after(1);
    }
    if error.is_missing_model() {
        return ApiFailure::new(ErrorCode::ModelNotInstalled, error.to_string())
            .hint("`lore models pull` fetches models, `lore doctor` says what is missing")
            .cause(error);
    }
    ApiFailure::internal(error)
}

fn generate(error: &GenerateError) -> ApiFailure {
    let text = error.to_string();
    match error {
        GenerateError::Busy { queued } => {
            // One answer takes seconds; a client at the end of a full queue gains nothing by asking sooner.
            let seconds = u32::try_from(*queued).unwrap_or(u32::MAX).clamp(1, 30);
            ApiFailure::new(ErrorCode::QueueFull, text).retry_after(seconds)
        }
        GenerateError::TooLong { .. } => ApiFailure::new(ErrorCode::ContextLengthExceeded, text)
            .param("messages")
            .hint("shorten the question or the conversation, or ask for fewer tokens"),
        GenerateError::NoAdapter(_) => {
            ApiFailure::new(ErrorCode::ModelNotFound, text).param("model")
        }
        GenerateError::Invalid(_) => ApiFailure::new(ErrorCode::InvalidRequest, text),
        // `GenerateError` may grow: what is not known yet is a fault of the model.
        _ => ApiFailure::new(ErrorCode::Internal, "the language model stopped working")
            .hint("look for the request id in the server's log")
            .cause(error),
    }
}
