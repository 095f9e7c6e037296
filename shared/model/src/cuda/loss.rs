use super::compiler::Unit;
use super::kernel::{Argument, Launch, blocks, device_of, int, tensor, unset};
use crate::error::Result;
use candle_core::{DType, Tensor};

/// The cross-entropy of each row of float32 logits with its label, and where wanted `scale` times its derivative by the
/// logits, in bfloat16.
///
/// # Shapes
/// `logits` (rows, vocabulary), `labels` (rows) as u32; the labels must be below the vocabulary.
pub(crate) fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    scale: f64,
    with_gradient: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let device = device_of(logits)?;
    let (rows, width) = logits.dims2()?;
    let losses = unset(rows, DType::F32, device)?;
    let gradient = match with_gradient {
        true => Some(unset((rows, width), DType::BF16, device)?),
        false => None,
    };
    let launch = Launch {
        device,
        unit: Unit {
            name: "loss",
            head: None,
        },
        name: "cross_entropy",
        grid: (blocks(rows, 1)?, 1, 1),
        block: (512, 1, 1),
        shared: 0,
    };
    launch.run(&[
        tensor(logits, DType::F32)?,
        tensor(labels, DType::U32)?,
        tensor(&losses, DType::F32)?,
        gradient
            .as_ref()
            .map_or(Ok(Argument::Pointer(0)), |gradient| {
                tensor(gradient, DType::BF16)
            })?,
        int(width)?,
        Argument::Float(scale as f32),
    ])?;
    Ok((losses, gradient))
}
