//! The routes of the service.

mod check;
mod collections;
mod content;
mod documents;
mod events;
mod file_name;
mod index;
mod jobs;
mod multipart;
mod upload;

pub use collections::{ChangeCollection, CreateCollection};
pub use documents::DocumentDetails;
pub use index::VerifyRequest;
pub use upload::UploadText;

use crate::state::State;
use axum::extract::DefaultBodyLimit;
use lore_http::{ApiFailure, ErrorCode};
use lore_types::List;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Things on a page where a request does not say how many.
const PAGE: u32 = 100;
/// Most things on a page.
const MAX_PAGE: u32 = 1_000;

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
        .routes(routes!(
            collections::create_collection,
            collections::list_collections
        ))
        .routes(routes!(
            collections::get_collection,
            collections::change_collection,
            collections::delete_collection
        ))
        .routes(routes!(upload::upload_documents, documents::list_documents))
        .routes(routes!(documents::get_document, documents::delete_document))
        .routes(routes!(documents::list_chunks))
        .routes(routes!(content::get_content))
        .routes(routes!(content::get_text))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(events::job_events))
        .routes(routes!(index::verify_index))
}

/// How many things a page may hold.
fn limit(asked: Option<u32>) -> Result<u32, ApiFailure> {
    match asked {
        None => Ok(PAGE),
        Some(limit @ 1..=MAX_PAGE) => Ok(limit),
        Some(limit) => {
            let message = format!("`limit` is {limit}, but must be between 1 and {MAX_PAGE}");
            Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("limit"))
        }
    }
}

/// An id that a request names.
fn id<T: std::str::FromStr>(text: &str, param: &str) -> Result<T, ApiFailure> {
    text.parse().map_err(|_| {
        let message = format!("`{text}` is not an id");
        ApiFailure::new(ErrorCode::InvalidRequest, message)
            .hint("ids are UUIDs, as lists give them")
            .param(param)
    })
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
