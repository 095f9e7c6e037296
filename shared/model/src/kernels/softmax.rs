use super::{dispatch, math};
use candle_core::{CpuStorage, InplaceOp1, Layout};
use rayon::prelude::*;
use std::ops::Range;

/// The positions that the token at `position` sees: itself and those before it, as far back as the window reaches.
pub(crate) fn visible(position: usize, window: Option<usize>) -> Range<usize> {
    let start = window.map_or(0, |window| (position + 1).saturating_sub(window));
    start..position + 1
}

/// Turns scores (heads, tokens · group, keys) into probabilities, in place. Row r belongs to token r / group, which
/// stands at `offset + r / group` and sees what [`visible`] says.
pub(crate) struct MaskedSoftmax {
    /// Rows of one token.
    pub(crate) group: usize,
    /// Rows of one head.
    pub(crate) rows: usize,
    /// Position of the first token.
    pub(crate) offset: usize,
    /// Sliding window.
    pub(crate) window: Option<usize>,
    /// Multiplies the scores first.
    pub(crate) scale: f32,
}

impl InplaceOp1 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("masked softmax takes contiguous scores only")
        };
        let CpuStorage::F32(values) = storage else {
            candle_core::bail!("masked softmax takes float32 only")
        };
        let keys = layout.dims().last().copied().unwrap_or(1).max(1);
        let Some(scores) = values.get_mut(start..end) else {
            candle_core::bail!("a layout reaches past its storage")
        };
        scores
            .par_chunks_mut(keys)
            .enumerate()
            .for_each(|(row, scores)| {
                let position = self.offset + row % self.rows / self.group;
                softmax_within(scores, visible(position, self.window), self.scale);
            });
        Ok(())
    }
}

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
    fn the_window_counts_the_token_itself() {
        assert_eq!(visible(5, Some(2)), 4..6);
        assert_eq!(visible(0, Some(2)), 0..1);
        assert_eq!(visible(5, None), 0..6);
    }

    #[test]
    fn what_is_not_seen_gets_nothing() {
        let mut scores = vec![1.0, 1.0, 1.0, 9.0];
        softmax_within(&mut scores, 1..3, 1.0);
        assert_eq!(scores, [0.0, 0.5, 0.5, 0.0]);
    }
}
