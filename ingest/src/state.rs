use crate::IngestSettings;
use crate::feed::JobFeed;
use crate::indexer::Command;
use crate::parse::ParserPool;
use lore_catalog::{Catalog, CatalogError, Lease, Originals};
use lore_embed::EmbedderRegistry;
use lore_index::{DenseIndex, LexicalWriter};
use lore_types::{ApiError, JobId, JobStage};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What the handlers, the workers and the indexer share.
pub(crate) struct State {
    pub(crate) catalog: Catalog,
    pub(crate) originals: Originals,
    pub(crate) dense: Arc<dyn DenseIndex>,
    pub(crate) lexical: Arc<dyn LexicalWriter>,
    pub(crate) embedders: EmbedderRegistry,
    pub(crate) parser: Arc<ParserPool>,
    pub(crate) settings: IngestSettings,
    pub(crate) lease: Lease,
    pub(crate) feed: JobFeed,
    /// Rings when jobs were queued.
    pub(crate) queued: Notify,
    pub(crate) indexer: mpsc::Sender<Command>,
    pub(crate) stopping: CancellationToken,
}

impl State {
    /// Notes what a job is at. False where it is no longer ours.
    pub(crate) async fn advance(
        &self,
        job: JobId,
        stage: JobStage,
        share: f32,
    ) -> Result<bool, CatalogError> {
        let ours = self.catalog.advance(&self.lease, job, stage, share).await?;
        self.feed.changed(job);
        Ok(ours)
    }

    /// Replaces a job's warnings.
    pub(crate) async fn warn(&self, job: JobId, warnings: &[String]) -> Result<(), CatalogError> {
        self.catalog.warn(&self.lease, job, warnings).await?;
        self.feed.changed(job);
        Ok(())
    }

    /// Ends a job without success.
    pub(crate) async fn fail(&self, job: JobId, error: &ApiError) -> Result<(), CatalogError> {
        if self.catalog.fail(&self.lease, job, error).await? {
            metrics::counter!(lore_telemetry::names::INGEST_DOCUMENTS, "outcome" => "failed")
                .increment(1);
            tracing::warn!(%job, code = error.code, "a document cannot be indexed: {}", error.message);
        }
        self.feed.changed(job);
        Ok(())
    }

    /// Waits, or returns false at once when the service stops.
    pub(crate) async fn pause(&self, length: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(length) => true,
            () = self.stopping.cancelled() => false,
        }
    }

    /// Asks the indexer to remove what was deleted; the receiver hears when it has tried.
    pub(crate) async fn sweep(&self) -> oneshot::Receiver<()> {
        let (done, heard) = oneshot::channel();
        // The indexer is gone only when the service stops; the next start sweeps.
        let _ = self.indexer.send(Command::Sweep(done)).await;
        heard
    }
}
