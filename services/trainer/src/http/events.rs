use crate::error::refused;
use crate::http::jobs::job_id;
use crate::http::{id, limit, list};
use crate::run::chain;
use crate::state::State;
use async_stream::stream;
use axum::Json;
use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lore_http::{ApiFailure, ErrorCode, Params, Segments};
use lore_types::{ErrorBody, FineTuningEvent, FineTuningEventId, FineTuningId, List};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// How often a silent connection is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a job is looked at even where nothing was heard of it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Events read at once.
const PIECE: u32 = 500;

/// Which events, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventPage {
    /// At most this many; 20 where absent.
    limit: Option<u32>,
    /// Of a list, only those older than the event with this id; of a stream, only newer ones.
    after: Option<String>,
    /// Server-sent events, oldest first, up to the end of the job, in place of a list.
    #[serde(default)]
    stream: bool,
}

/// What happened to a job, newest first; or as it happens.
#[utoipa::path(
    get, path = "/v1/fine_tuning/jobs/{job}/events", tag = "fine-tuning",
    params(("job" = String, Path, description = "Its id"), EventPage),
    responses(
        (status = 200, description = "Its events; with `stream` each as an SSE named `event`, and after the last one `data: [DONE]`",
         body = List<FineTuningEvent>),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn fine_tuning_events(
    Shared(state): Shared<Arc<State>>,
    Segments(job): Segments<String>,
    Params(page): Params<EventPage>,
) -> Result<Response, ApiFailure> {
    let job = job_id(&job)?;
    state.catalog.fine_tuning_job(job).await.map_err(refused)?;
    let after = page
        .after
        .map(|after| id(&after, "event", ErrorCode::NotFound))
        .transpose()?;
    if page.stream {
        let stream = Sse::new(events(state, job, after));
        return Ok(stream
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response());
    }
    let limit = limit(page.limit, 20)?;
    let found = state
        .catalog
        .events(job, after, limit)
        .await
        .map_err(refused)?;
    let answer = list(found.items, found.has_more, |one| one.id.to_string());
    Ok(Json(answer).into_response())
}

/// All events so far and each new one, up to the job's end or that of the service.
fn events(
    state: Arc<State>,
    job: FineTuningId,
    after: Option<FineTuningEventId>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream! {
        let mut news = state.news.subscribe();
        let mut last = after;
        loop {
            // The status is read first, so that no event before the end is missed.
            let over = match state.catalog.fine_tuning_job(job).await {
                Ok(job) => job.status.is_final(),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a job's stream ends early");
                    break;
                }
            };
            let some = state.catalog.events_since(job, last, PIECE).await.unwrap_or_default();
            for one in &some {
                last = Some(one.id);
                yield Ok(sse(one));
            }
            if !some.is_empty() {
                continue;
            }
            if over {
                yield Ok(Event::default().data("[DONE]"));
                break;
            }
            tokio::select! {
                _ = news.recv() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = state.stopping.cancelled() => break,
            }
        }
    }
}

fn sse(one: &FineTuningEvent) -> Event {
    let event = Event::default().event("event").id(one.id.to_string());
    event
        .json_data(one)
        .unwrap_or_else(|error| Event::default().comment(error.to_string()))
}
