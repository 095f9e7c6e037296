//! LoRA adapters in PEFT's format: y = W x + scaling · B A x, unmerged (each request its own) or merged into the base.

mod config;
mod files;
mod targets;

pub use config::{LoraConfig, TargetModules};

use crate::decoder::Decoder;
use crate::error::Result;
use crate::weights::Matrix;
use candle_core::{DType, Tensor};

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

    /// scaling · B A: (outputs, inputs).
    pub(crate) fn product(&self) -> Result<Tensor> {
        Ok((self.b.matmul(&self.a)? * self.scaling)?)
    }
}

/// A set of pairs that fits one base model.
#[derive(Clone, Debug)]
pub struct Adapter {
    config: LoraConfig,
    /// By the slots of the decoder's linear layers.
    pairs: Vec<Option<LoraPair>>,
}

impl Adapter {
    /// An adapter from pairs, one entry for each of the decoder's linear layers.
    pub(crate) fn new(config: LoraConfig, pairs: Vec<Option<LoraPair>>) -> Self {
        Self { config, pairs }
    }

    /// The pair of the linear layer at `slot`.
    pub fn pair(&self, slot: usize) -> Option<&LoraPair> {
        self.pairs.get(slot).and_then(Option::as_ref)
    }

    /// Slots and pairs, in the order of the slots.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, &LoraPair)> {
        self.pairs
            .iter()
            .enumerate()
            .filter_map(|(slot, pair)| Some((slot, pair.as_ref()?)))
    }

    /// How many pairs come before the one at `slot`.
    pub(crate) fn index(&self, slot: usize) -> usize {
        self.pairs().take_while(|(other, _)| *other < slot).count()
    }

    /// What PEFT calls `adapter_config.json`.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        self.pairs()
            .map(|(_, pair)| pair.a.elem_count() + pair.b.elem_count())
            .sum()
    }
}

impl Decoder {
    /// A decoder whose weights hold the adapter already: faster than unmerged, but for this adapter alone. Quantised
    /// matrices that the adapter touches become float32, so that nothing is lost; they take more memory then.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn merged(&self, adapter: &Adapter) -> Result<Self> {
        let mut merged = self.clone();
        for linear in merged.linears_mut() {
            if let Some(pair) = adapter.pair(linear.slot) {
                linear.weight = Matrix::Dense(
                    (linear.weight.dense()?.to_dtype(DType::F32)? + pair.product()?)?,
                );
            }
        }
        Ok(merged)
    }
}
