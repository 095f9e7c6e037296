use super::{dispatch, math};
use std::ops::Range;

/// Turns scores into probabilities within `seen`, and into nothing elsewhere; `scale` multiplies the scores first.
#[inline(always)]
fn softmax_body<const FUSED: bool>(scores: &mut [f32], seen: Range<usize>, scale: f32) {
    let end = seen.end.min(scores.len());
    let start = seen.start.min(end);
    let (before, rest) = scores.split_at_mut(start);
    let (seen, after) = rest.split_at_mut(end - start);
    before.fill(0.0);
    after.fill(0.0);
    let largest = seen
        .iter()
        .fold(f32::NEG_INFINITY, |largest, score| largest.max(*score));
    for score in seen.iter_mut() {
        *score = math::exp::<FUSED>((*score - largest) * scale);
    }
    let sum: f32 = seen.chunks(64).map(|chunk| chunk.iter().sum::<f32>()).sum();
    for score in seen {
        *score /= sum;
    }
}

dispatch!(softmax_within, softmax_body, (scores: &mut [f32], seen: Range<usize>, scale: f32));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_gets_nothing() {
        let mut scores = vec![1.0, 1.0, 1.0, 9.0];
        softmax_within(&mut scores, 1..3, 1.0);
        assert_eq!(scores, [0.0, 0.5, 0.5, 0.0]);
    }
}
