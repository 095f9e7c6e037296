//! The routes of the service.

mod adapters;
mod archive;
mod events;
mod export;
mod files;
mod form;
mod jobs;

pub use adapters::PromoteAdapter;

use crate::state::State;
use axum::extract::DefaultBodyLimit;
use lore_http::{ApiFailure, ErrorCode};
use lore_types::List;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Most things on a page.
const MAX_PAGE: u32 = 10_000;

/// All routes, with their documentation.
pub(crate) fn router(state: Arc<State>) -> OpenApiRouter {
    let limit = usize::try_from(state.settings.max_body).unwrap_or(usize::MAX);
    routes()
        .layer(DefaultBodyLimit::max(limit))
        .with_state(state)
}

/// The OpenAPI of these routes, for which no service has to run.
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::new()
        .routes(routes!(files::upload_file, files::list_files))
        .routes(routes!(files::get_file, files::delete_file))
        .routes(routes!(files::file_content))
        .routes(routes!(jobs::create_job, jobs::list_fine_tuning_jobs))
        .routes(routes!(jobs::get_fine_tuning_job))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::pause_job))
        .routes(routes!(jobs::resume_job))
        .routes(routes!(jobs::list_checkpoints))
        .routes(routes!(events::fine_tuning_events))
        .routes(routes!(adapters::import_adapter, adapters::list_adapters))
        .routes(routes!(adapters::get_adapter, adapters::delete_adapter))
        .routes(routes!(adapters::promote_adapter))
        .routes(routes!(adapters::rollback_adapter))
        .routes(routes!(export::export_adapter))
}

/// How many things a page may hold.
fn limit(asked: Option<u32>, usual: u32) -> Result<u32, ApiFailure> {
    match asked {
        None => Ok(usual),
        Some(limit @ 1..=MAX_PAGE) => Ok(limit),
        Some(limit) => {
            let message = format!("`limit` is {limit}, but must be between 1 and {MAX_PAGE}");
            Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("limit"))
        }
    }
}

/// An id that a request names; one that is no id is not there.
fn id<T: std::str::FromStr>(text: &str, what: &str, code: ErrorCode) -> Result<T, ApiFailure> {
    text.parse()
        .map_err(|_| ApiFailure::new(code, format!("no {what} `{text}`")))
}

/// A page as clients get it.
fn list<T>(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> List<T> {
    let last_id = data.last().map(id);
    List {
        object: "list".to_owned(),
        data,
        has_more,
        last_id,
    }
}
