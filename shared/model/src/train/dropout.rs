use crate::error::Result;
use crate::random::Random;
use candle_core::{D, Tensor};
use rayon::prelude::*;

/// Dropout on the inputs of adapters whose masks follow from seed, step and place alone: a forward pass that is computed
/// again for its gradients, or after a restart, drops the same values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dropout {
    pub(super) share: f64,
    pub(super) seed: u64,
}

impl Dropout {
    /// Drops nothing.
    pub(super) const NONE: Self = Self {
        share: 0.0,
        seed: 0,
    };

    /// Whether anything is dropped.
    pub(super) fn drops(&self) -> bool {
        self.share > 0.0
    }

    /// `x` with some values set to zero and the others scaled up, or `None` when nothing is dropped.
    pub(super) fn apply(&self, x: &Tensor, slot: usize) -> Result<Option<Tensor>> {
        if !self.drops() {
            return Ok(None);
        }
        let width = x.dim(D::Minus1)?;
        let mut mask = vec![0f32; x.elem_count()];
        self.mask(&mut mask, width, slot);
        let mask = Tensor::from_vec(mask, x.dims(), x.device())?;
        Ok(Some((x * mask)?))
    }

    /// Fills in zeros for what is dropped before the linear layer at `slot`, and what scales the rest up. Each row has
    /// numbers of its own, so that threads share the work and come to the same.
    pub(super) fn mask(&self, out: &mut [f32], width: usize, slot: usize) {
        let seed = Random::derived(self.seed, slot as u64 + 1).next_u64();
        let keep = 1.0 / (1.0 - self.share) as f32;
        let share = self.share as f32;
        out.par_chunks_mut(width.max(1))
            .enumerate()
            .for_each(|(row, out)| {
                let mut random = Random::derived(seed, row as u64 + 1);
                for value in out {
                    *value = if random.uniform() < share { 0.0 } else { keep };
                }
            });
    }
}
