//! Writing prepared versions: dense, lexical, commit, flip, remove what they replace, done.

use crate::indexer::Indexer;
use crate::prepared::Prepared;
use lore_catalog::{Activation, CatalogError};
use lore_index::{IndexError, IndexedChunk};
use lore_telemetry::names::{INGEST_CHUNKS, INGEST_DOCUMENTS, INGEST_STAGE_SECONDS};
use lore_types::JobId;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;
use thiserror::Error;

/// Chunks that go to an index in one call.
const CHUNKS_A_CALL: usize = 1_024;

/// Why versions were not indexed.
#[derive(Debug, Error)]
pub(crate) enum Unwritten {
    /// The catalog.
    #[error("the catalog could not note the change")]
    Catalog(#[from] CatalogError),
    /// An index.
    #[error("the document could not be written to the indexes")]
    Index(#[from] IndexError),
}

impl Unwritten {
    /// Whether the same may succeed later. An index that lacks a collection just made may have been emptied by hand, so
    /// `remake` says whether that is to be tried again.
    pub(crate) fn may_pass(&self, remake: bool) -> bool {
        match self {
            Self::Catalog(_) => true,
            Self::Index(IndexError::NoCollection { .. }) => remake,
            Self::Index(error) => error.is_transient(),
        }
    }
}

/// Makes the versions of a batch the ones that are found. Those whose job is no longer ours drop out of it.
///
/// # Guarantees
/// May be repeated after any error and after a death at any point: chunk ids are derived, so writing again changes nothing.
pub(crate) async fn index(
    indexer: &mut Indexer,
    batch: &mut Vec<Prepared>,
) -> Result<(), Unwritten> {
    let began = Instant::now();
    let state = indexer.state.clone();
    let all: Vec<_> = batch.iter().map(Prepared::activation).collect();
    let own: HashSet<_> = jobs(&state.catalog.begin_indexing(&state.lease, &all).await?);
    batch.retain(|one| own.contains(&one.task.job.id));
    own.iter().for_each(|job| state.feed.changed(*job));
    for (collection, members) in by_collection(batch) {
        write(indexer, collection, &members).await?;
    }
    let all: Vec<_> = batch.iter().map(Prepared::activation).collect();
    let active = state.catalog.activate(&state.lease, &all).await?;
    indexer.sweep().await;
    let own = jobs(&active);
    let done = batch.iter().filter(|one| own.contains(&one.task.job.id));
    let done: Vec<_> = done
        .map(|one| (one.task.job.id, one.warnings.as_slice()))
        .collect();
    let finished = state.catalog.finish(&state.lease, &done).await?;
    finished.iter().for_each(|job| state.feed.changed(*job));
    count(batch, &own, began);
    Ok(())
}

fn jobs(all: &[Activation]) -> HashSet<JobId> {
    all.iter().map(|one| one.job).collect()
}

fn by_collection(batch: &[Prepared]) -> BTreeMap<&str, Vec<&Prepared>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in batch {
        groups.entry(one.collection()).or_default().push(one);
    }
    groups
}

async fn write(
    indexer: &mut Indexer,
    collection: &str,
    members: &[&Prepared],
) -> Result<(), IndexError> {
    let Some(first) = members.first() else {
        return Ok(());
    };
    indexer
        .make(collection, first.task.version.dimensions)
        .await?;
    let written = put(indexer, collection, members).await;
    if matches!(written, Err(IndexError::NoCollection { .. })) {
        indexer.made.remove(collection);
    }
    written
}

async fn put(
    indexer: &mut Indexer,
    collection: &str,
    members: &[&Prepared],
) -> Result<(), IndexError> {
    let state = indexer.state.clone();
    let chunks: Vec<IndexedChunk> = members
        .iter()
        .flat_map(|one| one.chunks.iter().cloned())
        .collect();
    let vectors: Vec<Vec<f32>> = members
        .iter()
        .flat_map(|one| one.vectors.iter().cloned())
        .collect();
    for (some, theirs) in chunks
        .chunks(CHUNKS_A_CALL)
        .zip(vectors.chunks(CHUNKS_A_CALL))
    {
        state.dense.upsert(collection, some, theirs).await?;
        state.lexical.upsert(collection, some).await?;
    }
    state.lexical.commit(collection).await?;
    *indexer.written.entry(collection.to_owned()).or_default() += chunks.len();
    Ok(())
}

fn count(batch: &[Prepared], active: &HashSet<JobId>, began: Instant) {
    for one in batch.iter().filter(|one| active.contains(&one.task.job.id)) {
        metrics::counter!(INGEST_DOCUMENTS, "outcome" => "indexed").increment(1);
        metrics::counter!(INGEST_CHUNKS).increment(one.chunks.len() as u64);
        metrics::histogram!(INGEST_STAGE_SECONDS, "stage" => "indexing")
            .record(began.elapsed().as_secs_f64());
    }
}

impl Indexer {
    /// Makes a collection in both indexes, where that was not done before.
    pub(crate) async fn make(
        &mut self,
        collection: &str,
        dimensions: u32,
    ) -> Result<(), IndexError> {
        if !self.made.contains(collection) {
            self.state.dense.create(collection, dimensions).await?;
            self.state.lexical.create(collection).await?;
            self.made.insert(collection.to_owned());
        }
        Ok(())
    }
}
