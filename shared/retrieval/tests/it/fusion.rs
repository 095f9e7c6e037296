use crate::chunk;
use lore_retrieval::{Fused, FusionSettings, dense_only, reciprocal_rank_fusion};
use lore_types::ChunkId;
use proptest::prelude::*;

fn ids(fused: &[Fused]) -> Vec<ChunkId> {
    fused.iter().map(|one| one.chunk_id).collect()
}

#[test]
fn the_fused_score_is_the_sum_of_weight_over_k_plus_rank() {
    let (a, b) = (chunk("a", 0), chunk("b", 0));
    let settings = FusionSettings {
        rrf_k: 60.0,
        dense_weight: 1.0,
        lexical_weight: 0.5,
    };
    let fused = reciprocal_rank_fusion(&[(a, 0.9), (b, 0.8)], &[(b, 12.0)], &settings);
    assert_eq!(ids(&fused), [b, a]);
    let score = |at: usize| f64::from(fused[at].scores.fused.expect("fused").score);
    assert!((score(0) - (1.0 / 62.0 + 0.5 / 61.0)).abs() < 1e-6);
    assert!((score(1) - 1.0 / 61.0).abs() < 1e-6);
    assert_eq!(
        fused[0].scores.dense.map(|side| (side.rank, side.score)),
        Some((2, 0.8))
    );
    assert_eq!(
        fused[0].scores.lexical.map(|side| (side.rank, side.score)),
        Some((1, 12.0))
    );
    assert_eq!(fused[0].scores.fused.map(|side| side.rank), Some(1));
}

#[test]
fn equal_scores_are_ordered_by_chunk_id() {
    let (a, b) = (chunk("a", 0), chunk("b", 0));
    let fused = reciprocal_rank_fusion(
        &[(a, 0.9), (b, 0.8)],
        &[(b, 2.0), (a, 1.0)],
        &FusionSettings::default(),
    );
    assert_eq!(ids(&fused), if a < b { [a, b] } else { [b, a] });
}

#[test]
fn one_side_alone_keeps_its_order_and_its_scores() {
    let (a, b) = (chunk("a", 0), chunk("b", 0));
    let only = dense_only(&[(b, 0.9), (a, 0.8), (b, 0.7)]);
    assert_eq!(ids(&only), [b, a]);
    assert_eq!(
        only.iter().map(Fused::score).collect::<Vec<_>>(),
        [0.9, 0.8]
    );
    assert!(only[0].scores.fused.is_none());
}

proptest! {
    #[test]
    fn every_chunk_of_either_side_stands_in_the_result_once(dense in prop::collection::vec(0u32..40, 0..30), lexical in prop::collection::vec(0u32..40, 0..30)) {
        let side = |ordinals: &[u32]| ordinals.iter().map(|ordinal| (chunk("p", *ordinal), 1.0)).collect::<Vec<_>>();
        let fused = reciprocal_rank_fusion(&side(&dense), &side(&lexical), &FusionSettings::default());
        let mut expected: Vec<ChunkId> = side(&dense).into_iter().chain(side(&lexical)).map(|(id, _)| id).collect();
        expected.sort();
        expected.dedup();
        let mut found = ids(&fused);
        found.sort();
        prop_assert_eq!(found, expected);
        prop_assert!(fused.windows(2).all(|pair| (pair[1].score(), pair[0].chunk_id) < (pair[0].score(), pair[1].chunk_id) || pair[1].score() < pair[0].score()));
        prop_assert!(fused.iter().zip(1..).all(|(one, rank)| one.scores.fused.map(|side| side.rank) == Some(rank)));
    }
}
