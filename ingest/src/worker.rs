use crate::backoff::Backoff;
use crate::error::{Trouble, chain, reason, waiting};
use crate::indexer::Command;
use crate::prepare::prepare;
use crate::prepared::Prepared;
use crate::state::State;
use futures::FutureExt;
use lore_catalog::Task;
use lore_types::JobStage;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How often an idle worker looks for jobs by himself; the bell of `State::queued` comes first.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Tries for what may pass, half a minute together, before the document is given up.
const PATIENCE: u32 = 6;

/// Leases jobs and prepares them for the indexer, until the service stops.
pub(crate) async fn work(state: Arc<State>) {
    let mut trouble = Backoff::default();
    while !state.stopping.is_cancelled() {
        // The bell is listened to from before the look, so that no upload in between is overheard.
        let mut bell = pin!(state.queued.notified());
        bell.as_mut().enable();
        match state.catalog.claim(&state.lease).await {
            Ok(Some(task)) => {
                trouble = Backoff::default();
                guarded(&state, task).await;
            }
            Ok(None) => tokio::select! {
                () = bell => {}
                _ = state.pause(LOOK_EVERY) => {}
            },
            Err(error) => {
                tracing::error!(error = chain(&error), "no job can be leased");
                state.pause(trouble.next()).await;
            }
        }
    }
}

/// Handles a job; a panic is the document's failure and not the worker's end.
async fn guarded(state: &State, task: Task) {
    let job = task.job.id;
    if AssertUnwindSafe(handle(state, task))
        .catch_unwind()
        .await
        .is_err()
    {
        let failure = reason("internal", "a fault in Lore stopped this document", None);
        if let Err(error) = state.fail(job, &failure).await {
            tracing::error!(%job, error = chain(&error), "a failure cannot be kept");
        }
    }
}

async fn handle(state: &State, task: Task) {
    let mut backoff = Backoff::default();
    loop {
        match prepare(state, &task).await {
            Ok(Some(prepared)) => return pass_on(state, prepared).await,
            Ok(None) => return,
            Err(trouble) => {
                if !endure(state, &task, trouble, &mut backoff).await {
                    return;
                }
            }
        }
    }
}

/// Gives a prepared version to the indexer.
async fn pass_on(state: &State, prepared: Prepared) {
    // From here on the document cannot be what kills the process, so a crash no longer counts against it.
    if let Err(error) = state
        .advance(prepared.task.job.id, JobStage::Indexing, 0.9)
        .await
    {
        tracing::warn!(error = chain(&error), "a job's stage cannot be noted");
    }
    // The indexer is gone only when the service stops; the job is handed back then.
    let _ = state.indexer.send(Command::Index(Box::new(prepared))).await;
}

/// Deals with a try that went wrong; true where another one is due.
async fn endure(state: &State, task: &Task, trouble: Trouble, backoff: &mut Backoff) -> bool {
    let job = task.job.id;
    let kept = match &trouble {
        Trouble::Catalog(error) => {
            tracing::error!(%job, error = chain(error), "the catalog does not work; trying again");
            return state.pause(backoff.next()).await;
        }
        Trouble::Passing(error) if backoff.tries() < PATIENCE => {
            tracing::warn!(%job, code = error.code, "{}; trying again", error.message);
            state.warn(job, &[waiting(&error.message)]).await
        }
        Trouble::Passing(error) | Trouble::Document(error) => state.fail(job, error).await,
    };
    if let Err(error) = kept {
        tracing::error!(%job, error = chain(&error), "a job's state cannot be kept; trying again");
        return state.pause(backoff.next()).await;
    }
    let again = matches!(trouble, Trouble::Passing(_)) && backoff.tries() < PATIENCE;
    again && state.pause(backoff.next()).await
}
