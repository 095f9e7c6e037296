use crate::problem::Problem;
use crate::run::{RunError, chain};
use lore_catalog::CatalogError;
use lore_http::{ApiFailure, ErrorCode};
use lore_model::ModelError;
use std::path::PathBuf;
use thiserror::Error;

/// Why the service cannot start or work.
#[derive(Debug, Error)]
pub enum TrainerError {
    /// Another process trains in the same folder.
    #[error(
        "another lore process trains in `{data_dir}`; stop it, or choose another `storage.data_dir`"
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
}

/// What a client is told when the catalog refuses.
pub(crate) fn refused(error: CatalogError) -> ApiFailure {
    let code = match &error {
        CatalogError::NoFile(_) | CatalogError::NoAdapter(_) => ErrorCode::NotFound,
        CatalogError::NoFineTuningJob(_) | CatalogError::NoJob(_) => ErrorCode::JobNotFound,
        CatalogError::NoCollection(_) => ErrorCode::CollectionNotFound,
        CatalogError::NoDocument { .. } => ErrorCode::DocumentNotFound,
        CatalogError::NoSuchPage(_) => ErrorCode::InvalidRequest,
        CatalogError::FileInUse { .. }
        | CatalogError::WrongStatus { .. }
        | CatalogError::NoEarlierPromotion(_)
        | CatalogError::AdapterInUse { .. }
        | CatalogError::VersionTaken { .. }
        | CatalogError::CollectionExists(_)
        | CatalogError::CollectionRemoving(_) => ErrorCode::Conflict,
        CatalogError::QueueFull { .. } => ErrorCode::QueueFull,
        CatalogError::File { .. } => return storage(&error),
        CatalogError::Open { .. }
        | CatalogError::NewerSchema { .. }
        | CatalogError::Sql { .. }
        | CatalogError::Corrupt { .. } => return ApiFailure::internal(&error),
    };
    let failure = ApiFailure::new(code, error.to_string());
    match &error {
        CatalogError::NoAdapter(_) => failure.hint("`GET /v1/adapters` lists what there is"),
        CatalogError::NoFile(_) => failure.hint("`GET /v1/files` lists what there is"),
        CatalogError::NoFineTuningJob(_) => {
            failure.hint("`GET /v1/fine_tuning/jobs` lists what there is")
        }
        CatalogError::FileInUse { .. } => failure.hint("wait for the job, or cancel it"),
        CatalogError::QueueFull { .. } => failure
            .hint("wait until some jobs have ended")
            .retry_after(30),
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

/// Everything that is wrong with a request, in one answer.
pub(crate) fn problems(problems: &[Problem]) -> ApiFailure {
    let lines: Vec<&str> = problems.iter().map(|one| one.message.as_str()).collect();
    let failure = ApiFailure::new(ErrorCode::InvalidRequest, lines.join("; "));
    match problems {
        [] => failure,
        [first, ..] => failure.param(&first.param),
    }
}

/// What a client is told where a model or an adapter cannot be used.
pub(crate) fn unusable(error: &ModelError) -> ApiFailure {
    let code = match error {
        ModelError::Write { .. } => ErrorCode::StorageFailed,
        ModelError::Compute(_) | ModelError::Stopped => ErrorCode::Internal,
        _ => ErrorCode::Conflict,
    };
    ApiFailure::new(code, chain(error)).cause(error)
}

/// What a client is told where a file of a job or an adapter cannot be used.
pub(crate) fn run_failure(error: &RunError) -> ApiFailure {
    match error {
        RunError::Model(error) => unusable(error),
        RunError::File { .. } => {
            ApiFailure::new(ErrorCode::StorageFailed, chain(error)).cause(error)
        }
        _ => ApiFailure::new(ErrorCode::Conflict, chain(error)).cause(error),
    }
}
