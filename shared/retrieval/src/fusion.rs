use lore_types::{ChunkId, Scores, SideScore};
use std::collections::HashMap;

/// How much each side counts in reciprocal rank fusion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusionSettings {
    /// Damps the first ranks: the larger, the less a first place is worth over a second.
    pub rrf_k: f32,
    /// Weight of the dense side.
    pub dense_weight: f32,
    /// Weight of the lexical side.
    pub lexical_weight: f32,
}

impl Default for FusionSettings {
    fn default() -> Self {
        Self {
            rrf_k: 60.0,
            dense_weight: 1.0,
            lexical_weight: 1.0,
        }
    }
}

/// A chunk with every score it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fused {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its place on each side and after fusion.
    pub scores: Scores,
}

/// Reciprocal rank fusion: score = Σ over sides of weight / (`rrf_k` + rank), ranks from 1.
///
/// Each side is a list of (chunk, score), best first; a chunk that a side names twice counts at its first place. A side
/// with no candidates, or with weight 0, adds nothing.
///
/// # Guarantees
/// Best first, equal scores by chunk id; every chunk of either side stands in the result once.
///
/// # Source
/// Cormack, Clarke and Büttcher, SIGIR 2009; the weights are an addition.
pub fn reciprocal_rank_fusion(
    dense: &[(ChunkId, f32)],
    lexical: &[(ChunkId, f32)],
    settings: &FusionSettings,
) -> Vec<Fused> {
    let mut all: HashMap<ChunkId, Scores> = HashMap::new();
    for (id, side) in ranked(dense) {
        all.entry(id).or_default().dense.get_or_insert(side);
    }
    for (id, side) in ranked(lexical) {
        all.entry(id).or_default().lexical.get_or_insert(side);
    }
    let mut fused: Vec<(ChunkId, Scores, f32)> = all
        .into_iter()
        .map(|(id, scores)| (id, scores, fused_score(&scores, settings)))
        .collect();
    fused.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    fused
        .into_iter()
        .zip(1..)
        .map(|((chunk_id, scores, score), rank)| with_fused(chunk_id, scores, score, rank))
        .collect()
}

/// One side alone, in the shape that fusion gives, without a fused score.
pub fn dense_only(candidates: &[(ChunkId, f32)]) -> Vec<Fused> {
    one_side(candidates, |side| Scores {
        dense: Some(side),
        ..Scores::default()
    })
}

/// As [`dense_only`], for the lexical side.
pub fn lexical_only(candidates: &[(ChunkId, f32)]) -> Vec<Fused> {
    one_side(candidates, |side| Scores {
        lexical: Some(side),
        ..Scores::default()
    })
}

impl Fused {
    /// The score that the order follows: fused where both sides were asked, else the one side's.
    pub fn score(&self) -> f32 {
        let side = self
            .scores
            .rerank
            .or(self.scores.fused)
            .or(self.scores.dense)
            .or(self.scores.lexical);
        side.map_or(0.0, |side| side.score)
    }
}

fn one_side(candidates: &[(ChunkId, f32)], scores: impl Fn(SideScore) -> Scores) -> Vec<Fused> {
    let mut seen = std::collections::HashSet::new();
    let unique = ranked(candidates).filter(|(id, _)| seen.insert(*id));
    unique
        .map(|(chunk_id, side)| Fused {
            chunk_id,
            scores: scores(side),
        })
        .collect()
}

fn ranked(candidates: &[(ChunkId, f32)]) -> impl Iterator<Item = (ChunkId, SideScore)> + '_ {
    candidates.iter().zip(1..).map(|((id, score), rank)| {
        (
            *id,
            SideScore {
                score: *score,
                rank,
            },
        )
    })
}

fn fused_score(scores: &Scores, settings: &FusionSettings) -> f32 {
    let part = |side: Option<SideScore>, weight: f32| {
        side.map_or(0.0, |side| weight / (settings.rrf_k + side.rank as f32))
    };
    part(scores.dense, settings.dense_weight) + part(scores.lexical, settings.lexical_weight)
}

fn with_fused(chunk_id: ChunkId, scores: Scores, score: f32, rank: u32) -> Fused {
    Fused {
        chunk_id,
        scores: Scores {
            fused: Some(SideScore { score, rank }),
            ..scores
        },
    }
}
