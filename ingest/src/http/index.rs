use crate::indexer::Command;
use crate::state::State;
use axum::Json;
use axum::extract::State as Shared;
use lore_http::{ApiFailure, ErrorCode, JsonBody};
use lore_types::{ErrorBody, IndexReport};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
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
        (status = 503, description = "The indexer is busy; `Retry-After` says when to come back", body = ErrorBody),
    )
)]
pub(crate) async fn verify_index(
    Shared(state): Shared<Arc<State>>,
    JsonBody(asked): JsonBody<VerifyRequest>,
) -> Result<Json<IndexReport>, ApiFailure> {
    let (done, heard) = oneshot::channel();
    let (begun, begins) = oneshot::channel();
    let verify = Command::Verify(asked.collection, asked.repair, begun, done);
    let queued = async {
        state
            .indexer
            .send(verify)
            .await
            .map_err(|_| ended(&state))?;
        begins.await.map_err(|_| ended(&state))
    };
    let turn = state.settings.verify_turn;
    timeout(turn, queued).await.map_err(|_| busy(turn))??;
    heard.await.map_err(|_| ended(&state))?.map(Json)
}

fn busy(turn: Duration) -> ApiFailure {
    let seconds = turn.as_secs();
    ApiFailure::new(
        ErrorCode::NotReady,
        format!("the indexer is still at something else after {seconds} seconds"),
    )
    .hint("`lore jobs list` tells what it waits for, such as a Qdrant server that does not answer")
    .retry_after(30)
}

fn ended(state: &State) -> ApiFailure {
    if state.stopping.is_cancelled() {
        return ApiFailure::new(ErrorCode::NotReady, "the service is stopping").retry_after(5);
    }
    ApiFailure::new(
        ErrorCode::Internal,
        "comparing the indexes stopped half way",
    )
    .hint("look for the request id in the server's log")
}
