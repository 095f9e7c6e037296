//! Comparing the catalog with both indexes, and repairing what differs.

use crate::error::{chain, refused};
use crate::indexer::Indexer;
use lore_catalog::{LiveChunk, VersionState};
use lore_http::{ApiFailure, ErrorCode};
use lore_index::{IndexError, IndexedId};
use lore_types::{
    ChunkId, CollectionReport, IndexReport, JobId, OrphanCollection, SideReport, VersionId,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Differing chunks that a report names.
const EXAMPLES: usize = 20;
/// Collections compared at most, when all are.
const COLLECTIONS: u32 = 10_000;

/// How one index differs from the catalog.
#[derive(Debug, Default)]
struct Difference {
    report: SideReport,
    /// Versions that lack chunks.
    incomplete: BTreeSet<VersionId>,
    /// Versions with chunks that should not be there.
    surplus: BTreeSet<VersionId>,
}

/// Compares one collection or all of them; with `repair`, removes what is too much and queues what is missing.
pub(crate) async fn verify(
    indexer: &mut Indexer,
    collection: Option<&str>,
    repair: bool,
) -> Result<IndexReport, ApiFailure> {
    let names = names(indexer, collection).await?;
    let mut collections = Vec::with_capacity(names.len());
    for name in &names {
        collections.push(compare_collection(indexer, name, repair).await?);
    }
    let orphans = if collection.is_some() {
        Vec::new()
    } else {
        orphans(indexer, &names).await?
    };
    if repair {
        drop_orphans(indexer, &orphans).await?;
    }
    let sound = |side: &SideReport| side.missing == 0 && side.extra == 0;
    let consistent = orphans.is_empty()
        && collections
            .iter()
            .all(|one| sound(&one.dense) && sound(&one.lexical));
    Ok(IndexReport {
        object: "index_report".to_owned(),
        consistent,
        repaired: repair && !consistent,
        collections,
        orphans,
    })
}

async fn names(indexer: &Indexer, collection: Option<&str>) -> Result<Vec<String>, ApiFailure> {
    let catalog = &indexer.state.catalog;
    if let Some(name) = collection {
        return Ok(vec![catalog.collection(name).await.map_err(refused)?.name]);
    }
    let all = catalog
        .collections(None, COLLECTIONS)
        .await
        .map_err(refused)?;
    Ok(all.items.into_iter().map(|one| one.name).collect())
}

async fn compare_collection(
    indexer: &mut Indexer,
    name: &str,
    repair: bool,
) -> Result<CollectionReport, ApiFailure> {
    let state = indexer.state.clone();
    let live = state.catalog.live_chunks(name).await.map_err(refused)?;
    let states = state.catalog.version_states(name).await.map_err(refused)?;
    let dense = compare(&live, &held(state.dense.chunks(name).await)?, &states);
    let lexical = compare(&live, &held(state.lexical.chunks(name).await)?, &states);
    let jobs = if repair {
        repair_collection(indexer, name, &dense, &lexical).await?
    } else {
        Vec::new()
    };
    Ok(CollectionReport {
        collection: name.to_owned(),
        chunks: live.len() as u64,
        dense: dense.report,
        lexical: lexical.report,
        jobs,
    })
}

/// What an index holds; one that was never made, or was taken away, holds nothing.
fn held(answer: Result<Vec<IndexedId>, IndexError>) -> Result<Vec<IndexedId>, ApiFailure> {
    match answer {
        Err(IndexError::NoCollection { .. }) => Ok(Vec::new()),
        other => other.map_err(|error| unreachable(&error)),
    }
}

fn compare(
    live: &[LiveChunk],
    held: &[IndexedId],
    states: &HashMap<VersionId, VersionState>,
) -> Difference {
    let mut missing: BTreeMap<ChunkId, VersionId> =
        live.iter().map(|one| (one.chunk, one.version)).collect();
    let mut found = Difference::default();
    for one in held {
        // Versions on their way in or out may or may not be there.
        if matches!(
            states.get(&one.version_id),
            Some(VersionState::Pending | VersionState::Removing)
        ) {
            continue;
        }
        found.report.chunks += 1;
        if missing.get(&one.chunk_id) == Some(&one.version_id) {
            missing.remove(&one.chunk_id);
        } else {
            found.report.extra += 1;
            found.surplus.insert(one.version_id);
            found.example(one.chunk_id);
        }
    }
    found.report.missing = missing.len() as u64;
    for (chunk, version) in missing {
        found.incomplete.insert(version);
        found.example(chunk);
    }
    found
}

impl Difference {
    fn example(&mut self, chunk: ChunkId) {
        if self.report.examples.len() < EXAMPLES {
            self.report.examples.push(chunk);
        }
    }

    /// Versions that have to be written again: those that lack chunks, and those that lose all in losing a surplus.
    fn rewrite(&self) -> impl Iterator<Item = VersionId> {
        self.incomplete.iter().chain(&self.surplus).copied()
    }

    fn surplus(&self) -> Vec<VersionId> {
        self.surplus.iter().copied().collect()
    }
}

async fn repair_collection(
    indexer: &mut Indexer,
    name: &str,
    dense: &Difference,
    lexical: &Difference,
) -> Result<Vec<JobId>, ApiFailure> {
    let state = indexer.state.clone();
    indexer.made.remove(name);
    if !dense.surplus.is_empty() {
        state
            .dense
            .remove_versions(name, &dense.surplus())
            .await
            .map_err(|error| unreachable(&error))?;
    }
    if !lexical.surplus.is_empty() {
        state
            .lexical
            .remove_versions(name, &lexical.surplus())
            .await
            .map_err(|error| unreachable(&error))?;
        state
            .lexical
            .commit(name)
            .await
            .map_err(|error| unreachable(&error))?;
    }
    let mut jobs = Vec::new();
    for version in dense
        .rewrite()
        .chain(lexical.rewrite())
        .collect::<BTreeSet<_>>()
    {
        // A version that the catalog does not know as active is only removed.
        jobs.extend(state.catalog.index_again(version).await.map_err(refused)?);
    }
    state.queued.notify_waiters();
    Ok(jobs)
}

async fn orphans(indexer: &Indexer, known: &[String]) -> Result<Vec<OrphanCollection>, ApiFailure> {
    let state = &indexer.state;
    let leaving = state.catalog.doomed_collections().await.map_err(refused)?;
    let sides = [
        ("dense", state.dense.collections().await),
        ("lexical", state.lexical.collections().await),
    ];
    let mut orphans = Vec::new();
    for (side, names) in sides {
        let names = names.map_err(|error| unreachable(&error))?;
        let unknown = names
            .into_iter()
            .filter(|name| !known.contains(name) && !leaving.contains(name));
        orphans.extend(unknown.map(|collection| OrphanCollection {
            collection,
            side: side.to_owned(),
        }));
    }
    Ok(orphans)
}

async fn drop_orphans(indexer: &Indexer, orphans: &[OrphanCollection]) -> Result<(), ApiFailure> {
    for orphan in orphans {
        let dropped = match orphan.side.as_str() {
            "dense" => {
                indexer
                    .state
                    .dense
                    .drop_collection(&orphan.collection)
                    .await
            }
            _ => {
                indexer
                    .state
                    .lexical
                    .drop_collection(&orphan.collection)
                    .await
            }
        };
        dropped.map_err(|error| unreachable(&error))?;
        tracing::warn!(
            collection = orphan.collection,
            side = orphan.side,
            "an unknown collection was dropped"
        );
    }
    Ok(())
}

fn unreachable(error: &IndexError) -> ApiFailure {
    if error.is_transient() {
        return ApiFailure::new(ErrorCode::UpstreamUnavailable, chain(error))
            .retry_after(5)
            .cause(error);
    }
    ApiFailure::internal(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lore_types::DocumentId;

    fn version(number: u32) -> VersionId {
        VersionId::derive(DocumentId::derive("c", "d"), number)
    }

    fn live(number: u32, ordinal: u32) -> LiveChunk {
        let version = version(number);
        LiveChunk {
            chunk: ChunkId::derive(version, ordinal),
            version,
            document: DocumentId::derive("c", "d"),
        }
    }

    fn held(number: u32, ordinal: u32) -> IndexedId {
        let LiveChunk {
            chunk,
            version,
            document,
        } = live(number, ordinal);
        IndexedId {
            chunk_id: chunk,
            version_id: version,
            document_id: document,
        }
    }

    fn difference(held: &[IndexedId]) -> Difference {
        let states = HashMap::from([
            (version(1), VersionState::Removing),
            (version(2), VersionState::Active),
            (version(3), VersionState::Pending),
        ]);
        compare(&[live(2, 0), live(2, 1)], held, &states)
    }

    #[test]
    fn versions_on_their_way_are_no_difference() {
        let found = difference(&[held(1, 0), held(2, 0), held(2, 1), held(3, 0)]);
        assert_eq!(
            found.report,
            SideReport {
                chunks: 2,
                ..SideReport::default()
            }
        );
    }

    #[test]
    fn a_lost_chunk_makes_its_version_incomplete() {
        let found = difference(&[held(2, 1)]);
        assert_eq!((found.report.missing, found.report.extra), (1, 0));
        assert_eq!(found.rewrite().collect::<Vec<_>>(), [version(2)]);
        assert_eq!(found.report.examples, [live(2, 0).chunk]);
    }

    #[test]
    fn second_copies_and_strangers_are_too_much() {
        let found = difference(&[held(2, 0), held(2, 0), held(2, 1), held(9, 0), held(2, 7)]);
        assert_eq!((found.report.missing, found.report.extra), (0, 3));
        assert_eq!(found.surplus, BTreeSet::from([version(2), version(9)]));
    }
}
