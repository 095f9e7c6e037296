use async_trait::async_trait;
use lore_index::{Candidate, DenseIndex, EdgeDense, IndexError, IndexedChunk, IndexedId};
use lore_types::{Filter, VersionId};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// More writes than ever run at a time.
const WRITES: usize = 1_000;

/// Whether something is due once more.
fn due(left: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

/// A real embedded Qdrant whose writes can be made to fail as an unreachable server's do, or to wait.
pub struct FlakyDense {
    inner: EdgeDense,
    failures: AtomicUsize,
    panics: AtomicUsize,
    gate: Semaphore,
}

impl FlakyDense {
    pub fn new(inner: EdgeDense) -> Self {
        Self {
            inner,
            failures: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            gate: Semaphore::new(WRITES),
        }
    }

    /// Lets the next `writes` fail.
    pub fn fail(&self, writes: usize) {
        self.failures.store(writes, Ordering::SeqCst);
    }

    /// Lets the next `writes` panic.
    pub fn panic(&self, writes: usize) {
        self.panics.store(writes, Ordering::SeqCst);
    }

    /// Lets every write wait until [`FlakyDense::open`].
    pub fn close(&self) {
        self.gate.forget_permits(WRITES);
    }

    pub fn open(&self) {
        self.gate.add_permits(WRITES);
    }
}

#[async_trait]
impl DenseIndex for FlakyDense {
    async fn create(&self, collection: &str, dimensions: u32) -> Result<(), IndexError> {
        self.inner.create(collection, dimensions).await
    }

    async fn drop_collection(&self, collection: &str) -> Result<(), IndexError> {
        self.inner.drop_collection(collection).await
    }

    async fn collections(&self) -> Result<Vec<String>, IndexError> {
        self.inner.collections().await
    }

    async fn upsert(
        &self,
        collection: &str,
        chunks: &[IndexedChunk],
        vectors: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        let _permit = self
            .gate
            .acquire()
            .await
            .expect("the gate is never closed for good");
        assert!(!due(&self.panics), "a panic on purpose");
        if due(&self.failures) {
            let reason = "connection refused".to_owned();
            return Err(IndexError::Unreachable {
                url: "http://qdrant:6334".to_owned(),
                reason,
            });
        }
        self.inner.upsert(collection, chunks, vectors).await
    }

    async fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError> {
        self.inner.remove_versions(collection, versions).await
    }

    async fn search(
        &self,
        collection: &str,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        self.inner.search(collection, vector, filter, limit).await
    }

    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError> {
        self.inner.chunks(collection).await
    }

    async fn optimize(&self, collection: &str) -> Result<(), IndexError> {
        self.inner.optimize(collection).await
    }

    async fn check(&self) -> Result<(), IndexError> {
        self.inner.check().await
    }
}
