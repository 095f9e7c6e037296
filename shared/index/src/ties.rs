use crate::Candidate;
use std::cmp::Ordering;

/// How many more candidates than asked for are fetched to see where a tie ends.
const MARGIN: usize = 16;
/// More equal scores than this are not sorted out: such a question tells the chunks apart by nothing.
const MOST: usize = 10_000;

/// Makes a cut at `limit` independent of an engine's order of equal scores: it asks for more until the tie at the cut
/// has ended.
#[derive(Debug)]
pub(crate) struct Ties {
    limit: usize,
    /// How many candidates to ask the engine for.
    pub(crate) ask: usize,
}

impl Ties {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ask: limit.saturating_add(MARGIN),
        }
    }

    /// The best candidates in order, or `None` where the engine has to be asked for `ask` of them.
    pub(crate) fn settle(&mut self, mut found: Vec<Candidate>) -> Option<Vec<Candidate>> {
        found.sort_unstable_by(order);
        let open = found.len() >= self.ask && self.ask < self.limit.saturating_add(MOST);
        let cut = self.limit.checked_sub(1).and_then(|last| found.get(last));
        if open && cut.map(|cut| cut.score) == found.last().map(|last| last.score) {
            self.ask = self
                .ask
                .saturating_mul(4)
                .min(self.limit.saturating_add(MOST));
            return None;
        }
        found.truncate(self.limit);
        Some(found)
    }
}

/// Best first, equal scores by chunk id.
fn order(one: &Candidate, other: &Candidate) -> Ordering {
    other
        .score
        .total_cmp(&one.score)
        .then(one.chunk_id.cmp(&other.chunk_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lore_types::{ChunkId, DocumentId, VersionId};

    fn candidate(ordinal: u32, score: f32) -> Candidate {
        let version_id = VersionId::derive(DocumentId::derive("c", "d"), 1);
        Candidate {
            chunk_id: ChunkId::derive(version_id, ordinal),
            version_id,
            score,
        }
    }

    #[test]
    fn a_tie_at_the_cut_is_asked_out_and_ordered_by_chunk_id() {
        let all: Vec<_> = (0..60)
            .map(|ordinal| candidate(ordinal, if ordinal < 40 { 1.0 } else { 0.5 }))
            .collect();
        let mut ties = Ties::new(3);
        let mut asked = 0;
        let settled = loop {
            asked += 1;
            let found = all.iter().copied().take(ties.ask).collect();
            if let Some(settled) = ties.settle(found) {
                break settled;
            }
        };
        let mut best: Vec<_> = all
            .iter()
            .take(40)
            .map(|candidate| candidate.chunk_id)
            .collect();
        best.sort_unstable();
        assert_eq!(
            settled
                .iter()
                .map(|candidate| candidate.chunk_id)
                .collect::<Vec<_>>(),
            best[..3]
        );
        assert_eq!(asked, 2);
    }

    #[test]
    fn nothing_is_asked_twice_without_a_tie() {
        let mut ties = Ties::new(1);
        let found = (0..17)
            .map(|ordinal| candidate(ordinal, 1.0 / (1.0 + ordinal as f32)))
            .collect();
        assert_eq!(ties.settle(found).map(|settled| settled.len()), Some(1));
    }
}
