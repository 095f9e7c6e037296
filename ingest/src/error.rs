use lore_catalog::CatalogError;
use lore_embed::EmbedError;
use lore_http::{ApiFailure, ErrorCode};
use lore_index::IndexError;
use lore_types::ApiError;
use std::error::Error;
use std::path::PathBuf;
use thiserror::Error;

/// Why the service cannot start or work.
#[derive(Debug, Error)]
pub enum IngestError {
    /// Another process ingests into the same folder.
    #[error(
        "another lore process ingests into `{data_dir}`; stop it, or choose another `storage.data_dir`"
    )]
    Locked {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// A file cannot be used.
    #[error("cannot {doing} `{path}`")]
    File {
        /// What was to be done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The catalog does not work.
    #[error("the catalog does not work")]
    Catalog(#[from] CatalogError),
    /// The dense side does not work.
    #[error("the dense index does not work")]
    Index(#[from] IndexError),
}

/// Why a document is not indexed (yet).
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It never will be, as it is.
    Document(ApiError),
    /// Something it needs does not work, but may soon.
    Passing(ApiError),
    /// The catalog itself does not work, so that not even the reason can be kept.
    Catalog(CatalogError),
}

impl From<CatalogError> for Trouble {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

/// An error of a job.
pub(crate) fn reason(code: &str, message: impl Into<String>, hint: Option<String>) -> ApiError {
    let kind = "server_error".to_owned();
    ApiError {
        code: code.to_owned(),
        message: message.into(),
        hint,
        kind,
        ..ApiError::default()
    }
}

/// How a warning ends that says what a job waits for; such a warning goes when the waiting is over.
const WAITING: &str = "; trying again";

/// The warning that says what a job waits for.
pub(crate) fn waiting(cause: &str) -> String {
    format!("{cause}{WAITING}")
}

/// Whether a warning says what a job waits for.
pub(crate) fn is_waiting(warning: &str) -> bool {
    warning.ends_with(WAITING)
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

/// What a client is told when the catalog refuses.
pub(crate) fn refused(error: CatalogError) -> ApiFailure {
    let code = match &error {
        CatalogError::NoCollection(_) => ErrorCode::CollectionNotFound,
        CatalogError::NoDocument { .. } => ErrorCode::DocumentNotFound,
        CatalogError::NoJob(_) => ErrorCode::JobNotFound,
        CatalogError::NoAdapter(_) => ErrorCode::ModelNotFound,
        CatalogError::NoSuchPage(_) => ErrorCode::InvalidRequest,
        CatalogError::CollectionExists(_) | CatalogError::CollectionRemoving(_) => {
            ErrorCode::Conflict
        }
        CatalogError::QueueFull { .. } => ErrorCode::QueueFull,
        CatalogError::File { .. } => return storage(&error),
        CatalogError::Open { .. }
        | CatalogError::NewerSchema { .. }
        | CatalogError::Sql { .. }
        | CatalogError::Corrupt { .. }
        // The trainer's; nothing here asks for them.
        | CatalogError::NoFile(_)
        | CatalogError::FileInUse { .. }
        | CatalogError::NoFineTuningJob(_)
        | CatalogError::WrongStatus { .. }
        | CatalogError::NoEarlierPromotion(_)
        | CatalogError::AdapterInUse { .. }
        | CatalogError::VersionTaken { .. } => return ApiFailure::internal(&error),
    };
    let failure = ApiFailure::new(code, error.to_string());
    match &error {
        CatalogError::NoCollection(_) => failure.hint("`GET /v1/collections` lists what there is"),
        CatalogError::NoAdapter(_) => failure
            .param("default_adapter")
            .hint("`lore adapters list` shows what there is"),
        CatalogError::NoSuchPage(_) => failure.param("after"),
        CatalogError::CollectionRemoving(_) => failure.hint("try again in a moment").retry_after(2),
        CatalogError::QueueFull { .. } => failure
            .hint("wait until some jobs have ended")
            .retry_after(5),
        _ => failure,
    }
}

fn storage(error: &CatalogError) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::StorageFailed,
        "the upload cannot be kept on disk",
    )
    .hint(
        "look at the free space and the rights of the data folder; the server's log has the cause",
    )
    .cause(error)
}

/// What a client is told when it names an embedder that Lore does not know.
pub(crate) fn unknown_embedder(name: &str, known: &[String]) -> ApiFailure {
    ApiFailure::new(ErrorCode::InvalidRequest, format!("no embedder `{name}`"))
        .hint(format!(
            "there are {}; a model of your own is named by `models.embedder` in the configuration",
            known.join(", ")
        ))
        .param("embedder")
}

/// What a client is told when an embedder cannot be used.
pub(crate) fn no_embedder(name: &str, error: &EmbedError) -> ApiFailure {
    if error.is_missing_model() {
        return ApiFailure::new(ErrorCode::ModelNotInstalled, chain(error))
            .hint(format!(
                "run `lore models pull {name}`; `lore models list` names all"
            ))
            .param("embedder")
            .cause(error);
    }
    ApiFailure::internal(error)
}
