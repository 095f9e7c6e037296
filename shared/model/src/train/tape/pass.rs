use super::factors::Factors;
use super::layer::{Kept, Step};
use super::loss::{Predictions, head_loss};
use super::ops::{self, Dropped, Sequences};
use crate::decoder::{Angles, Decoder};
use crate::error::{ModelError, Result};
use crate::lora::Adapter;
use crate::reference::Span;
use crate::train::example::Example;
use crate::train::forward::TrainSettings;
use crate::train::gradients::Gradients;
use crate::train::parameters::Parameters;
use candle_core::Tensor;

/// What all layers of one micro-batch share: its packed sequences, where their rows stand, what is dropped.
pub(super) struct Pass<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) sequences: Sequences,
    pub(super) angles: Vec<Angles>,
    pub(super) dropped: Dropped,
    pub(super) eps: f64,
    tokens: Vec<u32>,
}

impl<'a> Pass<'a> {
    fn new(decoder: &'a Decoder, examples: &[Example], dropped: Dropped) -> Result<Self> {
        let (mut spans, mut tokens, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for example in examples {
            spans.push(Span::of(tokens.len()..tokens.len() + example.tokens.len()));
            tokens.extend_from_slice(&example.tokens);
            positions.extend(0..u32::try_from(example.tokens.len()).unwrap_or(u32::MAX));
        }
        if tokens.is_empty() {
            return Err(ModelError::Invalid(
                "a micro-batch needs at least one example".to_owned(),
            ));
        }
        Ok(Self {
            decoder,
            sequences: Sequences::new(spans, decoder.device())?,
            angles: decoder.angles(positions)?,
            dropped,
            eps: decoder.settings().rms_norm_eps,
            tokens,
        })
    }

    fn steps<'b>(
        &'b self,
        factors: &'b Factors<'b>,
    ) -> impl DoubleEndedIterator<Item = Step<'b>> + ExactSizeIterator {
        let pairs = self.decoder.layers.iter().zip(&factors.layers);
        pairs.map(|(layer, groups)| Step { layer, groups })
    }

    /// The residual stream after the last layer, and what `keep` makes of each layer's input and tape.
    fn forward<K>(
        &self,
        factors: &Factors<'_>,
        mut keep: impl FnMut(Tensor, Kept) -> K,
    ) -> Result<(Tensor, Vec<K>)> {
        let mut x = self.decoder.embed(&self.tokens)?;
        let mut all = Vec::with_capacity(factors.layers.len());
        for step in self.steps(factors) {
            let (y, kept) = step.forward(&x, self)?;
            all.push(keep(x, kept));
            x = y;
        }
        Ok((x, all))
    }
}

fn predictions(examples: &[Example]) -> Predictions {
    let mut first = 0u32;
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for example in examples {
        for (position, label) in example.predictions() {
            rows.push(first + position);
            labels.push(label);
        }
        first += u32::try_from(example.tokens.len()).unwrap_or(u32::MAX);
    }
    Predictions { rows, labels }
}

/// One layer as the forward pass left it.
enum Layered {
    Kept(Box<Kept>),
    /// Only its input: the rest is computed again.
    Input(Tensor),
}

/// As [`crate::train::gradients`], for adapters.
pub(in crate::train) fn gradients(
    decoder: &Decoder,
    parameters: &Parameters,
    examples: &[Example],
    normaliser: usize,
    settings: TrainSettings,
) -> Result<(f64, Gradients)> {
    let pass = Pass::new(
        decoder,
        examples,
        Dropped::new(settings.dropout, settings.seed),
    )?;
    let scale = 1.0 / normaliser.max(1) as f64;
    let mut gradients = Gradients::none(parameters);
    let factors = Factors::new(decoder, Some(parameters.adapter()), decoder.activations())?;
    let (last, mut layers) = pass.forward(&factors, |x, kept| match settings.checkpointing {
        true => Layered::Input(x),
        false => Layered::Kept(Box::new(kept)),
    })?;
    let predictions = predictions(examples);
    let (sum, upstream) = head_loss(
        &pass,
        &factors.head,
        &last,
        &predictions,
        scale,
        Some(&mut gradients),
    )?;
    drop(last);
    let mut upstream =
        upstream.ok_or_else(|| ModelError::Training("the loss gave no gradient".to_owned()))?;
    for (index, step) in pass.steps(&factors).enumerate().rev() {
        let kept = match layers.pop() {
            Some(Layered::Kept(kept)) => kept,
            Some(Layered::Input(x)) => Box::new(step.forward(&x, &pass)?.1),
            None => break,
        };
        // The embeddings are frozen: nobody asks for their gradient.
        match step.backward(&kept, &upstream, &pass, index > 0, &mut gradients)? {
            Some(dx) => upstream = dx,
            None => break,
        }
    }
    // The first and only wait for the device.
    let sum = f64::from(sum.to_scalar::<f32>()?);
    if !sum.is_finite() {
        return Err(ModelError::NotFinite {
            what: "loss",
            value: sum,
        });
    }
    Ok((sum * scale, gradients))
}

/// As [`crate::train::evaluate`].
pub(in crate::train) fn evaluate(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<(f64, usize)> {
    let pass = Pass::new(decoder, examples, Dropped::none())?;
    let factors = Factors::new(decoder, adapter, decoder.activations())?;
    let (last, _) = pass.forward(&factors, |_, _| ())?;
    let predictions = predictions(examples);
    let (sum, _) = head_loss(&pass, &factors.head, &last, &predictions, 1.0, None)?;
    Ok((f64::from(sum.to_scalar::<f32>()?), predictions.labels.len()))
}

/// As [`crate::train::train_logits`].
pub(in crate::train) fn logits(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    examples: &[Example],
) -> Result<Tensor> {
    let pass = Pass::new(decoder, examples, Dropped::none())?;
    let factors = Factors::new(decoder, adapter, decoder.activations())?;
    let (last, _) = pass.forward(&factors, |_, _| ())?;
    let (_, normed) = ops::norm(&last, None, &decoder.norm, pass.eps)?;
    Ok(factors.head.logits(&normed)?.0)
}
