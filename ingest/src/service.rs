use crate::error::chain;
use crate::feed::JobFeed;
use crate::indexer::{Command, Indexer, QUEUE};
use crate::parse::ParserPool;
use crate::state::State;
use crate::{IngestError, IngestSettings, http, worker};
use futures::FutureExt;
use lore_catalog::{Catalog, Lease, Originals};
use lore_embed::EmbedderRegistry;
use lore_index::{DenseIndex, LexicalWriter};
use std::fs::{File, TryLockError};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

/// How long a start waits for a predecessor that is about to end.
const PREDECESSOR: Duration = Duration::from_secs(10);

/// How often finished jobs are looked at that may be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// What the service is made of.
pub struct IngestParts {
    /// The catalog.
    pub catalog: Catalog,
    /// Originals lie under `files/` in it; `ingest.lock` keeps a second process away.
    pub data_dir: PathBuf,
    /// The vector side.
    pub dense: Arc<dyn DenseIndex>,
    /// The BM25 side.
    pub lexical: Arc<dyn LexicalWriter>,
    /// Embedders by name.
    pub embedders: EmbedderRegistry,
    /// Reads documents in child processes.
    pub parser: Arc<ParserPool>,
    /// How to work.
    pub settings: IngestSettings,
}

/// The running service.
///
/// # Guarantees
/// What was acknowledged is on disk. Dropping it is like killing the process: whatever was being done is done again by the
/// next one, to the same end.
pub struct IngestService {
    state: Arc<State>,
    workers: JoinSet<()>,
    indexer: JoinHandle<()>,
    heartbeat: JoinHandle<()>,
    ended: CancellationToken,
    /// Held for as long as this process may write.
    _lock: File,
}

impl IngestService {
    /// Starts: takes the data folder for itself, takes over what a dead predecessor left, and begins to work.
    ///
    /// # Errors
    /// [`IngestError::Locked`] where another process holds the folder and keeps it for ten seconds.
    pub async fn start(parts: IngestParts) -> Result<Self, IngestError> {
        let lock = lock(&parts.data_dir).await?;
        let originals = Originals::open(parts.data_dir.join("files")).await?;
        let (sender, commands) = mpsc::channel(QUEUE);
        let state = Arc::new(State {
            lease: Lease {
                owner: owner(),
                length: parts.settings.lease,
            },
            catalog: parts.catalog,
            originals,
            dense: parts.dense,
            lexical: parts.lexical,
            embedders: parts.embedders,
            parser: parts.parser,
            settings: parts.settings,
            feed: JobFeed::new(),
            queued: Notify::new(),
            indexer: sender,
            stopping: CancellationToken::new(),
        });
        take_over(&state).await?;
        let mut workers = JoinSet::new();
        for _ in 0..state.settings.workers.max(1) {
            workers.spawn(worker::work(state.clone()));
        }
        let ended = CancellationToken::new();
        let indexing = Indexer::new(state.clone()).run(commands);
        let indexer = tokio::spawn(until_the_end(
            indexing,
            state.stopping.clone(),
            ended.clone(),
        ));
        let heartbeat = tokio::spawn(heartbeat(state.clone()));
        Ok(Self {
            state,
            workers,
            indexer,
            heartbeat,
            ended,
            _lock: lock,
        })
    }

    /// Its routes under `/v1`, with their documentation.
    pub fn router(&self) -> OpenApiRouter {
        http::router(self.state.clone())
    }

    /// Whether it can work: the catalog and the dense side answer.
    ///
    /// # Errors
    /// What does not answer.
    pub async fn check(&self) -> Result<(), IngestError> {
        self.state.catalog.check().await?;
        self.state.dense.check().await?;
        Ok(())
    }

    /// Waits until the indexer ends without having been told to, which only a fault in Lore brings about. Nothing is
    /// indexed or removed any more then, so the process should end.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.ended.clone().cancelled_owned()
    }

    /// Stops taking jobs and ends the event streams, so that the server can close its connections.
    pub fn stop(&self) {
        self.state.stopping.cancel();
    }

    /// Ends in order: what is being done is finished where `grace` allows it, and handed back to the queue where not.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop();
        let deadline = Instant::now() + grace;
        let finished = timeout_at(deadline, async {
            while self.workers.join_next().await.is_some() {}
            // Nobody else sends versions any more, so this is the last command.
            let _ = self.state.indexer.send(Command::Stop).await;
            let _ = (&mut self.indexer).await;
        });
        if finished.await.is_err() {
            tracing::warn!(
                seconds = grace.as_secs(),
                "work did not end in time; it is handed back"
            );
        }
        self.workers.shutdown().await;
        // A handle that was waited for once must not be waited for again.
        if !self.indexer.is_finished() {
            self.indexer.abort();
            let _ = (&mut self.indexer).await;
        }
        match self.state.catalog.hand_back(&self.state.lease).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "jobs were handed back to the queue"),
            Err(error) => tracing::warn!(
                error = chain(&error),
                "jobs stay leased; the next start takes them over"
            ),
        }
    }
}

impl Drop for IngestService {
    fn drop(&mut self) {
        self.state.stopping.cancel();
        self.indexer.abort();
        self.heartbeat.abort();
    }
}

/// Runs the indexer, and tells where it ends before the service stops.
async fn until_the_end(
    indexing: impl Future<Output = ()>,
    stopping: CancellationToken,
    ended: CancellationToken,
) {
    let panicked = AssertUnwindSafe(indexing).catch_unwind().await.is_err();
    if panicked || !stopping.is_cancelled() {
        tracing::error!(panicked, "the indexer ended");
        ended.cancel();
    }
}

/// A name that no other process has or had.
fn owner() -> String {
    format!("{}-{}", std::process::id(), uuid::Uuid::now_v7().simple())
}

/// Takes the data folder for this process. The kernel gives the lock back however the process ends.
async fn lock(data_dir: &Path) -> Result<File, IngestError> {
    let cannot = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| IngestError::File {
            doing,
            path,
            source,
        }
    };
    tokio::fs::create_dir_all(data_dir)
        .await
        .map_err(cannot("make", data_dir))?;
    let path = data_dir.join("ingest.lock");
    let file = File::create(&path).map_err(cannot("make", &path))?;
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(IngestError::Locked {
                    data_dir: data_dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &path)(error)),
        }
    }
}

/// Puts right what a dead predecessor left: his leases, and originals that no version uses.
async fn take_over(state: &State) -> Result<(), IngestError> {
    // The lock is ours, so every other worker is dead.
    let taken = state
        .catalog
        .take_over(&state.lease, true, state.settings.max_crashes)
        .await?;
    if !taken.queued.is_empty() || !taken.failed.is_empty() {
        let (queued, failed) = (taken.queued.len(), taken.failed.len());
        tracing::info!(
            queued,
            failed,
            "jobs of a process that ended were taken over"
        );
    }
    let there = state.originals.all().await?;
    let collected = state.originals.collect(&state.catalog, &there).await?;
    if collected > 0 {
        tracing::info!(
            collected,
            "uploads that were never accepted were cleared away"
        );
    }
    Ok(())
}

/// Renews the leases, takes over those that passed, keeps the gauges, and forgets old jobs, until the service stops.
async fn heartbeat(state: Arc<State>) {
    let mut forgotten: Option<Instant> = None;
    // Leases are renewed until the very end: a job that is still being finished while the service stops stays ours.
    loop {
        if forgotten.is_none_or(|last| last.elapsed() >= FORGET_EVERY) {
            forget(&state).await;
            forgotten = Some(Instant::now());
        }
        if let Err(error) = beat(&state).await {
            tracing::warn!(
                error = chain(&error),
                "leases cannot be renewed; trying again"
            );
        }
        tokio::time::sleep(state.lease.length / 3).await;
    }
}

async fn forget(state: &State) {
    match state
        .catalog
        .forget_jobs(state.settings.keep_finished_jobs)
        .await
    {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(jobs, "finished jobs were forgotten"),
        Err(error) => tracing::warn!(error = chain(&error), "old jobs cannot be forgotten"),
    }
}

async fn beat(state: &State) -> Result<(), lore_catalog::CatalogError> {
    state.catalog.renew(&state.lease).await?;
    let taken = state
        .catalog
        .take_over(&state.lease, false, state.settings.max_crashes)
        .await?;
    if !taken.queued.is_empty() {
        state.queued.notify_waiters();
    }
    let counts = state.catalog.job_counts().await?;
    metrics::gauge!(lore_telemetry::names::INGEST_QUEUE_LENGTH).set(counts.queued as f64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is told that an indexer ended which ran like this.
    async fn told(indexing: impl Future<Output = ()>, stopping: bool) -> bool {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        if stopping {
            stop.cancel();
        }
        until_the_end(indexing, stop, ended.clone()).await;
        ended.is_cancelled()
    }

    #[tokio::test]
    async fn an_indexer_that_ends_unasked_is_told() {
        assert!(told(async { panic!("on purpose") }, false).await);
        assert!(told(async { panic!("on purpose") }, true).await);
        assert!(told(async {}, false).await);
        assert!(!told(async {}, true).await);
    }
}
