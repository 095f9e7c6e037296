use crate::error::Result;
use crate::kernels::{Deltas, Factors};
use crate::lora::LoraPair;
use crate::weights::{Matrix, Source};
use candle_core::{Device, Tensor};
use std::ops::Range;

/// Rows of one adapter up to which it is applied row by row.
const FEW_ROWS: usize = 8;

/// A frozen linear layer with an optional bias. Adapters attach to it by its slot.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The Hugging Face module path, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Its place among the decoder's linear layers.
    pub slot: usize,
    /// (outputs, inputs).
    pub weight: Matrix,
    /// (outputs).
    pub bias: Option<Tensor>,
}

/// Rows of a pass that use one adapter pair, or none, in this linear layer.
pub(crate) struct AdaptedRows<'a> {
    pub(crate) rows: Range<usize>,
    pub(crate) pair: Option<&'a LoraPair>,
    /// The same pair, laid out for few rows.
    pub(crate) factors: Option<&'a Factors>,
}

impl AdaptedRows<'_> {
    /// Whether the pair is better applied row by row than by matrix products.
    fn is_few(&self) -> bool {
        self.pair.is_none() || (self.factors.is_some() && self.rows.len() <= FEW_ROWS)
    }
}

impl Linear {
    pub(crate) fn load(
        source: &Source,
        name: String,
        slot: usize,
        shape: [usize; 2],
        bias: bool,
        device: &Device,
    ) -> Result<Self> {
        let weight = source.matrix(&format!("{name}.weight"), shape, device)?;
        let bias = bias
            .then(|| source.vector(&format!("{name}.bias"), shape[0], device))
            .transpose()?;
        Ok(Self {
            name,
            slot,
            weight,
            bias,
        })
    }

    /// (rows, inputs) → (rows, outputs), without a graph.
    pub(crate) fn infer(
        &self,
        x: &Tensor,
        groups: &[AdaptedRows<'_>],
        integers: bool,
    ) -> Result<Tensor> {
        self.adapt(self.weight.product(x, integers)?, x, groups)
    }

    /// Adds bias and adapters to x · Wᵀ.
    pub(crate) fn adapt(
        &self,
        product: Tensor,
        x: &Tensor,
        groups: &[AdaptedRows<'_>],
    ) -> Result<Tensor> {
        let base = self.with_bias(product)?;
        match groups {
            groups if groups.iter().all(|group| group.pair.is_none()) => Ok(base),
            groups if groups.iter().all(AdaptedRows::is_few) => {
                let factors = groups
                    .iter()
                    .filter_map(|group| Some((group.rows.clone(), group.factors?)));
                base.inplace_op2(&x.contiguous()?, &Deltas(factors.collect()))?;
                Ok(base)
            }
            many => add_deltas(&base, x, many),
        }
    }

    fn with_bias(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(y.broadcast_add(&bias.to_dtype(y.dtype())?)?),
            None => Ok(y),
        }
    }

    /// (rows, inputs) → (rows, outputs), with a graph to x and to the pair; to weight and bias where they are variables.
    pub(crate) fn train(
        &self,
        x: &Tensor,
        pair: Option<&LoraPair>,
        dropped: Option<&Tensor>,
    ) -> Result<Tensor> {
        let base = self.with_bias(self.weight.train_product(x)?)?;
        match pair {
            Some(pair) => Ok((base + pair.delta(dropped.unwrap_or(x))?)?),
            None => Ok(base),
        }
    }
}

fn add_deltas(base: &Tensor, x: &Tensor, groups: &[AdaptedRows<'_>]) -> Result<Tensor> {
    let part = |group: &AdaptedRows<'_>| -> Result<Tensor> {
        let base = base.narrow(0, group.rows.start, group.rows.len())?;
        match group.pair {
            Some(pair) => {
                Ok((base + pair.delta(&x.narrow(0, group.rows.start, group.rows.len())?)?)?)
            }
            None => Ok(base),
        }
    };
    let parts = groups.iter().map(part).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}
