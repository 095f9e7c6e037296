//! Here are weights and tokens, give me logits: Lore's own decoder, for serving (this module) and for training
//! ([`crate::train`]) over the same weights.

mod attention;
mod cache;
mod layer;
mod linear;
mod load;
mod rotary;
mod weights;

pub use cache::KvCache;
pub use linear::Linear;

pub(crate) use attention::mask;
pub(crate) use layer::{Layer, MODULES};
pub(crate) use rotary::{Angles, frequencies, positions};

use crate::error::{ModelError, Result};
use crate::lora::Adapter;
use crate::settings::Settings;
use crate::weights::Matrix;
use candle_core::{DType, Device, Tensor};
use layer::Pass;
use rotary::Rotary;
use std::sync::Arc;

/// A loaded base model. It never changes; cloning it copies handles, not weights.
#[derive(Clone, Debug)]
pub struct Decoder {
    settings: Settings,
    context_length: usize,
    device: Device,
    embedding: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Tensor,
    pub(crate) head: Linear,
    rotaries: Vec<Rotary>,
    threads: Arc<rayon::ThreadPool>,
}

/// New tokens of one sequence, its cache, and the adapter to compute them with.
pub struct Segment<'a> {
    /// At least one token.
    pub tokens: &'a [u32],
    /// What came before; the tokens join it.
    pub cache: &'a mut KvCache,
    /// `None` for the base model.
    pub adapter: Option<&'a Adapter>,
}

/// For which rows logits are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Only the last token of each segment.
    Last,
    /// Every token.
    All,
}

/// How quantised matrices are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// In integers, with activations rounded to 16 bits: fast, what serving does.
    Integers,
    /// Dequantised, in float32: what training does.
    Float,
}

impl Decoder {
    /// The checked configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tokens that fit.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    pub(crate) fn threads(&self) -> Arc<rayon::ThreadPool> {
        Arc::clone(&self.threads)
    }

    /// Does some work on the threads that compute this model.
    pub fn on_threads<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The element type of everything between the layers: bfloat16 with such weights on a GPU, else float32.
    pub(crate) fn activations(&self) -> DType {
        match &self.head.weight {
            Matrix::Dense(weight) if weight.device().is_cuda() => weight.dtype(),
            _ => DType::F32,
        }
    }

    /// An empty KV cache for this model.
    ///
    /// # Errors
    /// When memory cannot be had on the device.
    pub fn new_cache(&self) -> Result<KvCache> {
        KvCache::new(&self.settings, self.activations(), &self.device)
    }

    /// Every linear layer that an adapter may attach to, in the order of their slots; the last is the output projection.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers
            .iter()
            .flat_map(|layer| &layer.linears)
            .chain(std::iter::once(&self.head))
    }

    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.layers
            .iter_mut()
            .flat_map(|layer| &mut layer.linears)
            .chain(std::iter::once(&mut self.head))
    }

    /// Computes the segments together and adds their tokens to their caches.
    ///
    /// # Shapes
    /// (segments, vocabulary) for [`Wanted::Last`]; (tokens of all segments, vocabulary) for [`Wanted::All`].
    ///
    /// # Guarantees
    /// Each segment gets the numbers that it gets alone, up to rounding; single tokens of a quantised model to the last bit.
    ///
    /// # Errors
    /// A segment without tokens, a token outside the vocabulary, a context that is full.
    pub fn forward(
        &self,
        segments: &mut [Segment<'_>],
        wanted: Wanted,
        products: Products,
    ) -> Result<Tensor> {
        // On a thread of the pool: the loops below then share its threads without a hand-over each.
        let threads = Arc::clone(&self.threads);
        threads.install(|| self.compute(segments, wanted, products))
    }

    fn compute(
        &self,
        segments: &mut [Segment<'_>],
        wanted: Wanted,
        products: Products,
    ) -> Result<Tensor> {
        let hidden = self.hidden(segments, products)?;
        let rows = match wanted {
            Wanted::All => hidden,
            Wanted::Last => last_rows(&hidden, segments)?,
        };
        let normed = layer::norm(&rows, &self.norm, self.settings.rms_norm_eps)?;
        self.logits(&normed, segments, wanted, products)
    }

    /// The residual stream after the last layer, before the last norm: (tokens of all segments, hidden).
    fn hidden(&self, segments: &mut [Segment<'_>], products: Products) -> Result<Tensor> {
        let mut x = self.embed(&joined_tokens(segments))?;
        let pass = self.pass(segments, products)?;
        for segment in segments.iter_mut() {
            segment.cache.reserve(segment.tokens.len())?;
        }
        let mut caches: Vec<&mut KvCache> = segments
            .iter_mut()
            .map(|segment| &mut *segment.cache)
            .collect();
        for layer in &self.layers {
            x = layer.infer(&x, &pass, &mut caches)?;
        }
        for segment in segments.iter_mut() {
            segment.cache.commit(segment.tokens);
        }
        Ok(x)
    }

    /// Hugging Face's `hidden_states` of one sequence: the embeddings, the residual stream after each layer, and as the
    /// last one that of the last layer after the final norm. Each is (tokens, hidden).
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn hidden_states(&self, tokens: &[u32], adapter: Option<&Adapter>) -> Result<Vec<Tensor>> {
        let mut cache = self.new_cache()?;
        cache.reserve(tokens.len())?;
        let segment = Segment {
            tokens,
            cache: &mut cache,
            adapter,
        };
        let pass = self.pass(std::slice::from_ref(&segment), Products::Float)?;
        let mut states = vec![self.embed(tokens)?];
        for layer in &self.layers {
            let x = layer.infer(&states[states.len() - 1], &pass, &mut [&mut *segment.cache])?;
            states.push(x);
        }
        if let Some(last) = states.last_mut() {
            *last = layer::norm(last, &self.norm, self.settings.rms_norm_eps)?;
        }
        Ok(states)
    }

    /// Logits of rows of equal length, as Hugging Face's `model(input_ids)` gives them, in float32.
    ///
    /// # Shapes
    /// `ids` holds rows of one length; the result is (rows, tokens, vocabulary).
    ///
    /// # Errors
    /// Rows of several lengths or none; as [`Decoder::forward`].
    pub fn all_logits(&self, ids: &[Vec<u32>], adapter: Option<&Adapter>) -> Result<Tensor> {
        let length = ids.first().map_or(0, Vec::len);
        if length == 0 || ids.iter().any(|row| row.len() != length) {
            return Err(ModelError::Invalid(
                "the rows of ids must have one length of at least 1".to_owned(),
            ));
        }
        let mut rows = Vec::with_capacity(ids.len());
        for tokens in ids {
            let mut cache = self.new_cache()?;
            rows.push(self.forward(
                &mut [Segment {
                    tokens,
                    cache: &mut cache,
                    adapter,
                }],
                Wanted::All,
                Products::Float,
            )?);
        }
        Ok(Tensor::stack(&rows, 0)?)
    }

    fn pass<'a>(&self, segments: &[Segment<'a>], products: Products) -> Result<Pass<'a>> {
        let mut ranges = Vec::with_capacity(segments.len());
        let mut rows = Vec::new();
        for segment in segments {
            if segment.tokens.is_empty() {
                return Err(ModelError::Invalid(
                    "a segment needs at least one token".to_owned(),
                ));
            }
            ranges.push(rows.len()..rows.len() + segment.tokens.len());
            let first = segment.cache.len();
            rows.extend(
                (first..first + segment.tokens.len())
                    .map(|position| u32::try_from(position).unwrap_or(u32::MAX)),
            );
        }
        Ok(Pass {
            segments: ranges,
            adapters: segments.iter().map(|segment| segment.adapter).collect(),
            angles: self.angles(rows)?,
            integers: products == Products::Integers,
        })
    }

    /// The angles of rows at these positions, by index of the rotation.
    pub(crate) fn angles(&self, rows: Vec<u32>) -> Result<Vec<Angles>> {
        let positions = positions(rows, self.context_length, &self.device)?;
        self.rotaries
            .iter()
            .map(|rotary| rotary.angles(&positions))
            .collect()
    }

    /// The embeddings of tokens: (tokens, hidden).
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        if let Some(token) = tokens
            .iter()
            .find(|token| **token as usize >= self.settings.vocab_size)
        {
            return Err(ModelError::Invalid(format!(
                "token {token} is not in the vocabulary of {}",
                self.settings.vocab_size
            )));
        }
        let rows = self.embedding.rows(tokens)?.to_dtype(self.activations())?;
        match self.settings.embedding_scale {
            Some(scale) => Ok((rows * scale)?),
            None => Ok(rows),
        }
    }

    fn logits(
        &self,
        normed: &Tensor,
        segments: &[Segment<'_>],
        wanted: Wanted,
        products: Products,
    ) -> Result<Tensor> {
        let integers = products == Products::Integers || wanted == Wanted::Last;
        let mut start = 0;
        let mut ranges = Vec::with_capacity(segments.len());
        for segment in segments {
            let rows = if wanted == Wanted::Last {
                1
            } else {
                segment.tokens.len()
            };
            ranges.push(start..start + rows);
            start += rows;
        }
        let pass = Pass {
            segments: ranges,
            adapters: segments.iter().map(|segment| segment.adapter).collect(),
            angles: Vec::new(),
            integers,
        };
        pass.linear(&self.head, normed)
    }
}

fn joined_tokens(segments: &[Segment<'_>]) -> Vec<u32> {
    segments
        .iter()
        .flat_map(|segment| segment.tokens.iter().copied())
        .collect()
}

fn last_rows(hidden: &Tensor, segments: &[Segment<'_>]) -> Result<Tensor> {
    let ends = segments.iter().scan(0u32, |end, segment| {
        *end += u32::try_from(segment.tokens.len()).ok()?;
        Some(*end - 1)
    });
    let ends: Vec<u32> = ends.collect();
    Ok(hidden.index_select(&Tensor::new(ends.as_slice(), hidden.device())?, 0)?)
}
