use super::same::check_same;
use super::weights::Weights;
use crate::decoder::frequencies;
use crate::error::{ModelError, Result};
use crate::settings::{Activation, Architecture, RopeScaling, RopeSettings, Settings};
use crate::weights::Source;
use serde_json::{Map, Value, json};

/// The text of `config.json` for what is written.
pub(super) fn text(weights: &Weights<'_>) -> Result<String> {
    let mut config = match weights.source {
        Source::Folder(folder) => own(&folder.config_json()?)?,
        Source::Gguf(_) => from_settings(&weights.settings)?,
    };
    config.insert(
        "tie_word_embeddings".to_owned(),
        weights.settings.tie_word_embeddings.into(),
    );
    if weights.is_trained() || matches!(weights.source, Source::Gguf(_)) {
        let key = if config.contains_key("dtype") {
            "dtype"
        } else {
            "torch_dtype"
        };
        config.insert(key.to_owned(), "float32".into());
    }
    let text = format!("{:#}\n", Value::Object(config));
    check_same(&weights.settings, &Settings::from_config_json(&text)?)?;
    Ok(text)
}

/// The base's own configuration; of Gemma's multimodal one the part that describes the decoder.
fn own(text: &str) -> Result<Map<String, Value>> {
    let Ok(Value::Object(mut config)) = serde_json::from_str(text) else {
        return Err(ModelError::Invalid(
            "config.json is not an object".to_owned(),
        ));
    };
    let Some(Value::Object(mut inner)) = config.remove("text_config") else {
        return Ok(config);
    };
    for key in ["eos_token_id", "bos_token_id", "torch_dtype", "dtype"] {
        if let (false, Some(value)) = (inner.contains_key(key), config.remove(key)) {
            inner.insert(key.to_owned(), value);
        }
    }
    inner.insert("model_type".to_owned(), "gemma3_text".into());
    inner.insert("architectures".to_owned(), json!(["Gemma3ForCausalLM"]));
    Ok(inner)
}

fn from_settings(s: &Settings) -> Result<Map<String, Value>> {
    let windowed = s.layers.iter().any(|layer| layer.window.is_some());
    let (model_type, class) = match s.architecture {
        // In GGUF files Mistral is a llama with a window.
        Architecture::Llama if windowed => ("mistral", "MistralForCausalLM"),
        Architecture::Llama => ("llama", "LlamaForCausalLM"),
        Architecture::Mistral => ("mistral", "MistralForCausalLM"),
        Architecture::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
        Architecture::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
        Architecture::Gemma3 => ("gemma3_text", "Gemma3ForCausalLM"),
    };
    let config = json!({
        "architectures": [class],
        "model_type": model_type,
        "vocab_size": s.vocab_size,
        "hidden_size": s.hidden_size,
        "intermediate_size": s.intermediate_size,
        "num_hidden_layers": s.layers.len(),
        "num_attention_heads": s.num_attention_heads,
        "num_key_value_heads": s.num_key_value_heads,
        "head_dim": s.head_dim,
        "rms_norm_eps": short(s.rms_norm_eps),
        "max_position_embeddings": s.max_position_embeddings,
        "mlp_bias": s.mlp_bias,
        "attention_bias": s.output_bias,
        "bos_token_id": s.bos_token_id,
        "eos_token_id": s.eos_token_ids,
        "use_cache": true,
    });
    let Value::Object(mut config) = config else {
        return Err(ModelError::MissingSetting("model_type".to_owned()));
    };
    let name = match s.activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
    };
    config.insert("hidden_act".to_owned(), name.into());
    add_ropes(&mut config, s)?;
    add_windows(&mut config, s);
    if s.architecture == Architecture::Gemma3 {
        config.insert("hidden_activation".to_owned(), name.into());
        let scalar = (1.0 / (s.attention_scale * s.attention_scale)).round();
        config.insert("query_pre_attn_scalar".to_owned(), json!(scalar));
    }
    Ok(config)
}

/// GGUF stores float32; 9.999999747e-6 was 1e-5.
fn short(value: f64) -> Value {
    let value = (value as f32).to_string().parse().unwrap_or(value);
    json!(value)
}

fn add_ropes(config: &mut Map<String, Value>, s: &Settings) -> Result<()> {
    let Some(rope) = s.ropes.first() else {
        return Err(ModelError::MissingSetting("rope_theta".to_owned()));
    };
    config.insert("rope_theta".to_owned(), short(rope.theta));
    config.insert("rope_scaling".to_owned(), scaling(rope, s.head_dim)?);
    if let Some(local) = s.ropes.get(1) {
        config.insert("rope_local_base_freq".to_owned(), short(local.theta));
    }
    Ok(())
}

fn scaling(rope: &RopeSettings, head_dim: usize) -> Result<Value> {
    match &rope.scaling {
        RopeScaling::None => Ok(Value::Null),
        RopeScaling::Linear(factor) => Ok(json!({"rope_type": "linear", "factor": short(*factor)})),
        scaling => known_llama3(rope, head_dim)
            .ok_or_else(|| ModelError::unsupported("rope_freqs.weight", format!("{scaling:?}"))),
    }
}

/// GGUF files hold the frequencies' divisors alone; these are the settings that Llama 3.1 and 3.2 were published with.
fn known_llama3(rope: &RopeSettings, head_dim: usize) -> Option<Value> {
    let wanted = frequencies(rope, head_dim);
    [8.0, 32.0, 16.0, 4.0, 2.0].into_iter().find_map(|factor| {
        let guess = RopeSettings {
            theta: rope.theta,
            scaling: RopeScaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192.0,
            },
        };
        let found = frequencies(&guess, head_dim);
        let equal = found.iter().zip(&wanted).all(|(a, b)| (a / b - 1.0).abs() < 1e-4);
        equal.then(|| {
            json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            })
        })
    })
}

fn add_windows(config: &mut Map<String, Value>, s: &Settings) {
    let window = s.layers.iter().find_map(|layer| layer.window);
    if matches!(s.architecture, Architecture::Llama) && window.is_none() {
        return;
    }
    config.insert("sliding_window".to_owned(), json!(window));
    if matches!(s.architecture, Architecture::Qwen2 | Architecture::Qwen3) {
        config.insert("use_sliding_window".to_owned(), window.is_some().into());
    }
    if window.is_some() && s.architecture != Architecture::Llama {
        let kind = |window: Option<usize>| {
            if window.is_some() {
                "sliding_attention"
            } else {
                "full_attention"
            }
        };
        let kinds: Vec<&str> = s.layers.iter().map(|layer| kind(layer.window)).collect();
        config.insert("layer_types".to_owned(), json!(kinds));
    }
}
