//! LoRA adapters in PEFT's format: y = W x + scaling · B A x, unmerged (each request its own) or merged into the base.

mod config;
mod files;
mod targets;

pub use config::{LoraConfig, TargetModules};

use crate::decoder::Decoder;
use crate::error::Result;
use crate::kernels::Factors;
use crate::weights::Matrix;
use candle_core::{DType, Tensor};
use std::sync::Arc;

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
        // No copy where they are of one type, as they are on a CPU.
        let (a, b) = (self.a.to_dtype(x.dtype())?, self.b.to_dtype(x.dtype())?);
        Ok((x.matmul(&a.t()?)?.matmul(&b.t()?)? * self.scaling)?)
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
    /// The same, laid out for decode; empty while the pairs are being trained or where they are not on the CPU.
    factors: Vec<Option<Arc<Factors>>>,
}

impl Adapter {
    /// An adapter from pairs that may still change, one entry for each of the decoder's linear layers.
    pub(crate) fn new(config: LoraConfig, pairs: Vec<Option<LoraPair>>) -> Self {
        Self {
            config,
            pairs,
            factors: Vec::new(),
        }
    }

    /// An adapter from pairs that do not change any more.
    pub(crate) fn finished(config: LoraConfig, pairs: Vec<Option<LoraPair>>) -> Result<Self> {
        let on_cpu = |pair: &&LoraPair| pair.a.device().is_cpu() && pair.a.dtype() == DType::F32;
        let fitting: Vec<_> = pairs
            .iter()
            .map(|pair| pair.as_ref().filter(on_cpu))
            .collect();
        let values = fitting.iter().flatten();
        let values: Vec<_> = values
            .map(|pair| (&pair.a, &pair.b, pair.scaling))
            .collect();
        let mut factors = Factors::of_all(&values)?.into_iter();
        let factors = fitting
            .iter()
            .map(|pair| pair.and_then(|_| factors.next()).map(Arc::new))
            .collect();
        Ok(Self {
            factors,
            ..Self::new(config, pairs)
        })
    }

    /// What decode reads of the linear layer at `slot`.
    pub(crate) fn factors(&self, slot: usize) -> Option<&Factors> {
        self.factors.get(slot)?.as_deref()
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
                let merged = (linear.weight.dense()?.to_dtype(DType::F32)? + pair.product()?)?;
                linear.weight = Matrix::Dense(merged.to_dtype(self.activations())?);
            }
        }
        Ok(merged)
    }
}
