//! The one writer of both indexes: here are prepared versions, make them the ones that are found.
//!
//! Everything that changes an index goes through this task, one thing at a time. So a removal cannot overtake the write
//! that it is to undo, and a comparison sees no change in the middle.

use crate::backoff::Backoff;
use crate::error::{chain, reason, waiting};
use crate::prepared::Prepared;
use crate::state::State;
use crate::write::{Unwritten, index};
use crate::{sweep, verify};
use futures::FutureExt;
use lore_http::ApiFailure;
use lore_types::IndexReport;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Prepared versions that wait for the indexer before the workers have to.
pub(crate) const QUEUE: usize = 32;
/// Most versions that share one commit.
const BATCH: usize = 64;
/// Most chunks that share one commit, unless a single version has more.
const BATCH_CHUNKS: usize = 4_096;
/// Pause after which what is left to remove is looked for, and indexes are optimised.
const IDLE: Duration = Duration::from_secs(5);
/// Tries for an index that says it lacks a collection which was just made.
const REMAKES: u32 = 3;

/// What the indexer is asked to do.
pub(crate) enum Command {
    /// Make a version the one that is found.
    Index(Box<Prepared>),
    /// Make a collection in both indexes, of this name and with vectors of this length.
    Create(String, u32, oneshot::Sender<()>),
    /// Remove what was deleted.
    Sweep(oneshot::Sender<()>),
    /// Compare, and repair where the truth value says so.
    /// The first sender hears that it begins; where nobody waits for that any more, it does not.
    Verify(
        Option<String>,
        bool,
        oneshot::Sender<()>,
        oneshot::Sender<Result<IndexReport, ApiFailure>>,
    ),
    /// End once everything before it is done.
    Stop,
}

/// The indexer and what it remembers.
pub(crate) struct Indexer {
    pub(crate) state: Arc<State>,
    /// Collections that both indexes are known to have.
    pub(crate) made: HashSet<String>,
    /// Collections that were written since they were last optimised, with how many chunks.
    pub(crate) written: HashMap<String, usize>,
}

impl Indexer {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            made: HashSet::new(),
            written: HashMap::new(),
        }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        survived("the first sweep", self.sweep()).await;
        let mut next = None;
        loop {
            let command = match next.take() {
                Some(command) => Some(command),
                None => tokio::time::timeout(IDLE, commands.recv())
                    .await
                    .unwrap_or_else(|_| Some(Command::idle())),
            };
            match command {
                Some(Command::Index(first)) => {
                    let (batch, other) = gather(*first, &mut commands);
                    next = other;
                    self.guarded(batch).await;
                }
                Some(Command::Stop) | None => return,
                Some(other) => {
                    survived(other.name(), self.serve(other)).await;
                }
            }
        }
    }

    async fn serve(&mut self, command: Command) {
        match command {
            Command::Create(collection, dimensions, done) => {
                if let Err(error) = self.make(&collection, dimensions).await {
                    tracing::warn!(
                        collection,
                        error = chain(&error),
                        "the indexes make the collection at its first document"
                    );
                }
                let _ = done.send(());
            }
            Command::Sweep(done) => {
                self.sweep().await;
                self.optimize_when_quiet(&done).await;
                let _ = done.send(());
            }
            Command::Verify(collection, repair, begun, done) => {
                if begun.send(()).is_err() {
                    return;
                }
                let report = verify::verify(self, collection.as_deref(), repair).await;
                let _ = done.send(report);
            }
            Command::Index(_) | Command::Stop => {}
        }
    }

    /// Removes what was deleted; what cannot be removed now is tried again later.
    pub(crate) async fn sweep(&mut self) {
        if let Err(error) = sweep::sweep(self).await {
            tracing::warn!(
                error = chain(&error),
                "what was deleted cannot leave the indexes yet; trying again"
            );
        }
    }

    /// Optimises what was written, when nobody waits for this sweep because it came from idleness.
    async fn optimize_when_quiet(&mut self, asked: &oneshot::Sender<()>) {
        if !asked.is_closed() {
            return;
        }
        for (collection, chunks) in std::mem::take(&mut self.written) {
            if let Err(error) = self.state.dense.optimize(&collection).await {
                tracing::warn!(
                    collection,
                    chunks,
                    error = chain(&error),
                    "a collection cannot be optimised"
                );
            }
        }
    }

    /// Indexes a batch; a panic is its documents' failure and not the indexer's end.
    async fn guarded(&mut self, batch: Vec<Prepared>) {
        let jobs: Vec<_> = batch.iter().map(|one| one.task.job.id).collect();
        if survived("indexing", self.index_all(batch)).await {
            return;
        }
        for job in jobs {
            let failure = reason("internal", "a fault in Lore stopped this document", None);
            if let Err(error) = self.state.fail(job, &failure).await {
                tracing::error!(%job, error = chain(&error), "a failure cannot be kept");
            }
        }
    }

    /// Indexes a batch, however long the indexes cannot be reached; a version that can never be written fails alone.
    async fn index_all(&mut self, batch: Vec<Prepared>) {
        let mut queue = vec![batch];
        let mut backoff = Backoff::default();
        while let Some(mut batch) = queue.pop() {
            match index(self, &mut batch).await {
                Ok(()) => backoff = Backoff::default(),
                Err(error) if error.may_pass(backoff.tries() < REMAKES) => {
                    self.say(&batch, &error).await;
                    if !self.state.pause(backoff.next()).await {
                        return;
                    }
                    queue.push(batch);
                }
                Err(_) if batch.len() > 1 => queue.extend(batch.into_iter().map(|one| vec![one])),
                Err(error) => self.give_up(&batch, &error).await,
            }
        }
    }

    /// Tells the jobs of a batch what they wait for.
    async fn say(&self, batch: &[Prepared], error: &Unwritten) {
        tracing::warn!(
            error = chain(error),
            "versions cannot be indexed now; trying again"
        );
        for one in batch {
            let mut warnings = one.warnings.clone();
            warnings.push(waiting(&chain(error)));
            if let Err(error) = self.state.warn(one.task.job.id, &warnings).await {
                tracing::warn!(error = chain(&error), "a warning cannot be kept");
            }
        }
    }

    async fn give_up(&mut self, batch: &[Prepared], error: &Unwritten) {
        for one in batch {
            let failure = reason("indexing_failed", chain(error), None);
            if let Err(error) = self.state.fail(one.task.job.id, &failure).await {
                tracing::error!(error = chain(&error), "a failure cannot be kept");
            }
        }
        self.sweep().await;
    }
}

/// Does something; false where it panicked, which is the end of that thing and not of the indexer.
async fn survived(what: &'static str, work: impl Future<Output = ()>) -> bool {
    let survived = AssertUnwindSafe(work).catch_unwind().await.is_ok();
    if !survived {
        tracing::error!(what, "a fault in Lore stopped a step of the indexer");
    }
    survived
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Index(_) => "indexing",
            Self::Create(..) => "making a collection",
            Self::Sweep(_) => "removing what was deleted",
            Self::Verify(..) => "comparing the indexes",
            Self::Stop => "stopping",
        }
    }

    /// What is done when nobody asks for anything: a sweep that nobody waits for.
    fn idle() -> Self {
        Self::Sweep(oneshot::channel().0)
    }
}

/// Takes as many prepared versions as are there and share one commit, and the other command that ended the row.
fn gather(
    first: Prepared,
    commands: &mut mpsc::Receiver<Command>,
) -> (Vec<Prepared>, Option<Command>) {
    let mut chunks = first.chunks.len();
    let mut batch = vec![first];
    while batch.len() < BATCH && chunks < BATCH_CHUNKS {
        match commands.try_recv() {
            Ok(Command::Index(one)) => {
                chunks += one.chunks.len();
                batch.push(*one);
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}
