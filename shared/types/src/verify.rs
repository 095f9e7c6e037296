use crate::{ChunkId, JobId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the catalog and both indexes compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IndexReport {
    /// Always `index_report`.
    pub object: String,
    /// Whether everything agreed when it was compared; a repair comes after that.
    pub consistent: bool,
    /// Whether what differed was repaired, or is being repaired by `jobs`.
    pub repaired: bool,
    /// Each collection that was compared.
    pub collections: Vec<CollectionReport>,
    /// Collections that an index holds and the catalog does not know.
    pub orphans: Vec<OrphanCollection>,
}

/// How the catalog and both indexes compare for one collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectionReport {
    /// Its name.
    pub collection: String,
    /// Chunks that both indexes should hold.
    pub chunks: u64,
    /// The vector side.
    pub dense: SideReport,
    /// The BM25 side.
    pub lexical: SideReport,
    /// Jobs that write again what was missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobId>,
}

/// How one index differs from the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SideReport {
    /// Chunks that it holds.
    pub chunks: u64,
    /// Chunks that it lacks.
    pub missing: u64,
    /// Chunks that it should not hold, and second copies.
    pub extra: u64,
    /// The first of those that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<ChunkId>,
}

/// A collection that only an index knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrphanCollection {
    /// Its name.
    pub collection: String,
    /// `dense` or `lexical`.
    pub side: String,
}
