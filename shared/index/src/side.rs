use crate::IndexError;
use async_trait::async_trait;
use lore_types::{Chunk, ChunkId, DocumentId, Filter, Scalar, VersionId};
use std::collections::BTreeMap;

/// What both indexes are told of one chunk.
#[derive(Clone, Debug)]
pub struct IndexedChunk {
    /// The chunk.
    pub chunk: Chunk,
    /// The document's title, searched along with the text on the lexical side.
    pub title: String,
    /// The document's fields, for filters.
    pub fields: BTreeMap<String, Vec<Scalar>>,
}

/// One chunk that a side found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// The version it belongs to.
    pub version_id: VersionId,
    /// Cosine on the dense side, BM25 on the lexical one.
    pub score: f32,
}

/// One chunk that an index holds, as `lore index verify` compares it with the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexedId {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// The version it belongs to.
    pub version_id: VersionId,
    /// The document it belongs to.
    pub document_id: DocumentId,
}

/// The vector side of every collection.
///
/// # Guarantees
/// Writing the same chunk twice leaves one. A write is on disk when its call returns. Candidates come best first, equal
/// scores by chunk id. A collection that does not exist is [`IndexError::NoCollection`] on reading and writing, and
/// nothing to do on removal. What a filter admits is what [`Filter::admits`] says of the chunk's fields.
#[async_trait]
pub trait DenseIndex: Send + Sync {
    /// Makes a collection for vectors of this length; nothing to do where it is there with the same length.
    ///
    /// # Errors
    /// [`IndexError::Dimensions`] where it is there with another length, [`IndexError::CollectionName`].
    async fn create(&self, collection: &str, dimensions: u32) -> Result<(), IndexError>;
    /// Removes a collection and all that is in it.
    async fn drop_collection(&self, collection: &str) -> Result<(), IndexError>;
    /// The names of all collections, in order.
    async fn collections(&self) -> Result<Vec<String>, IndexError>;
    /// Writes chunks with their unit vectors, in the same order.
    ///
    /// # Errors
    /// [`IndexError::Dimensions`] and [`IndexError::Vectors`] before anything is written.
    async fn upsert(
        &self,
        collection: &str,
        chunks: &[IndexedChunk],
        vectors: &[Vec<f32>],
    ) -> Result<(), IndexError>;
    /// Removes all chunks of some versions.
    async fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError>;
    /// The `limit` chunks nearest to `vector` that the filter admits.
    async fn search(
        &self,
        collection: &str,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError>;
    /// Every chunk that is there, for `lore index verify`, ordered by chunk id.
    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError>;
    /// Builds what makes searching fast (the HNSW graph) where the engine does not do it by itself, and returns when the
    /// collection searches at its best speed. Meant for the end of a bulk load; a small collection has nothing to do.
    async fn optimize(&self, collection: &str) -> Result<(), IndexError>;
    /// Whether the engine answers, for `/readyz` and `lore doctor`.
    async fn check(&self) -> Result<(), IndexError>;
}

/// Writing the BM25 side of every collection. Reading and writing are two traits, because one process writes an index
/// while others may read it.
///
/// # Guarantees
/// As [`DenseIndex`], but nothing is durable or visible before [`LexicalWriter::commit`] returns: what was upserted and
/// removed in a collection since its last commit then becomes so, all of it or (after a crash) nothing. `create` and
/// `drop_collection` need no commit. Calls from several tasks share one stage: whoever commits, commits for all.
#[async_trait]
pub trait LexicalWriter: Send + Sync {
    /// Makes a collection; nothing to do where it is there.
    async fn create(&self, collection: &str) -> Result<(), IndexError>;
    /// Removes a collection and all that is in it.
    async fn drop_collection(&self, collection: &str) -> Result<(), IndexError>;
    /// The names of all collections, in order.
    async fn collections(&self) -> Result<Vec<String>, IndexError>;
    /// Stages chunks, each in place of one with the same id.
    async fn upsert(&self, collection: &str, chunks: &[IndexedChunk]) -> Result<(), IndexError>;
    /// Stages the removal of all chunks of some versions.
    async fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError>;
    /// Makes what is staged durable, and visible to every reader's next search.
    async fn commit(&self, collection: &str) -> Result<(), IndexError>;
    /// Every chunk that is committed, ordered by chunk id.
    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError>;
}

/// Reading the BM25 side of every collection, from any process that sees the folder.
///
/// # Guarantees
/// Each call sees the last commit that returned before it began. Any text is a valid query; one without a searchable
/// word finds nothing.
#[async_trait]
pub trait LexicalReader: Send + Sync {
    /// The `limit` chunks that match `query` best and that the filter admits, best first, equal scores by chunk id.
    async fn search(
        &self,
        collection: &str,
        query: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError>;
    /// Every chunk that is committed, ordered by chunk id.
    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError>;
}
