use super::attention::{Cached, attend_cached};
use super::cache::KvCache;
use super::linear::{self, AdaptedRows, Linear};
use super::rotary::Angles;
use crate::error::{ModelError, Result};
use crate::kernels::{Gated, Heads, NormRows};
use crate::lora::Adapter;
use crate::settings::{Activation, LayerSettings, Settings};
use crate::weights::Source;
use candle_core::{Device, Tensor};
use std::ops::Range;

/// Modules of one layer that adapters may target, in the order of their slots.
pub(crate) const MODULES: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// One block of the decoder.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) index: usize,
    pub(crate) settings: LayerSettings,
    pub(crate) heads: Heads,
    /// In the order of [`MODULES`].
    pub(crate) linears: [Linear; 7],
    pub(crate) query_norm: Option<Tensor>,
    pub(crate) key_norm: Option<Tensor>,
    pub(crate) input_norm: Tensor,
    /// After attention, before the sum (Gemma).
    pub(crate) attention_norm: Option<Tensor>,
    pub(crate) mlp_norm: Tensor,
    /// After the MLP, before the sum (Gemma).
    pub(crate) output_norm: Option<Tensor>,
    pub(crate) activation: Activation,
    pub(crate) eps: f32,
}

/// What the rows of one pass are: which sequence, which adapter, which positions.
pub(crate) struct Pass<'a> {
    /// Rows of each sequence, in order and without gaps.
    pub(crate) segments: Vec<Range<usize>>,
    /// The adapter of each sequence.
    pub(crate) adapters: Vec<Option<&'a Adapter>>,
    /// Angles by index of the rotation.
    pub(crate) angles: Vec<Angles>,
    /// Whether quantised products round the rows to 16 bits.
    pub(crate) integers: bool,
}

impl Pass<'_> {
    fn groups(&self, slot: usize) -> Vec<AdaptedRows<'_>> {
        if self.adapters.iter().all(Option::is_none) {
            return Vec::new();
        }
        let rows = self.segments.iter().cloned().zip(&self.adapters);
        rows.map(|(rows, adapter)| AdaptedRows {
            rows,
            pair: adapter.and_then(|adapter| adapter.pair(slot)),
            factors: adapter.and_then(|adapter| adapter.factors(slot)),
        })
        .collect()
    }

    pub(crate) fn linear(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        let [y] = self.linears([linear], x)?;
        Ok(y)
    }

    /// Several linear layers of one x.
    fn linears<const N: usize>(&self, linears: [&Linear; N], x: &Tensor) -> Result<[Tensor; N]> {
        let groups = linears.map(|linear| self.groups(linear.slot));
        let results = linear::infer(&linears, x, &groups, self.integers)?;
        results
            .try_into()
            .map_err(|_| ModelError::Invalid("a product is missing".to_owned()))
    }
}

/// Loads tensors of one layer by their names below its prefix.
struct Loader<'a> {
    source: &'a Source,
    settings: &'a Settings,
    device: &'a Device,
    index: usize,
}

impl Loader<'_> {
    fn norm(&self, name: &str, size: usize) -> Result<Tensor> {
        load_norm(
            self.source,
            self.settings,
            &format!("model.layers.{}.{name}.weight", self.index),
            size,
            self.device,
        )
    }

    fn linear(&self, module: usize, outputs: usize, inputs: usize, bias: bool) -> Result<Linear> {
        let name = format!("model.layers.{}.{}", self.index, MODULES[module]);
        Linear::load(
            self.source,
            name,
            self.index * MODULES.len() + module,
            [outputs, inputs],
            bias,
            self.device,
        )
    }

    fn linears(&self) -> Result<[Linear; 7]> {
        let s = self.settings;
        let (hidden, queries, keys, mlp) = (
            s.hidden_size,
            s.query_size(),
            s.key_value_size(),
            s.intermediate_size,
        );
        Ok([
            self.linear(0, queries, hidden, s.qkv_bias)?,
            self.linear(1, keys, hidden, s.qkv_bias)?,
            self.linear(2, keys, hidden, s.qkv_bias)?,
            self.linear(3, hidden, queries, s.output_bias)?,
            self.linear(4, mlp, hidden, s.mlp_bias)?,
            self.linear(5, mlp, hidden, s.mlp_bias)?,
            self.linear(6, hidden, mlp, s.mlp_bias)?,
        ])
    }
}

/// A norm's weight, with Gemma's missing one added.
pub(crate) fn load_norm(
    source: &Source,
    settings: &Settings,
    name: &str,
    size: usize,
    device: &Device,
) -> Result<Tensor> {
    let weight = source.tensor(name, &[size], device)?;
    if settings.norm_plus_one {
        Ok((weight + 1.0)?)
    } else {
        Ok(weight)
    }
}

impl Layer {
    pub(crate) fn load(
        source: &Source,
        settings: &Settings,
        index: usize,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader {
            source,
            settings,
            device,
            index,
        };
        let hidden = settings.hidden_size;
        let head_norm = |name: &str| {
            settings
                .qk_norm
                .then(|| loader.norm(name, settings.head_dim))
                .transpose()
        };
        let sandwich = |name: &str| {
            settings
                .sandwich_norms
                .then(|| loader.norm(name, hidden))
                .transpose()
        };
        let mlp_norm = if settings.sandwich_norms {
            "pre_feedforward_layernorm"
        } else {
            "post_attention_layernorm"
        };
        Ok(Self {
            index,
            settings: settings.layers[index],
            heads: Heads {
                queries: settings.num_attention_heads,
                keys: settings.num_key_value_heads,
                width: settings.head_dim,
                window: settings.layers[index].window,
                scale: settings.attention_scale as f32,
            },
            linears: loader.linears()?,
            query_norm: head_norm("self_attn.q_norm")?,
            key_norm: head_norm("self_attn.k_norm")?,
            input_norm: loader.norm("input_layernorm", hidden)?,
            attention_norm: sandwich("post_attention_layernorm")?,
            mlp_norm: loader.norm(mlp_norm, hidden)?,
            output_norm: sandwich("post_feedforward_layernorm")?,
            activation: settings.activation,
            eps: settings.rms_norm_eps as f32,
        })
    }

    /// The layer's norms by their Hugging Face names below the layer.
    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Tensor)> {
        let (attention, mlp) = if self.attention_norm.is_some() {
            ("post_attention_layernorm", "pre_feedforward_layernorm")
        } else {
            ("", "post_attention_layernorm")
        };
        let always = [
            ("input_layernorm", &mut self.input_norm),
            (mlp, &mut self.mlp_norm),
        ];
        let some = [
            ("self_attn.q_norm", &mut self.query_norm),
            ("self_attn.k_norm", &mut self.key_norm),
            (attention, &mut self.attention_norm),
            ("post_feedforward_layernorm", &mut self.output_norm),
        ];
        let some = some
            .into_iter()
            .filter_map(|(name, norm)| Some((name, norm.as_mut()?)));
        always.into_iter().chain(some)
    }

    /// (rows, hidden) → (rows, hidden), without a graph; keys and values go to the caches.
    pub(crate) fn infer(
        &self,
        x: &Tensor,
        pass: &Pass<'_>,
        caches: &mut [&mut KvCache],
    ) -> Result<Tensor> {
        let attended = self.attention(&self.norm(x, &self.input_norm)?, pass, caches)?;
        let x = (x + self.sandwich(attended, self.attention_norm.as_ref())?)?;
        let changed = self.mlp(&self.norm(&x, &self.mlp_norm)?, pass)?;
        Ok((x + self.sandwich(changed, self.output_norm.as_ref())?)?)
    }

    fn norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        norm(x, weight, f64::from(self.eps))
    }

    fn sandwich(&self, x: Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        weight.map_or(Ok(x.clone()), |weight| self.norm(&x, weight))
    }

    fn attention(
        &self,
        x: &Tensor,
        pass: &Pass<'_>,
        caches: &mut [&mut KvCache],
    ) -> Result<Tensor> {
        let [q, k, v, o, ..] = &self.linears;
        let [queries, keys, values] = pass.linears([q, k, v], x)?;
        let queries = self.rotated(&queries, self.query_norm.as_ref(), pass)?;
        let keys = self.rotated(&keys, self.key_norm.as_ref(), pass)?;
        let mut sequences = Vec::with_capacity(caches.len());
        for (cache, rows) in caches.iter_mut().zip(&pass.segments) {
            let offset = cache.len();
            let part = |x: &Tensor| x.narrow(0, rows.start, rows.len());
            let cached = cache.write(self.index, &part(&keys)?, &part(&values)?)?;
            sequences.push(Cached {
                rows: rows.clone(),
                cache: cached.clone(),
                offset,
            });
        }
        let joined = attend_cached(&self.heads, &queries, &sequences)?;
        pass.linear(o, &joined)
    }

    /// Heads normed where the family does so, then rotated: (rows, heads · width) of any number of heads.
    fn rotated(&self, x: &Tensor, norm: Option<&Tensor>, pass: &Pass<'_>) -> Result<Tensor> {
        let (rows, size) = x.dims2()?;
        let heads = x.reshape((rows, size / self.heads.width, self.heads.width))?;
        let heads = norm.map_or(Ok(heads.clone()), |norm| self.norm(&heads, norm))?;
        Ok(pass.angles[self.settings.rope]
            .rotate(&heads)?
            .reshape((rows, size))?)
    }

    fn mlp(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let [.., gate, up, down] = &self.linears;
        let [gate, up] = pass.linears([gate, up], x)?;
        let gated = gated(self.activation, &gate, &up)?;
        pass.linear(down, &gated)
    }
}

/// RMSNorm over the last dimension, without a graph.
pub(super) fn norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if crate::cuda::computes(x) {
        return Ok(crate::cuda::rms_norm(&x.contiguous()?, None, weight, eps)?.1);
    }
    let (x, eps) = (x.contiguous()?, eps as f32);
    if x.device().is_cpu() {
        return Ok(x.apply_op2_no_bwd(weight, &NormRows { eps })?);
    }
    Ok(candle_nn::ops::rms_norm(&x, weight, eps)?)
}

fn gated(activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if crate::cuda::computes(gate) {
        return crate::cuda::gate(&gate.contiguous()?, &up.contiguous()?, activation);
    }
    if gate.device().is_cpu() {
        return Ok(gate
            .contiguous()?
            .apply_op2_no_bwd(&up.contiguous()?, &Gated(activation))?);
    }
    let activated = match activation {
        Activation::Silu => gate.silu()?,
        Activation::GeluTanh => gate.gelu()?,
    };
    Ok((activated * up)?)
}
