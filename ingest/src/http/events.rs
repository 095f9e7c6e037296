use crate::error::{chain, refused};
use crate::http::id;
use crate::state::State;
use async_stream::stream;
use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use lore_http::{ApiFailure, Segments};
use lore_types::{ErrorBody, Job, JobEvent, JobId};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How often a silent connection is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a job is looked at even where nothing was heard of it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watch a job: server-sent events named `job`, each with the whole job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/events", tag = "jobs",
    params(("job" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The first event is the job as it is now; the stream ends after a final one",
         content_type = "text/event-stream", body = JobEvent),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn job_events(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiFailure> {
    let job: JobId = id(&job, "job")?;
    let now = state.catalog.job(job).await.map_err(refused)?;
    Ok(Sse::new(events(state, now)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The job now and after each change, up to its end or that of the service.
fn events(state: Arc<State>, first: Job) -> impl Stream<Item = Result<Event, Infallible>> {
    stream! {
        let id = first.id;
        let mut watch = state.feed.watch();
        // Between the first look and the watch it may have changed.
        let mut job = state.catalog.job(id).await.unwrap_or(first);
        yield Ok(event(&job));
        while !job.status.is_final() {
            tokio::select! {
                () = watch.change(id) => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = state.stopping.cancelled() => break,
            }
            match state.catalog.job(id).await {
                Ok(next) if next != job => {
                    job = next;
                    yield Ok(event(&job));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a job's stream ends early");
                    break;
                }
            }
        }
    }
}

fn event(job: &Job) -> Event {
    let event = Event::default().event("job");
    event
        .json_data(JobEvent { job: job.clone() })
        .unwrap_or_else(|error| Event::default().comment(error.to_string()))
}
