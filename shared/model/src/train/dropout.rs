use crate::error::Result;
use crate::random::Random;
use candle_core::Tensor;

/// Dropout on the inputs of adapters whose masks follow from seed, step and place alone: a forward pass that is computed
/// again for its gradients, or after a restart, drops the same values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dropout {
    pub(super) share: f64,
    pub(super) seed: u64,
}

impl Dropout {
    /// `x` with some values set to zero and the others scaled up, or `None` when nothing is dropped.
    pub(super) fn apply(&self, x: &Tensor, slot: usize) -> Result<Option<Tensor>> {
        if self.share <= 0.0 {
            return Ok(None);
        }
        let mut random = Random::derived(self.seed, slot as u64 + 1);
        let keep = 1.0 / (1.0 - self.share) as f32;
        let share = self.share as f32;
        let mask: Vec<f32> = (0..x.elem_count())
            .map(|_| if random.uniform() < share { 0.0 } else { keep })
            .collect();
        let mask = Tensor::from_vec(mask, x.dims(), x.device())?;
        Ok(Some((x * mask)?))
    }
}
