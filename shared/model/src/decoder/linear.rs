use crate::error::Result;
use crate::kernels::{
    Delta, Deltas, Factors, FewLayer, FewRows, IntegerRows, MANY_ROWS, Weights, cpu_values,
    products_of_few,
};
use crate::lora::LoraPair;
use crate::weights::{Matrix, Source, tensors};
use candle_core::{DType, Device, Tensor};
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

    /// Adds bias and adapters to x · Wᵀ.
    fn adapt(
        &self,
        product: Tensor,
        x: &Tensor,
        groups: &[AdaptedRows<'_>],
        integers: bool,
    ) -> Result<Tensor> {
        let base = self.with_bias(product)?;
        if groups.iter().all(|group| group.pair.is_none()) {
            return Ok(base);
        }
        let mut pairs = groups.iter().filter_map(|group| group.pair);
        if is_plain(&base) && pairs.all(|pair| is_plain(&pair.a) && is_plain(&pair.b)) {
            add_deltas_in_place(&base, x, groups, integers)?;
            return Ok(base);
        }
        add_deltas(&base, x, groups)
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

/// Linear layers of one x, without a graph: (rows, inputs) → (rows, outputs) of each. `groups` are the adapted rows of each
/// layer, none where no row has an adapter.
pub(crate) fn infer(
    linears: &[&Linear],
    x: &Tensor,
    groups: &[Vec<AdaptedRows<'_>>],
    integers: bool,
) -> Result<Vec<Tensor>> {
    let few = x.dim(0)? < MANY_ROWS && groups.iter().flatten().all(AdaptedRows::is_few);
    if integers
        && few
        && let Some(results) = infer_few(linears, x, groups)?
    {
        return Ok(results);
    }
    let matrices: Vec<&Matrix> = linears.iter().map(|linear| &linear.weight).collect();
    let products = Matrix::products(&matrices, x, integers)?;
    let layers = linears.iter().zip(groups);
    let adapted = layers
        .zip(products)
        .map(|((linear, groups), product)| linear.adapt(product, x, groups, integers));
    adapted.collect()
}

/// The same for few rows, in one go over the threads; `None` where something is not on the CPU.
fn infer_few(
    linears: &[&Linear],
    x: &Tensor,
    groups: &[Vec<AdaptedRows<'_>>],
) -> Result<Option<Vec<Tensor>>> {
    let (rows, width) = x.dims2()?;
    let biases: Vec<_> = linears
        .iter()
        .map(|linear| linear.bias.as_ref().map(cpu_values))
        .collect();
    let dense: Vec<_> = linears
        .iter()
        .map(|linear| match &linear.weight {
            Matrix::Dense(weight) if is_plain(weight) => Some(cpu_values(weight)),
            _ => None,
        })
        .collect();
    let mut layers = Vec::with_capacity(linears.len());
    for (((linear, bias), dense), groups) in linears.iter().zip(&biases).zip(&dense).zip(groups) {
        let weights = match (&linear.weight, dense) {
            (Matrix::Packed(packed), _) => Weights::Packed(packed.rows()),
            (_, Some(values)) => Weights::Dense(values.get()?),
            _ => return Ok(None),
        };
        let mut factors = vec![None; if groups.is_empty() { 0 } else { rows }];
        for group in groups {
            factors[group.rows.clone()].fill(group.factors);
        }
        layers.push(FewLayer {
            weights,
            outputs: linear.weight.dims()?.0,
            bias: bias.as_ref().map(|bias| bias.get()).transpose()?,
            factors,
        });
    }
    let x = x.contiguous()?;
    let (values, packed) = (cpu_values(&x), |layer: &FewLayer<'_>| {
        matches!(layer.weights, Weights::Packed(_))
    });
    let values = values.get()?;
    let rounded = layers
        .iter()
        .any(packed)
        .then(|| IntegerRows::new(values, width));
    let x = FewRows {
        values,
        width,
        rounded: rounded.as_ref(),
    };
    tensors(rows, products_of_few(&x, &layers)?).map(Some)
}

/// Whether kernels of the CPU can read it as it lies.
fn is_plain(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32 && tensor.is_contiguous()
}

/// On the CPU; rounded factors only where products may be in integers.
fn add_deltas_in_place(
    base: &Tensor,
    x: &Tensor,
    groups: &[AdaptedRows<'_>],
    integers: bool,
) -> Result<()> {
    let pairs = groups.iter().filter_map(|group| Some((group, group.pair?)));
    let factors: Vec<_> = pairs
        .map(|(group, pair)| {
            (
                group,
                cpu_values(&pair.a),
                cpu_values(&pair.b),
                pair.scaling,
            )
        })
        .collect();
    let mut deltas = Vec::with_capacity(factors.len());
    for (group, a, b, scaling) in &factors {
        let delta = match group.factors {
            Some(factors) if group.is_few() && (integers || !factors.is_rounded()) => {
                Delta::Few(factors)
            }
            _ => Delta::Many {
                a: a.get()?,
                b: b.get()?,
                scaling: *scaling as f32,
            },
        };
        deltas.push((group.rows.clone(), delta));
    }
    Ok(base.inplace_op2(&x.contiguous()?, &Deltas(deltas))?)
}

/// On any device.
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
