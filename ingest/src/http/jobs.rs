use crate::error::refused;
use crate::http::{id, limit, list};
use crate::state::State;
use axum::Json;
use axum::extract::State as Shared;
use lore_catalog::JobQuery;
use lore_http::{ApiFailure, Params, Segments};
use lore_types::{ErrorBody, Job, JobStatus, List};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobPage {
    /// Only those of this collection.
    collection: Option<String>,
    /// Only those that stand like this.
    #[param(inline)]
    status: Option<JobStatus>,
    /// At most this many, 1–1000; 100 where absent.
    limit: Option<u32>,
    /// Only those older than the job with this id.
    after: Option<String>,
}

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(JobPage),
    responses((status = 200, description = "A page of jobs", body = List<Job>))
)]
pub(crate) async fn list_jobs(
    Shared(state): Shared<Arc<State>>,
    Params(page): Params<JobPage>,
) -> Result<Json<List<Job>>, ApiFailure> {
    let query = JobQuery {
        collection: page.collection,
        status: page.status,
        after: page.after.map(|after| id(&after, "after")).transpose()?,
        limit: limit(page.limit)?,
    };
    let found = state.catalog.jobs(&query).await.map_err(refused)?;
    Ok(Json(list(found.items, found.has_more, |one| {
        one.id.to_string()
    })))
}

/// One job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}", tag = "jobs",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job", body = Job),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_job(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Json<Job>, ApiFailure> {
    state
        .catalog
        .job(id(&job, "job")?)
        .await
        .map(Json)
        .map_err(refused)
}
