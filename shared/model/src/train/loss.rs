use super::example::Example;
use super::gradients::Gradients;
use super::parameters::Parameters;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::kernels::with_values;
use crate::lora::Adapter;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor, Var};
use candle_nn::ops::log_softmax;
use rayon::prelude::*;

/// Logits that are alive at once: vocabularies are large, and only one piece of rows needs its logits at a time.
const LOGITS: usize = 16 << 20;

/// Rows that predict, and what each should predict.
pub(super) struct Predictions {
    pub(super) rows: Vec<u32>,
    pub(super) labels: Vec<u32>,
}

impl Predictions {
    /// What examples predict, with rows counted through all of them.
    pub(super) fn of(examples: &[Example]) -> Self {
        let mut first = 0u32;
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for example in examples {
            for (position, label) in example.predictions() {
                rows.push(first + position);
                labels.push(label);
            }
            first += u32::try_from(example.tokens.len()).unwrap_or(u32::MAX);
        }
        Self { rows, labels }
    }

    /// # Errors
    /// A label that is no token of the vocabulary.
    pub(super) fn check(&self, vocabulary: usize) -> Result<()> {
        match self
            .labels
            .iter()
            .find(|label| **label as usize >= vocabulary)
        {
            None => Ok(()),
            Some(label) => Err(ModelError::Invalid(format!(
                "label {label} is not in the vocabulary of {vocabulary}"
            ))),
        }
    }
}

/// The summed cross-entropy and, where gradients are wanted, its derivative by the normed rows.
pub(super) struct HeadLoss {
    pub(super) sum: f64,
    pub(super) gradient: Option<Tensor>,
}

/// Cross-entropy of the predictions from the normed residual stream (rows, hidden), piece by piece.
///
/// With `collect`, gradients of an adapter on the output projection go there, all scaled by `scale`.
pub(super) fn head_loss(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    normed: &Tensor,
    predictions: &Predictions,
    scale: f64,
    mut collect: Option<(&Parameters, &mut Gradients)>,
) -> Result<HeadLoss> {
    let vocabulary = decoder.settings().vocab_size;
    predictions.check(vocabulary)?;
    let piece = (LOGITS / vocabulary).max(1);
    let mut sum = 0.0;
    let mut gradient = collect.is_some().then(|| normed.zeros_like()).transpose()?;
    for (rows, labels) in predictions
        .rows
        .chunks(piece)
        .zip(predictions.labels.chunks(piece))
    {
        let index = Tensor::new(rows, normed.device())?;
        let leaf = Var::from_tensor(&normed.detach().index_select(&index, 0)?)?;
        let logits = decoder.head.train(
            leaf.as_tensor(),
            adapter.and_then(|adapter| adapter.pair(decoder.head.slot)),
            None,
        )?;
        let loss = cross_entropy(&logits, labels)?;
        sum += f64::from(loss.to_scalar::<f32>()?);
        if let (Some((parameters, gradients)), Some(total)) = (collect.as_mut(), gradient.as_mut())
        {
            let mut store = (loss * scale)?.backward()?;
            let by_rows = store
                .remove(leaf.as_tensor())
                .ok_or_else(|| ModelError::Training("the loss gave no gradient".to_owned()))?;
            *total = total.index_add(&index, &by_rows.detach(), 0)?;
            gradients.collect(parameters, &mut store)?;
        }
    }
    Ok(HeadLoss { sum, gradient })
}

/// The sum of -ln p(label) over rows of logits.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F32)?;
    if logits.device().is_cpu() {
        return Ok(logits.contiguous()?.apply_op1(CrossEntropy {
            labels: labels.to_vec(),
        })?);
    }
    let index = Tensor::new(labels, logits.device())?.unsqueeze(1)?;
    Ok(log_softmax(&logits, 1)?
        .gather(&index, 1)?
        .sum_all()?
        .neg()?)
}

struct CrossEntropy {
    labels: Vec<u32>,
}

/// The largest logit of a row and the logarithm of the sum of e^(logit - largest).
fn log_sum(row: &[f32]) -> (f32, f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row
        .iter()
        .map(|logit| f64::from((logit - largest).exp()))
        .sum();
    (largest, sum.ln() as f32)
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy-train"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let logits = crate::kernels::values(storage, layout)?;
        let (_, width) = layout.shape().dims2()?;
        let loss = |(row, label): (&[f32], &u32)| {
            let (largest, rest) = log_sum(row);
            f64::from(largest + rest - row[*label as usize])
        };
        let losses: Vec<f64> = logits
            .par_chunks(width)
            .zip(&self.labels)
            .map(loss)
            .collect();
        Ok((
            CpuStorage::F32(vec![losses.iter().sum::<f64>() as f32]),
            Shape::from(()),
        ))
    }

    /// softmax(row) - one at the label.
    fn bwd(
        &self,
        logits: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let scale = gradient.to_scalar::<f32>()?;
        let (_, width) = logits.dims2()?;
        let mut out = vec![0f32; logits.elem_count()];
        with_values(logits, |logits| {
            let rows = out
                .par_chunks_mut(width)
                .zip(logits.par_chunks(width))
                .zip(&self.labels);
            rows.for_each(|((out, row), label)| {
                let (largest, rest) = log_sum(row);
                out.iter_mut()
                    .zip(row)
                    .for_each(|(out, logit)| *out = scale * (logit - largest - rest).exp());
                out[*label as usize] -= scale;
            });
            Ok(())
        })?;
        Tensor::from_vec(out, logits.dims(), logits.device()).map(Some)
    }
}
