use super::factors::Group;
use super::ops::{self, Dropped};
use super::pass::Pass;
use crate::error::{ModelError, Result};
use crate::train::gradients::Gradients;
use candle_core::{DType, Tensor};

/// Logits that are alive at once, in float32.
const LOGITS: usize = 64 << 20;

/// Rows that predict, and what each should predict.
pub(super) struct Predictions {
    pub(super) rows: Vec<u32>,
    pub(super) labels: Vec<u32>,
}

/// The summed cross-entropy of the predictions from the residual stream x (rows, hidden), piece by piece, and where
/// `gradients` are wanted `scale` times its gradient by x. The sum is on the device: reading it waits.
pub(super) fn head_loss(
    pass: &Pass<'_>,
    head: &Group<'_>,
    x: &Tensor,
    predictions: &Predictions,
    scale: f64,
    mut gradients: Option<&mut Gradients>,
) -> Result<(Tensor, Option<Tensor>)> {
    let decoder = pass.decoder;
    let vocabulary = decoder.settings().vocab_size;
    if let Some(label) = predictions
        .labels
        .iter()
        .find(|label| **label as usize >= vocabulary)
    {
        return Err(ModelError::Invalid(format!(
            "label {label} is not in the vocabulary of {vocabulary}"
        )));
    }
    if predictions.rows.is_empty() {
        let zeros = gradients.is_some().then(|| x.zeros_like()).transpose()?;
        return Ok((Tensor::zeros((), DType::F32, x.device())?, zeros));
    }
    let rows = Tensor::new(predictions.rows.as_slice(), x.device())?;
    let labels = Tensor::new(predictions.labels.as_slice(), x.device())?;
    let predicting = x.index_select(&rows, 0)?;
    let (_, normed) = ops::norm(&predicting, None, &decoder.norm, pass.eps)?;
    let (count, piece) = (predictions.rows.len(), (LOGITS / vocabulary).max(1));
    let (mut losses, mut by_normed) = (Vec::new(), Vec::new());
    for first in (0..count).step_by(piece) {
        let size = piece.min(count - first);
        let normed = normed.narrow(0, first, size)?;
        let (logits, projected) = head.logits(&normed)?;
        let labels = labels.narrow(0, first, size)?;
        let (loss, by_logits) =
            ops::cross_entropy(&logits, &labels, scale, gradients.is_some(), x.dtype())?;
        drop(logits);
        losses.push(loss);
        if let (Some(gradients), Some(by_logits)) = (gradients.as_deref_mut(), by_logits) {
            by_normed.extend(head.backward(
                (&normed, &projected),
                &[by_logits],
                Dropped::none(),
                true,
                gradients,
            )?);
        }
    }
    let sum = Tensor::cat(&losses, 0)?.sum_all()?;
    if gradients.is_none() {
        return Ok((sum, None));
    }
    let by_normed = Tensor::cat(&by_normed, 0)?;
    let by_rows = ops::norm_backward(&predicting, &decoder.norm, &by_normed, None, pass.eps)?;
    Ok((sum, Some(x.zeros_like()?.index_add(&rows, &by_rows, 0)?)))
}
