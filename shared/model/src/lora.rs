//! LoRA adapters in PEFT's format: y = W x + scaling · B A x.

use crate::error::Result;
use candle_core::Tensor;

/// The two factors of one linear layer.
#[derive(Clone, Debug)]
pub struct LoraPair {
    /// (rank, inputs).
    pub a: Tensor,
    /// (outputs, rank).
    pub b: Tensor,
    /// alpha / rank, or alpha / √rank with rsLoRA.
    pub scaling: f64,
}

impl LoraPair {
    /// scaling · B A x: (rows, inputs) → (rows, outputs).
    pub(crate) fn delta(&self, x: &Tensor) -> Result<Tensor> {
        Ok((x.matmul(&self.a.t()?)?.matmul(&self.b.t()?)? * self.scaling)?)
    }
}

/// A set of pairs for one base model.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(crate) pairs: Vec<Option<LoraPair>>,
}

impl Adapter {
    /// The pair of the linear layer at `slot`.
    pub fn pair(&self, slot: usize) -> Option<&LoraPair> {
        self.pairs.get(slot).and_then(Option::as_ref)
    }
}
