mod layers;
mod ropes;

use super::{Activation, Architecture, Settings};
use crate::error::{ModelError, Result};
use serde_json::{Map, Value};

/// Settings that change the numbers and that no supported architecture computes. They pass only when they are switched off.
const REFUSED: [&str; 19] = [
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_bidirectional_attention",
    "quantization_config",
    "compression_config",
    "attention_multiplier",
    "residual_multiplier",
    "embedding_multiplier",
    "logits_scaling",
    "logit_scale",
    "use_qk_norm",
    "use_sliding_window_alternating",
    "no_rope_layers",
    "no_rope_layer_interval",
    "num_experts",
    "num_local_experts",
    "clip_qkv",
    "alibi",
    "parallel_attn",
];

/// The part of `config.json` that the text decoder uses, with typed access that names what is wrong.
struct Config {
    map: Map<String, Value>,
}

pub(super) fn read(text: &str) -> Result<Settings> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| ModelError::Invalid(format!("config.json is not JSON: {e}")))?;
    let Value::Object(map) = value else {
        return Err(ModelError::Invalid(
            "config.json is not an object".to_owned(),
        ));
    };
    let config = text_part(map)?;
    config.refuse_unsupported()?;
    let architecture = config.architecture()?;
    config.settings(architecture)
}

/// Gemma 3's multimodal files keep the decoder's settings one level down.
fn text_part(mut map: Map<String, Value>) -> Result<Config> {
    match map.remove("text_config") {
        Some(Value::Object(mut inner)) => {
            for key in ["eos_token_id", "bos_token_id", "tie_word_embeddings"] {
                if let (false, Some(value)) = (inner.contains_key(key), map.get(key)) {
                    inner.insert(key.to_owned(), value.clone());
                }
            }
            let outer = map
                .get("model_type")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            inner
                .entry("model_type")
                .or_insert(Value::String(format!("{outer}_text")));
            Ok(Config { map: inner })
        }
        Some(other) => Err(ModelError::unsupported("text_config", other)),
        None => Ok(Config { map }),
    }
}

impl Config {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let wrong = || ModelError::MissingSetting(key.to_owned());
        self.get(key)
            .map(|value| {
                value
                    .as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(wrong)
            })
            .transpose()
    }

    fn needed(&self, key: &str) -> Result<usize> {
        self.size(key)?
            .ok_or_else(|| ModelError::MissingSetting(key.to_owned()))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        number(&self.map, key)
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| ModelError::MissingSetting(key.to_owned())),
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        for key in REFUSED {
            if let Some(value) = self.get(key).filter(|value| **value != Value::Bool(false)) {
                return Err(ModelError::unsupported(key, value));
            }
        }
        for key in ["partial_rotary_factor", "rotary_pct"] {
            if let Some(value) = self.number(key)?.filter(|value| *value != 1.0) {
                return Err(ModelError::unsupported(key, value));
            }
        }
        Ok(())
    }

    fn architecture(&self) -> Result<Architecture> {
        let class = self
            .get("architectures")
            .and_then(|list| list.get(0))
            .and_then(Value::as_str);
        let kind = self.get("model_type").and_then(Value::as_str);
        let named = kind
            .or(class)
            .ok_or_else(|| ModelError::MissingSetting("model_type".to_owned()))?;
        let architecture = match named {
            "llama" | "LlamaForCausalLM" => Architecture::Llama,
            "mistral" | "MistralForCausalLM" => Architecture::Mistral,
            "qwen2" | "Qwen2ForCausalLM" => Architecture::Qwen2,
            "qwen3" | "Qwen3ForCausalLM" => Architecture::Qwen3,
            "gemma3_text" | "Gemma3ForCausalLM" => Architecture::Gemma3,
            other => return Err(ModelError::UnknownArchitecture(other.to_owned())),
        };
        match class {
            Some(class) if !class.ends_with("ForCausalLM") && !class.starts_with("Gemma3") => {
                Err(ModelError::UnknownArchitecture(class.to_owned()))
            }
            _ => Ok(architecture),
        }
    }

    fn settings(&self, architecture: Architecture) -> Result<Settings> {
        use Architecture::{Gemma3, Llama, Mistral, Qwen2, Qwen3};
        let gemma = architecture == Gemma3;
        let hidden_size = self.needed("hidden_size")?;
        let heads = match self.size("num_attention_heads")? {
            None if gemma => 8,
            other => {
                other.ok_or_else(|| ModelError::MissingSetting("num_attention_heads".to_owned()))?
            }
        };
        let attention_bias = self.flag("attention_bias", false)?;
        let head_dim = self.head_dim(architecture, hidden_size, heads)?;
        let layers = self.needed("num_hidden_layers")?;
        let (ropes, rope_of) = self.ropes(architecture, head_dim)?;
        Ok(Settings {
            architecture,
            vocab_size: self
                .size("vocab_size")?
                .or(gemma.then_some(262_208))
                .ok_or_else(|| ModelError::MissingSetting("vocab_size".to_owned()))?,
            hidden_size,
            intermediate_size: self.needed("intermediate_size")?,
            num_attention_heads: heads,
            num_key_value_heads: self
                .size("num_key_value_heads")?
                .unwrap_or(match architecture {
                    Llama => heads,
                    Mistral => 8,
                    Qwen2 | Qwen3 => 32,
                    Gemma3 => 4,
                }),
            head_dim,
            rms_norm_eps: self.number("rms_norm_eps")?.unwrap_or(1e-6),
            max_position_embeddings: self.size("max_position_embeddings")?.unwrap_or(
                match architecture {
                    Llama => 2048,
                    Qwen2 | Qwen3 => 32_768,
                    Mistral | Gemma3 => 131_072,
                },
            ),
            tie_word_embeddings: self.flag("tie_word_embeddings", gemma)?,
            activation: self.activation(gemma)?,
            qkv_bias: attention_bias || architecture == Qwen2,
            output_bias: attention_bias && architecture != Qwen2,
            mlp_bias: self.flag("mlp_bias", false)?,
            qk_norm: matches!(architecture, Qwen3 | Gemma3),
            sandwich_norms: gemma,
            norm_plus_one: gemma,
            embedding_scale: gemma.then(|| (hidden_size as f64).sqrt()),
            attention_scale: 1.0 / self.query_scalar(gemma, head_dim)?.sqrt(),
            layers: self.layers(architecture, layers, rope_of)?,
            ropes,
            eos_token_ids: self.token_ids("eos_token_id"),
            bos_token_id: self.token_ids("bos_token_id").first().copied(),
        })
    }

    fn head_dim(
        &self,
        architecture: Architecture,
        hidden_size: usize,
        heads: usize,
    ) -> Result<usize> {
        if let Some(head_dim) = self.size("head_dim")? {
            return Ok(head_dim);
        }
        match architecture {
            Architecture::Gemma3 => Ok(256),
            Architecture::Qwen3 => Ok(128),
            _ if heads > 0 && hidden_size.is_multiple_of(heads) => Ok(hidden_size / heads),
            _ => Err(ModelError::unsupported("num_attention_heads", heads)),
        }
    }

    fn query_scalar(&self, gemma: bool, head_dim: usize) -> Result<f64> {
        match self.number("query_pre_attn_scalar")? {
            Some(value) if gemma && value > 0.0 => Ok(value),
            Some(value) => Err(ModelError::unsupported("query_pre_attn_scalar", value)),
            None if gemma => Ok(256.0),
            None => Ok(head_dim as f64),
        }
    }

    fn activation(&self, gemma: bool) -> Result<Activation> {
        let key = if gemma {
            "hidden_activation"
        } else {
            "hidden_act"
        };
        let default = if gemma { "gelu_pytorch_tanh" } else { "silu" };
        match self.get(key).map_or(Some(default), Value::as_str) {
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            other => Err(ModelError::unsupported(key, other.unwrap_or("not a text"))),
        }
    }

    fn token_ids(&self, key: &str) -> Vec<u32> {
        token_ids(self.get(key))
    }
}

fn number(map: &Map<String, Value>, key: &str) -> Result<Option<f64>> {
    match map.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .map(Some)
            .ok_or_else(|| ModelError::MissingSetting(key.to_owned())),
    }
}

/// A token id or a list of them.
pub(crate) fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}
