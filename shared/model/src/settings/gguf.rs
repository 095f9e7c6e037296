use super::{Activation, Architecture, LayerSettings, RopeScaling, RopeSettings, Settings};
use crate::error::{ModelError, Result};
use candle_core::quantized::gguf_file::{Content, Value};

/// GGUF metadata below one architecture's prefix, with typed access that names what is wrong.
struct Metadata<'a> {
    content: &'a Content,
    prefix: &'a str,
}

pub(super) fn read(content: &Content) -> Result<Settings> {
    let prefix = text(content, "general.architecture")
        .ok_or_else(|| ModelError::MissingSetting("general.architecture".to_owned()))?;
    let architecture = match prefix {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        "gemma3" => Architecture::Gemma3,
        other => return Err(ModelError::UnknownArchitecture(other.to_owned())),
    };
    let metadata = Metadata { content, prefix };
    metadata.refuse_unsupported()?;
    metadata.settings(architecture)
}

/// A text of the metadata.
pub(crate) fn text<'a>(content: &'a Content, key: &str) -> Option<&'a str> {
    match content.metadata.get(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A token id of the metadata.
pub(crate) fn token_id(content: &Content, key: &str) -> Option<u32> {
    content
        .metadata
        .get(key)
        .and_then(|value| value.to_u64().ok())
        .and_then(|id| u32::try_from(id).ok())
}

impl Metadata<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(&format!("{}.{key}", self.prefix))
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let wrong = || ModelError::MissingSetting(format!("{}.{key}", self.prefix));
        let convert = |value: &Value| match value {
            Value::I32(n) => usize::try_from(*n).map_err(|_| wrong()),
            other => other
                .to_u64()
                .ok()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(wrong),
        };
        self.get(key).map(convert).transpose()
    }

    fn needed(&self, key: &str) -> Result<usize> {
        self.size(key)?
            .ok_or_else(|| ModelError::MissingSetting(format!("{}.{key}", self.prefix)))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(value)) => Ok(Some(f64::from(*value))),
            Some(Value::F64(value)) => Ok(Some(*value)),
            Some(_) => Err(ModelError::MissingSetting(format!("{}.{key}", self.prefix))),
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        for key in [
            "expert_count",
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "attention.clamp_kqv",
            "attention.max_alibi_bias",
            "logit_scale",
        ] {
            if let Some(value) = self
                .get(key)
                .filter(|value| value.to_u64().ok() != Some(0) && value.to_f32().ok() != Some(0.0))
            {
                return Err(ModelError::unsupported(
                    &format!("{}.{key}", self.prefix),
                    format!("{value:?}"),
                ));
            }
        }
        Ok(())
    }

    fn settings(&self, architecture: Architecture) -> Result<Settings> {
        let gemma = architecture == Architecture::Gemma3;
        let hidden_size = self.needed("embedding_length")?;
        let heads = self.needed("attention.head_count")?;
        let head_dim = match self.size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => return Err(ModelError::unsupported("attention.head_count", heads)),
        };
        self.check_head_width(head_dim)?;
        let layers = self.needed("block_count")?;
        let has = |name: &str| self.content.tensor_infos.contains_key(name);
        let (ropes, rope_of) = self.ropes(gemma)?;
        Ok(Settings {
            architecture,
            vocab_size: self.vocab_size()?,
            hidden_size,
            intermediate_size: self.needed("feed_forward_length")?,
            num_attention_heads: heads,
            num_key_value_heads: self.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            rms_norm_eps: self.rms_norm_eps()?,
            max_position_embeddings: self.needed("context_length")?,
            tie_word_embeddings: !has("output.weight"),
            activation: if gemma {
                Activation::GeluTanh
            } else {
                Activation::Silu
            },
            qkv_bias: has("blk.0.attn_q.bias"),
            output_bias: has("blk.0.attn_output.bias"),
            mlp_bias: has("blk.0.ffn_up.bias"),
            qk_norm: matches!(architecture, Architecture::Qwen3 | Architecture::Gemma3),
            sandwich_norms: gemma,
            norm_plus_one: false,
            embedding_scale: gemma.then(|| (hidden_size as f64).sqrt()),
            attention_scale: 1.0
                / (self.query_scalar(gemma, layers, hidden_size / heads, head_dim) as f64).sqrt(),
            layers: self.layers(gemma, layers, rope_of)?,
            ropes,
            eos_token_ids: ["eos", "eot", "eom"]
                .iter()
                .filter_map(|name| {
                    token_id(self.content, &format!("tokenizer.ggml.{name}_token_id"))
                })
                .collect(),
            bos_token_id: token_id(self.content, "tokenizer.ggml.bos_token_id"),
        })
    }

    fn check_head_width(&self, head_dim: usize) -> Result<()> {
        for key in ["attention.value_length", "rope.dimension_count"] {
            if let Some(value) = self.size(key)?.filter(|value| *value != head_dim) {
                return Err(ModelError::unsupported(
                    &format!("{}.{key}", self.prefix),
                    value,
                ));
            }
        }
        Ok(())
    }

    fn rms_norm_eps(&self) -> Result<f64> {
        let key = "attention.layer_norm_rms_epsilon";
        self.number(key)?
            .ok_or_else(|| ModelError::MissingSetting(format!("{}.{key}", self.prefix)))
    }

    fn vocab_size(&self) -> Result<usize> {
        let name = "token_embd.weight";
        let info = self
            .content
            .tensor_infos
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
        Ok(info.shape.dims().first().copied().unwrap_or(0))
    }

    /// GGUF has no key for Gemma's query scalar: only the 27B (62 layers) departs from the head's width.
    fn query_scalar(&self, gemma: bool, layers: usize, per_head: usize, head_dim: usize) -> usize {
        if gemma && layers == 62 {
            per_head
        } else {
            head_dim
        }
    }

    fn layers(&self, gemma: bool, count: usize, rope_of: [usize; 2]) -> Result<Vec<LayerSettings>> {
        let window = self
            .size("attention.sliding_window")?
            .filter(|window| *window > 0);
        if gemma && window.is_none() {
            return Err(ModelError::MissingSetting(format!(
                "{}.attention.sliding_window",
                self.prefix
            )));
        }
        let pattern = self
            .size("attention.sliding_window_pattern")?
            .unwrap_or(6)
            .max(1);
        let layer = |index: usize| {
            let sliding = if gemma {
                !(index + 1).is_multiple_of(pattern)
            } else {
                window.is_some()
            };
            LayerSettings {
                window: window.filter(|_| sliding),
                rope: rope_of[usize::from(sliding)],
            }
        };
        Ok((0..count).map(layer).collect())
    }

    fn ropes(&self, gemma: bool) -> Result<(Vec<RopeSettings>, [usize; 2])> {
        let default = if gemma { 1_000_000.0 } else { 10_000.0 };
        let full = RopeSettings {
            theta: self.number("rope.freq_base")?.unwrap_or(default),
            scaling: self.rope_scaling()?,
        };
        if !gemma {
            return Ok((vec![full], [0, 0]));
        }
        let local = self.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
        Ok((
            vec![
                full,
                RopeSettings {
                    theta: local,
                    scaling: RopeScaling::None,
                },
            ],
            [0, 1],
        ))
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let factor = self
            .number("rope.scaling.factor")?
            .or(self.number("rope.scale_linear")?);
        match self.get("rope.scaling.type") {
            None => Ok(factor.map_or(RopeScaling::None, RopeScaling::Linear)),
            Some(Value::String(kind)) => match (kind.as_str(), factor) {
                ("none", _) | ("linear", None) => Ok(RopeScaling::None),
                ("linear", Some(factor)) => Ok(RopeScaling::Linear(factor)),
                (other, _) => Err(ModelError::unsupported(
                    &format!("{}.rope.scaling.type", self.prefix),
                    other,
                )),
            },
            Some(other) => Err(ModelError::unsupported(
                "rope.scaling.type",
                format!("{other:?}"),
            )),
        }
    }
}
