//! The training step on the CPU without a tape: here are examples, give me the gradients of an adapter.
//!
//! Each layer goes forward and keeps what its way back needs and cannot compute again cheaply; the way back is written out,
//! product by product. Against candle's tape that saves the gradients nobody wants, the transposes and copies between its
//! operations, and the (tokens × tokens) matrices of attention; buffers are taken again from layer to layer and from
//! micro-batch to micro-batch.
//!
//! *Useful for* adapters on float32 and on quantised bases. *Not useful for* full fine-tuning and for GPUs: there the tape of
//! [`super::forward`] computes the same, and tests hold the two against each other.

mod attention;
mod batch;
mod buffers;
mod head;
mod heads;
mod layer;
mod linear;
mod rows;
mod sink;
mod values;

pub(super) use buffers::Memory;

use super::dropout::Dropout;
use super::example::Example;
use super::forward::TrainSettings;
use super::gradients::Gradients;
use super::loss::Predictions;
use super::parameters::Parameters;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::lora::Adapter;
use crate::weights::Matrix;
use batch::{Batch, Rows};
use buffers::Buffers;
use candle_core::{DType, Tensor};
use head::{Back, Head};
use layer::{Block, Kept};
use sink::Sink;

/// Whether this step can be computed here: weights on the CPU, in float32 or packed.
pub(super) fn applies(decoder: &Decoder) -> bool {
    let float = |matrix: &Matrix| match matrix {
        Matrix::Dense(weight) => weight.dtype() == DType::F32,
        _ => true,
    };
    decoder.device().is_cpu() && decoder.linears().all(|linear| float(&linear.weight))
}

/// A layer's values on the way between forward and back.
enum Saved {
    All(Box<Kept>),
    /// Only its input: the rest is computed again.
    Input(Vec<f32>),
}

/// The loss of a micro-batch and the gradients of the adapter, both divided by `normaliser`.
pub(super) fn gradients(
    decoder: &Decoder,
    parameters: &Parameters,
    examples: &[Example],
    normaliser: usize,
    settings: TrainSettings,
) -> Result<(f64, Gradients)> {
    let adapter = parameters.adapter();
    let rows = Rows::new(decoder, examples)?;
    let batch = rows.batch(Dropout {
        share: settings.dropout,
        seed: settings.seed,
    })?;
    let mut memory = parameters.memory();
    let Memory {
        layers: buffers,
        head: head_buffers,
    } = &mut *memory;
    let mut sink = Sink::new(2 * adapter.pairs().count());
    let (blocks, head) = parts(decoder, Some(adapter))?;

    let mut x = start(decoder, &rows, &batch, buffers)?;
    let mut saved = Vec::with_capacity(blocks.len());
    for block in &blocks {
        let (y, kept) = block.forward(x, &batch, buffers)?;
        saved.push(if settings.checkpointing {
            Saved::Input(kept.into_input(buffers))
        } else {
            Saved::All(Box::new(kept))
        });
        x = y;
    }

    let scale = 1.0 / normaliser.max(1) as f64;
    let mut gradient = buffers.take_as(&x);
    gradient.fill(0.0);
    let back = Back {
        scale,
        sink: &mut sink,
        by_rows: &mut gradient,
    };
    let loss = head.loss(&x, &Predictions::of(examples), Some(back), head_buffers)?;
    buffers.give(x);
    if !loss.is_finite() {
        return Err(ModelError::NotFinite {
            what: "loss",
            value: loss,
        });
    }

    for (index, (block, saved)) in blocks.iter().zip(saved).enumerate().rev() {
        let kept = match saved {
            Saved::All(kept) => *kept,
            Saved::Input(x) => {
                let (y, kept) = block.forward(x, &batch, buffers)?;
                buffers.give(y);
                kept
            }
        };
        // Nothing below the first layer learns.
        gradient = block.backward(kept, gradient, index > 0, &batch, buffers, &mut sink)?;
    }
    buffers.give(gradient);
    let gradients = Gradients::from_values(parameters, sink.into_values())?;
    Ok((loss * scale, gradients))
}

/// The summed cross-entropy of examples, without gradients.
pub(super) fn loss(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<f64> {
    let head = Head::new(decoder, adapter)?;
    let (x, _) = hidden(decoder, adapter, examples)?;
    head.loss(
        &x,
        &Predictions::of(examples),
        None,
        &mut Buffers::default(),
    )
}

/// Logits of every token: (tokens of all examples, vocabulary).
pub(super) fn logits(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<Tensor> {
    let head = Head::new(decoder, adapter)?;
    let (x, mut buffers) = hidden(decoder, adapter, examples)?;
    head.logits(&x, &mut buffers)
}

fn parts<'a>(
    decoder: &'a Decoder,
    adapter: Option<&'a Adapter>,
) -> Result<(Vec<Block<'a>>, Head<'a>)> {
    let blocks = decoder
        .layers
        .iter()
        .map(|layer| Block::new(layer, adapter))
        .collect::<Result<_>>()?;
    Ok((blocks, Head::new(decoder, adapter)?))
}

/// The embeddings of all tokens.
fn start(
    decoder: &Decoder,
    rows: &Rows,
    batch: &Batch<'_>,
    buffers: &mut Buffers,
) -> Result<Vec<f32>> {
    let embedded = decoder.embed(&rows.tokens)?;
    buffers.begin(batch.rows());
    let mut x = buffers.take(decoder.settings().hidden_size);
    x.copy_from_slice(values::Values::of(&embedded)?.get());
    Ok(x)
}

/// The residual stream after the last layer, without dropout, and buffers that can be used on.
fn hidden(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<(Vec<f32>, Buffers)> {
    let rows = Rows::new(decoder, examples)?;
    let batch = rows.batch(Dropout::NONE)?;
    let mut buffers = Buffers::default();
    let mut x = start(decoder, &rows, &batch, &mut buffers)?;
    for layer in &decoder.layers {
        let (y, kept) = Block::new(layer, adapter)?.forward(x, &batch, &mut buffers)?;
        let input = kept.into_input(&mut buffers);
        buffers.give(input);
        x = y;
    }
    Ok((x, buffers))
}
