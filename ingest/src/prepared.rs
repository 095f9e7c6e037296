use lore_catalog::{Activation, Task};
use lore_index::IndexedChunk;

/// A version that is read, cut and embedded: what the indexer needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) task: Task,
    pub(crate) chunks: Vec<IndexedChunk>,
    /// One for each chunk.
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) warnings: Vec<String>,
}

impl Prepared {
    pub(crate) fn activation(&self) -> Activation {
        Activation {
            job: self.task.job.id,
            version: self.task.version.id,
        }
    }

    pub(crate) fn collection(&self) -> &str {
        &self.task.version.collection
    }
}
