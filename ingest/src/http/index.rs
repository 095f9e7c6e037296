use crate::indexer::Command;
use crate::state::State;
use axum::Json;
use axum::extract::State as Shared;
use lore_http::{ApiFailure, ErrorCode, JsonBody};
use lore_types::{ErrorBody, IndexReport};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;
use utoipa::ToSchema;

/// What to compare.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRequest {
    /// Only this collection; all of them where absent, and collections that no one knows.
    pub collection: Option<String>,
    /// Whether to remove what is too much (collections that no one knows included) and write again what is missing.
    pub repair: bool,
}

/// Compare the catalog with both indexes, and repair what differs.
#[utoipa::path(
    post, path = "/v1/index/verify", tag = "index", request_body = VerifyRequest,
    responses(
        (status = 200, description = "What was found; with `repair`, what is missing is written by `jobs`", body = IndexReport),
        (status = 404, description = "No such collection", body = ErrorBody),
        (status = 502, description = "The Qdrant server does not answer", body = ErrorBody),
    )
)]
pub(crate) async fn verify_index(
    Shared(state): Shared<Arc<State>>,
    JsonBody(asked): JsonBody<VerifyRequest>,
) -> Result<Json<IndexReport>, ApiFailure> {
    let (done, heard) = oneshot::channel();
    let ended = || ApiFailure::new(ErrorCode::NotReady, "the service is stopping").retry_after(5);
    state
        .indexer
        .send(Command::Verify(asked.collection, asked.repair, done))
        .await
        .map_err(|_| ended())?;
    heard.await.map_err(|_| ended())?.map(Json)
}
