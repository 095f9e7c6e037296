use super::dropout::Dropout;
use super::example::Example;
use super::explicit;
use super::gradients::Gradients;
use super::loss::{Predictions, head_loss};
use super::ops::{Causal, gated, rms_norm, rotate};
use super::parameters::Parameters;
use crate::decoder::{Angles, Decoder, Layer, Linear, mask};
use crate::error::{ModelError, Result};
use crate::lora::Adapter;
use candle_core::{Tensor, Var};
use std::ops::Range;

/// How one pass of training computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainSettings {
    /// Share of the adapters' inputs that are left out.
    pub dropout: f64,
    /// Decides which; to be different in each micro-batch.
    pub seed: u64,
    /// Keep only the inputs of layers and compute the rest again for the gradients: a third slower, far less memory.
    pub checkpointing: bool,
}

/// A pass through the layers: which rows belong together, where they stand, who adapts them.
struct Pass<'a> {
    adapter: Option<&'a Adapter>,
    segments: Vec<Range<usize>>,
    angles: Vec<Angles>,
    dropout: Dropout,
    eps: f64,
}

impl Pass<'_> {
    fn linear(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        let pair = self.adapter.and_then(|adapter| adapter.pair(linear.slot));
        let dropped = pair
            .map(|_| self.dropout.apply(x, linear.slot))
            .transpose()?
            .flatten();
        linear.train(x, pair, dropped.as_ref())
    }

    fn norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        rms_norm(x, weight, self.eps)
    }

    fn maybe_norm(&self, x: Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        weight.map_or(Ok(x.clone()), |weight| self.norm(&x, weight))
    }
}

impl Layer {
    /// (rows, hidden) → (rows, hidden), with a graph.
    fn train(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let attended = self.train_attention(&pass.norm(x, &self.input_norm)?, pass)?;
        let x = (x + pass.maybe_norm(attended, self.attention_norm.as_ref())?)?;
        let normed = pass.norm(&x, &self.mlp_norm)?;
        let [.., gate, up, down] = &self.linears;
        let hidden = gated(
            &pass.linear(gate, &normed)?,
            &pass.linear(up, &normed)?,
            self.activation,
        )?;
        let changed = pass.linear(down, &hidden)?;
        Ok((x + pass.maybe_norm(changed, self.output_norm.as_ref())?)?)
    }

    fn train_attention(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let [q, k, v, o, ..] = &self.linears;
        let queries = self.train_heads(&pass.linear(q, x)?, self.query_norm.as_ref(), pass)?;
        let keys = self.train_heads(&pass.linear(k, x)?, self.key_norm.as_ref(), pass)?;
        let values = pass.linear(v, x)?;
        let rows = |x: &Tensor, rows: &Range<usize>| x.narrow(0, rows.start, rows.len());
        let attend = |segment: &Range<usize>| {
            self.attend(
                &rows(&queries, segment)?,
                &rows(&keys, segment)?,
                &rows(&values, segment)?,
            )
        };
        let parts = pass
            .segments
            .iter()
            .map(attend)
            .collect::<Result<Vec<_>>>()?;
        pass.linear(o, &Tensor::cat(&parts, 0)?)
    }

    /// Heads normed where the family does so, then rotated.
    fn train_heads(&self, x: &Tensor, norm: Option<&Tensor>, pass: &Pass<'_>) -> Result<Tensor> {
        let (rows, size) = x.dims2()?;
        let heads = x.reshape((rows, size / self.heads.width, self.heads.width))?;
        let heads = pass.maybe_norm(heads, norm)?;
        Ok(rotate(&heads, &pass.angles[self.settings.rope])?.reshape((rows, size))?)
    }

    /// Attention of one example to itself: (tokens, heads · width) each.
    fn attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let (tokens, heads) = (queries.dim(0)?, &self.heads);
        let group = heads.queries / heads.keys;
        let split = |rows: &Tensor| {
            rows.reshape((tokens, heads.keys, heads.width))?
                .transpose(0, 1)?
                .contiguous()
        };
        let queries = queries
            .reshape((tokens, heads.keys, group, heads.width))?
            .transpose(0, 1)?
            .contiguous()?;
        let queries = queries.reshape((heads.keys, tokens * group, heads.width))?;
        let scores = queries.matmul(&split(keys)?.t()?)?; // (key heads, tokens · group, tokens)
        let causal = Causal {
            group,
            window: heads.window,
            scale: heads.scale,
        };
        let probabilities = causal.softmax(&scores, || mask(heads, tokens, 0, scores.device()))?;
        let out = probabilities.matmul(&split(values)?)?.reshape((
            heads.keys,
            tokens,
            group,
            heads.width,
        ))?;
        Ok(out
            .transpose(0, 1)?
            .contiguous()?
            .reshape((tokens, heads.queries * heads.width))?)
    }
}

fn pass<'a>(
    decoder: &Decoder,
    adapter: Option<&'a Adapter>,
    examples: &[Example],
    dropout: Dropout,
) -> Result<(Pass<'a>, Vec<u32>)> {
    let mut segments = Vec::with_capacity(examples.len());
    let (mut tokens, mut positions) = (Vec::new(), Vec::new());
    for example in examples {
        segments.push(tokens.len()..tokens.len() + example.tokens.len());
        tokens.extend_from_slice(&example.tokens);
        positions.extend(0..u32::try_from(example.tokens.len()).unwrap_or(u32::MAX));
    }
    if tokens.is_empty() {
        return Err(ModelError::Invalid(
            "a micro-batch needs at least one example".to_owned(),
        ));
    }
    let angles = decoder.angles(positions)?;
    Ok((
        Pass {
            adapter,
            segments,
            angles,
            dropout,
            eps: decoder.settings().rms_norm_eps,
        },
        tokens,
    ))
}

/// Summed loss of a micro-batch and its gradients, both divided by `normaliser`: the labels that count in the whole
/// effective batch, so that micro-batches of any sizes add up to one batch.
///
/// # Errors
/// Examples that are too long or hold unknown tokens; a loss that is no number.
pub fn gradients(
    decoder: &Decoder,
    parameters: &Parameters,
    examples: &[Example],
    normaliser: usize,
    settings: TrainSettings,
) -> Result<(f64, Gradients)> {
    let decoder = parameters.decoder(decoder);
    #[cfg(feature = "cuda")]
    if on_tape(decoder, Some(parameters)) {
        return super::tape::gradients(decoder, parameters, examples, normaliser, settings);
    }
    let threads = decoder.threads();
    threads.install(|| {
        if explicit::applies(decoder) && !parameters.is_full() {
            explicit::gradients(decoder, parameters, examples, normaliser, settings)
        } else {
            compute(decoder, parameters, examples, normaliser, settings)
        }
    })
}

/// [`gradients`] by candle's tape, whatever the device: what the step without a tape is held against.
///
/// # Errors
/// As [`gradients`].
pub fn tape_gradients(
    decoder: &Decoder,
    parameters: &Parameters,
    examples: &[Example],
    normaliser: usize,
    settings: TrainSettings,
) -> Result<(f64, Gradients)> {
    let decoder = parameters.decoder(decoder);
    let threads = decoder.threads();
    threads.install(|| compute(decoder, parameters, examples, normaliser, settings))
}

fn compute(
    decoder: &Decoder,
    parameters: &Parameters,
    examples: &[Example],
    normaliser: usize,
    settings: TrainSettings,
) -> Result<(f64, Gradients)> {
    let dropout = Dropout {
        share: settings.dropout,
        seed: settings.seed,
    };
    let (pass, tokens) = pass(decoder, Some(parameters.adapter()), examples, dropout)?;
    let scale = 1.0 / normaliser.max(1) as f64;
    let mut gradients = Gradients::none(parameters);
    let mut inputs = vec![decoder.embed(&tokens)?];
    for layer in &decoder.layers {
        let y = layer.train(&inputs[inputs.len() - 1], &pass)?;
        // Without the graph, only the input of each layer stays in memory.
        inputs.push(if settings.checkpointing {
            y.detach()
        } else {
            y
        });
    }
    let last = &inputs[inputs.len() - 1];
    let leaf = Var::from_tensor(&last.detach())?;
    let normed = pass.norm(leaf.as_tensor(), &decoder.norm)?;
    let loss = head_loss(
        decoder,
        pass.adapter,
        &normed,
        &Predictions::of(examples),
        scale,
        Some((parameters, &mut gradients)),
    )?;
    if !loss.sum.is_finite() {
        return Err(ModelError::NotFinite {
            what: "loss",
            value: loss.sum,
        });
    }
    let (mut store, mut upstream) = backward(&normed, loss.gradient, &leaf)?;
    gradients.collect(parameters, &mut store)?;
    if settings.checkpointing {
        for (layer, input) in decoder.layers.iter().zip(&inputs).rev() {
            let leaf = Var::from_tensor(input)?;
            let (mut store, dx) =
                backward(&layer.train(leaf.as_tensor(), &pass)?, upstream, &leaf)?;
            gradients.collect(parameters, &mut store)?;
            upstream = dx;
        }
        if let (true, Some(upstream)) = (parameters.is_full(), upstream) {
            let mut store = (decoder.embed(&tokens)? * upstream)?
                .sum_all()?
                .backward()?;
            gradients.collect(parameters, &mut store)?;
        }
    } else if let Some(upstream) = upstream {
        let mut store = (last * upstream)?.sum_all()?.backward()?;
        gradients.collect(parameters, &mut store)?;
    }
    Ok((loss.sum * scale, gradients))
}

/// The gradients below `y` when its own is `upstream`, and that of `leaf`.
fn backward(
    y: &Tensor,
    upstream: Option<Tensor>,
    leaf: &Var,
) -> Result<(candle_core::backprop::GradStore, Option<Tensor>)> {
    let upstream =
        upstream.ok_or_else(|| ModelError::Training("a layer gave no gradient".to_owned()))?;
    let mut store = (y * upstream)?.sum_all()?.backward()?;
    let dx = store.remove(leaf.as_tensor()).map(|dx| dx.detach());
    Ok((store, dx))
}

/// Summed loss of examples and the number of labels that counted, without gradients.
///
/// # Errors
/// As [`gradients`].
pub fn evaluate(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<(f64, usize)> {
    #[cfg(feature = "cuda")]
    if on_tape(decoder, None) {
        return super::tape::evaluate(decoder, adapter, examples);
    }
    let threads = decoder.threads();
    threads.install(|| {
        let predictions = Predictions::of(examples);
        if explicit::applies(decoder) {
            let sum = explicit::loss(decoder, adapter, examples)?;
            return Ok((sum, predictions.labels.len()));
        }
        let x = hidden(decoder, adapter, examples)?;
        let normed = rms_norm(&x, &decoder.norm, decoder.settings().rms_norm_eps)?;
        let loss = head_loss(decoder, adapter, &normed, &predictions, 1.0, None)?;
        Ok((loss.sum, predictions.labels.len()))
    })
}

/// The residual stream after the last layer of the training path, without dropout and without a graph.
fn hidden(decoder: &Decoder, adapter: Option<&Adapter>, examples: &[Example]) -> Result<Tensor> {
    let (pass, tokens) = pass(decoder, adapter, examples, Dropout::NONE)?;
    let mut x = decoder.embed(&tokens)?;
    for layer in &decoder.layers {
        x = layer.train(&x.detach(), &pass)?;
    }
    Ok(x.detach())
}

/// Logits of every token by the training path: (tokens of all examples, vocabulary). What serving computes must agree.
///
/// # Errors
/// As [`gradients`].
pub fn train_logits(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if on_tape(decoder, None) {
        return super::tape::logits(decoder, adapter, examples);
    }
    if explicit::applies(decoder) {
        let threads = decoder.threads();
        return threads.install(|| explicit::logits(decoder, adapter, examples));
    }
    let x = hidden(decoder, adapter, examples)?;
    let normed = rms_norm(&x, &decoder.norm, decoder.settings().rms_norm_eps)?;
    let pair = adapter.and_then(|adapter| adapter.pair(decoder.head.slot));
    Ok(decoder.head.train(&normed, pair, None)?.detach())
}

/// Whether this is computed by [`super::tape`]: frozen weights in bfloat16, on a GPU.
#[cfg(feature = "cuda")]
fn on_tape(decoder: &Decoder, parameters: Option<&Parameters>) -> bool {
    decoder.activations() == candle_core::DType::BF16
        && !parameters.is_some_and(Parameters::is_full)
}
