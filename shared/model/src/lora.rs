//! LoRA adapters in PEFT's format: y = W x + scaling · B A x, unmerged (each request its own) or merged into the base.

mod config;
mod files;
mod targets;

pub use config::{LoraConfig, TargetModules};

use crate::decoder::Decoder;
use crate::error::Result;
use crate::kernels::{Factors, Pair, Precision};
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

    /// An adapter from pairs that do not change any more. Where the base is quantised, decode reads them rounded.
    pub(crate) fn finished(
        config: LoraConfig,
        pairs: Vec<Option<LoraPair>>,
        decoder: &Decoder,
    ) -> Result<Self> {
        let fitting = |pair: &&LoraPair| pair.a.device().is_cpu() && pair.a.dtype() == DType::F32;
        let layers = decoder.linears().zip(&pairs);
        let fitting = layers.map(|(linear, pair)| {
            let pair = pair.as_ref().filter(fitting)?;
            Some(Pair {
                a: &pair.a,
                b: &pair.b,
                scaling: pair.scaling,
                precision: match linear.weight {
                    Matrix::Packed(_) => Precision::Int16,
                    _ => Precision::Float32,
                },
            })
        });
        let fitting: Vec<_> = fitting.collect();
        let there: Vec<bool> = fitting.iter().map(Option::is_some).collect();
        let all: Vec<_> = fitting.into_iter().flatten().collect();
        let mut factors = Factors::of_all(&all)?.into_iter();
        let factors = there
            .into_iter()
            .map(|there| there.then(|| factors.next()).flatten().map(Arc::new))
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
