//! The dense side without a server: Qdrant's own engine as a library, one folder per collection.

mod log;
mod point;
mod shard;
mod shelf;

use crate::blocking::blocking;
use crate::folder::Root;
use crate::{Candidate, DenseIndex, IndexError, IndexedChunk, IndexedId};
use async_trait::async_trait;
use lore_types::{Filter, VersionId};
use shelf::Shelf;
use std::path::PathBuf;
use std::sync::Arc;

/// The dense side of every collection, embedded. One process at a time.
///
/// # Guarantees
/// Searches run beside writes and beside [`DenseIndex::optimize`]; writes of one collection follow each other and wait for
/// its optimizing. A collection that has grown very much since its graph was built is optimized in the background.
#[derive(Clone)]
pub struct EdgeDense {
    shelf: Arc<Shelf>,
}

impl EdgeDense {
    /// Takes `root`, making it where it is missing. Collections are loaded when they are first used.
    ///
    /// # Errors
    /// [`IndexError::Locked`] where another process has it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, IndexError> {
        Ok(Self {
            shelf: Arc::new(Shelf::new(Root::open(root.into())?)),
        })
    }

    async fn with<T: Send + 'static>(
        &self,
        collection: &str,
        work: impl FnOnce(&Arc<Shelf>, &str) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (shelf, name) = (Arc::clone(&self.shelf), collection.to_owned());
        blocking(collection, move || work(&shelf, &name)).await
    }
}

#[async_trait]
impl DenseIndex for EdgeDense {
    async fn create(&self, collection: &str, dimensions: u32) -> Result<(), IndexError> {
        self.with(collection, move |shelf, name| {
            shelf.create(name, dimensions)
        })
        .await
    }

    async fn drop_collection(&self, collection: &str) -> Result<(), IndexError> {
        self.with(collection, |shelf, name| shelf.remove(name))
            .await
    }

    async fn collections(&self) -> Result<Vec<String>, IndexError> {
        self.with("", |shelf, _| shelf.collections()).await
    }

    async fn upsert(
        &self,
        collection: &str,
        chunks: &[IndexedChunk],
        vectors: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        let points = point::points(chunks, vectors)?;
        self.with(collection, move |shelf, name| shelf.upsert(name, points))
            .await
    }

    async fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError> {
        let versions = versions.to_vec();
        self.with(collection, move |shelf, name| {
            shelf.remove_versions(name, &versions)
        })
        .await
    }

    async fn search(
        &self,
        collection: &str,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let (vector, filter) = (vector.to_vec(), filter.cloned());
        self.with(collection, move |shelf, name| {
            shelf.search(name, vector, filter.as_ref(), limit)
        })
        .await
    }

    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError> {
        self.with(collection, |shelf, name| shelf.chunks(name))
            .await
    }

    async fn optimize(&self, collection: &str) -> Result<(), IndexError> {
        self.with(collection, |shelf, name| shelf.optimize(name))
            .await
    }

    async fn check(&self) -> Result<(), IndexError> {
        self.collections().await.map(|_| ())
    }
}
