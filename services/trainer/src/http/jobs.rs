use crate::error::refused;
use crate::http::{id, limit, list};
use crate::run::Ask;
use crate::state::State;
use crate::submit::submit;
use axum::Json;
use axum::extract::State as Shared;
use lore_catalog::FineTuningQuery;
use lore_http::{ApiFailure, ErrorCode, JsonBody, Params, Segments};
use lore_types::{
    CreateFineTuningJob, ErrorBody, FineTuningCheckpoint, FineTuningId, FineTuningJob,
    FineTuningStatus, List,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FineTuningPage {
    /// Only those that stand like this.
    #[param(inline)]
    status: Option<FineTuningStatus>,
    /// Only those that make versions of this adapter.
    adapter: Option<String>,
    /// At most this many; 20 where absent.
    limit: Option<u32>,
    /// Only those older than the job with this id.
    after: Option<String>,
}

pub(super) fn job_id(text: &str) -> Result<FineTuningId, ApiFailure> {
    id(text, "fine-tuning job", ErrorCode::JobNotFound)
}

/// Start a fine-tuning job. Files, settings, memory and disk are checked first, and every problem is told at once.
#[utoipa::path(
    post, path = "/v1/fine_tuning/jobs", tag = "fine-tuning", request_body = CreateFineTuningJob,
    responses(
        (status = 200, description = "The job: on disk, waiting for its turn", body = FineTuningJob),
        (status = 400, description = "Everything that is wrong", body = ErrorBody),
        (status = 429, description = "Too many jobs wait", body = ErrorBody),
    )
)]
pub(crate) async fn create_job(
    Shared(state): Shared<Arc<State>>,
    JsonBody(body): JsonBody<CreateFineTuningJob>,
) -> Result<Json<FineTuningJob>, ApiFailure> {
    submit(&state, body).await.map(Json)
}

/// List fine-tuning jobs, newest first.
#[utoipa::path(
    get, path = "/v1/fine_tuning/jobs", tag = "fine-tuning", params(FineTuningPage),
    responses((status = 200, description = "A page of jobs", body = List<FineTuningJob>))
)]
pub(crate) async fn list_fine_tuning_jobs(
    Shared(state): Shared<Arc<State>>,
    Params(page): Params<FineTuningPage>,
) -> Result<Json<List<FineTuningJob>>, ApiFailure> {
    let query = FineTuningQuery {
        status: page.status,
        adapter: page.adapter,
        after: page.after.map(|after| job_id(&after)).transpose()?,
        limit: limit(page.limit, 20)?,
    };
    let found = state
        .catalog
        .fine_tuning_jobs(&query)
        .await
        .map_err(refused)?;
    Ok(Json(list(found.items, found.has_more, |one| {
        one.id.to_string()
    })))
}

/// One fine-tuning job.
#[utoipa::path(
    get, path = "/v1/fine_tuning/jobs/{job}", tag = "fine-tuning",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job", body = FineTuningJob),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_fine_tuning_job(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Json<FineTuningJob>, ApiFailure> {
    let job = job_id(&job)?;
    state
        .catalog
        .fine_tuning_job(job)
        .await
        .map(Json)
        .map_err(refused)
}

/// End a job. What it has computed within a step is dropped; its checkpoints stay, so that it can be resumed.
#[utoipa::path(
    post, path = "/v1/fine_tuning/jobs/{job}/cancel", tag = "fine-tuning",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job", body = FineTuningJob),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "It is over", body = ErrorBody),
    )
)]
pub(crate) async fn cancel_job(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Json<FineTuningJob>, ApiFailure> {
    let id = job_id(&job)?;
    let job = state
        .catalog
        .cancel_fine_tuning(id)
        .await
        .map_err(refused)?;
    state.ask(id, Ask::Drop);
    state
        .event(id, "info", "Fine-tuning job was cancelled")
        .await;
    Ok(Json(job))
}

/// Hold a job: it writes a checkpoint and waits until it is resumed.
#[utoipa::path(
    post, path = "/v1/fine_tuning/jobs/{job}/pause", tag = "fine-tuning",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job", body = FineTuningJob),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "It neither waits nor runs", body = ErrorBody),
    )
)]
pub(crate) async fn pause_job(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Json<FineTuningJob>, ApiFailure> {
    let id = job_id(&job)?;
    let job = state.catalog.pause_fine_tuning(id).await.map_err(refused)?;
    state.ask(id, Ask::Halt);
    state.event(id, "info", "Fine-tuning job was paused").await;
    Ok(Json(job))
}

/// Let a job go on from its last checkpoint: one that was paused, cancelled, or failed for a reason that has passed.
#[utoipa::path(
    post, path = "/v1/fine_tuning/jobs/{job}/resume", tag = "fine-tuning",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job", body = FineTuningJob),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "It is not held", body = ErrorBody),
    )
)]
pub(crate) async fn resume_job(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Json<FineTuningJob>, ApiFailure> {
    let id = job_id(&job)?;
    let job = state
        .catalog
        .resume_fine_tuning(id)
        .await
        .map_err(refused)?;
    state.event(id, "info", "Fine-tuning job was resumed").await;
    state.queued.notify_waiters();
    Ok(Json(job))
}

/// A job's checkpoints, newest first.
#[utoipa::path(
    get, path = "/v1/fine_tuning/jobs/{job}/checkpoints", tag = "fine-tuning",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "Its checkpoints", body = List<FineTuningCheckpoint>),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn list_checkpoints(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Json<List<FineTuningCheckpoint>>, ApiFailure> {
    let id = job_id(&job)?;
    state.catalog.fine_tuning_job(id).await.map_err(refused)?;
    let found = state.catalog.checkpoints(id).await.map_err(refused)?;
    Ok(Json(list(found, false, |one| one.id.to_string())))
}
