//! What a decoder looks like, checked: read from `config.json` or from GGUF metadata, never guessed.

mod gguf;
mod hugging_face;

pub(crate) use gguf::{text as gguf_text, token_id as gguf_token_id};
pub(crate) use hugging_face::token_ids;

use crate::error::{ModelError, Result};
use serde::Serialize;

/// The families of decoders that Lore computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama 2 and 3, `SmolLM` and `SmolLM2`.
    Llama,
    /// Mistral 7B and relatives: Llama with a sliding window.
    Mistral,
    /// Qwen 2 and 2.5: biases on query, key and value.
    Qwen2,
    /// Qwen 3: norms on query and key.
    Qwen3,
    /// Gemma 3, text only.
    Gemma3,
}

/// The function between the two halves of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// GELU in its tanh approximation.
    GeluTanh,
}

/// How rotation frequencies are changed for long contexts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Every frequency divided by the factor.
    Linear(f64),
    /// Llama 3.1: low frequencies divided by `factor`, a smooth passage, high ones kept.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are scaled wholly.
        low_freq_factor: f64,
        /// Wavelengths below `original / high` are kept.
        high_freq_factor: f64,
        /// The context that the base was trained with, in tokens.
        original_max_position_embeddings: f64,
    },
    /// A divisor for each frequency, as GGUF files carry it; `head_dim / 2` of them.
    Factors(Vec<f32>),
}

/// Rotary position embedding of some of the layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RopeSettings {
    /// Base of the frequencies.
    pub theta: f64,
    /// Their change for long contexts.
    pub scaling: RopeScaling,
}

/// What differs from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LayerSettings {
    /// A token sees itself and the `window - 1` tokens before it; `None`: all before it.
    pub window: Option<usize>,
    /// Index into [`Settings::ropes`].
    pub rope: usize,
}

/// A checked configuration. The names are Hugging Face's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The family.
    pub architecture: Architecture,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f64,
    /// Longest context that the model knows, in tokens.
    pub max_position_embeddings: usize,
    /// Whether the output projection is the embedding table.
    pub tie_word_embeddings: bool,
    /// The MLP's function.
    pub activation: Activation,
    /// Biases on query, key and value.
    pub qkv_bias: bool,
    /// A bias on the attention's output.
    pub output_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// Norms on each query and key head before rotation.
    pub qk_norm: bool,
    /// Norms after attention and after the MLP too.
    pub sandwich_norms: bool,
    /// Norm weights are stored minus one (Gemma's safetensors).
    pub norm_plus_one: bool,
    /// Multiplies embeddings.
    pub embedding_scale: Option<f64>,
    /// Multiplies query · key.
    pub attention_scale: f64,
    /// Rotations in use.
    pub ropes: Vec<RopeSettings>,
    /// Layer by layer.
    pub layers: Vec<LayerSettings>,
    /// Tokens that end an answer, as far as the configuration says.
    pub eos_token_ids: Vec<u32>,
    /// The token that starts a text, where there is one.
    pub bos_token_id: Option<u32>,
}

impl Settings {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// Names the architecture or the setting that is missing, contradictory or not supported.
    pub fn from_config_json(text: &str) -> Result<Self> {
        let settings = hugging_face::read(text)?;
        settings.check()?;
        Ok(settings)
    }

    /// Reads the metadata of a GGUF file.
    ///
    /// # Errors
    /// As [`Settings::from_config_json`].
    pub fn from_gguf(content: &candle_core::quantized::gguf_file::Content) -> Result<Self> {
        let settings = gguf::read(content)?;
        settings.check()?;
        Ok(settings)
    }

    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("num_hidden_layers", self.layers.len()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (setting, size) in sizes {
            if size == 0 {
                return Err(ModelError::unsupported(setting, 0));
            }
        }
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            return Err(ModelError::unsupported(
                "num_key_value_heads",
                self.num_key_value_heads,
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ModelError::unsupported("head_dim", self.head_dim));
        }
        if let Some(window) = self
            .layers
            .iter()
            .filter_map(|layer| layer.window)
            .find(|window| *window == 0)
        {
            return Err(ModelError::unsupported("sliding_window", window));
        }
        self.ropes
            .iter()
            .try_for_each(|rope| check_rope(rope, self.head_dim))
    }
}

fn check_rope(rope: &RopeSettings, head_dim: usize) -> Result<()> {
    if !(rope.theta.is_finite() && rope.theta > 0.0) {
        return Err(ModelError::unsupported("rope_theta", rope.theta));
    }
    match &rope.scaling {
        RopeScaling::Linear(factor) | RopeScaling::Llama3 { factor, .. }
            if !(factor.is_finite() && *factor > 0.0) =>
        {
            Err(ModelError::unsupported("rope_scaling.factor", factor))
        }
        RopeScaling::Llama3 {
            low_freq_factor,
            high_freq_factor,
            ..
        } if high_freq_factor <= low_freq_factor => Err(ModelError::unsupported(
            "rope_scaling.high_freq_factor",
            high_freq_factor,
        )),
        RopeScaling::Factors(factors) if factors.len() != head_dim / 2 => {
            Err(ModelError::WrongShape {
                name: "rope_freqs.weight".to_owned(),
                expected: vec![head_dim / 2],
                actual: vec![factors.len()],
            })
        }
        _ => Ok(()),
    }
}
