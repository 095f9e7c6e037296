//! How what an index holds differs from what it should hold.

use lore_catalog::{LiveChunk, VersionState};
use lore_index::IndexedId;
use lore_types::{ChunkId, SideReport, VersionId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Differing chunks that a report names.
const EXAMPLES: usize = 20;

/// How one index differs from the catalog.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) report: SideReport,
    /// Versions that lack chunks.
    pub(crate) incomplete: BTreeSet<VersionId>,
    /// Versions with chunks that should not be there.
    pub(crate) surplus: BTreeSet<VersionId>,
}

/// Compares what an index holds with the chunks it should hold, `live`.
pub(crate) fn compare(
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
    pub(crate) fn rewrite(&self) -> impl Iterator<Item = VersionId> {
        self.incomplete.iter().chain(&self.surplus).copied()
    }

    pub(crate) fn surplus(&self) -> Vec<VersionId> {
        self.surplus.iter().copied().collect()
    }
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
