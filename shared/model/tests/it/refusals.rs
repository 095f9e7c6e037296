//! What is not supported is refused by its name, never approximated; damaged files are named.

use crate::folders::{decoder, parity};
use lore_model::{Adapter, LoraConfig, ModelError, Settings, Source, inspect};
use serde_json::{Value, json};

/// A small configuration of one architecture.
fn config(kind: &str) -> Value {
    json!({
        "model_type": kind, "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "head_dim": 8, "sliding_window": 4,
    })
}

fn with(kind: &str, key: &str, value: Value) -> Result<Settings, ModelError> {
    let mut config = config(kind);
    if kind == "llama" {
        config["sliding_window"] = Value::Null;
    }
    config[key] = value;
    Settings::from_config_json(&config.to_string())
}

#[test]
fn every_supported_architecture_is_read() {
    for kind in ["llama", "mistral", "qwen2", "qwen3", "gemma3_text"] {
        let settings = with(kind, "rms_norm_eps", json!(1e-5)).expect(kind);
        assert_eq!(settings.layers.len(), 2);
    }
}

#[test]
fn unsupported_settings_are_named() {
    for (kind, key, value, named) in [
        ("mixtral", "x", json!(1), "mixtral"),
        ("gpt2", "x", json!(1), "gpt2"),
        ("llama", "hidden_act", json!("relu2"), "relu2"),
        (
            "llama",
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 4.0}),
            "yarn",
        ),
        (
            "llama",
            "rope_parameters",
            json!({"rope_type": "longrope"}),
            "longrope",
        ),
        (
            "llama",
            "partial_rotary_factor",
            json!(0.5),
            "partial_rotary_factor",
        ),
        (
            "llama",
            "quantization_config",
            json!({"quant_method": "awq"}),
            "quantization_config",
        ),
        ("llama", "sliding_window", json!(128), "sliding_window"),
        (
            "qwen3",
            "layer_types",
            json!(["full_attention", "linear_attention"]),
            "linear_attention",
        ),
        (
            "gemma3_text",
            "final_logit_softcapping",
            json!(30.0),
            "final_logit_softcapping",
        ),
        (
            "gemma3_text",
            "use_bidirectional_attention",
            json!(true),
            "use_bidirectional_attention",
        ),
        (
            "llama",
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "LlamaForSequenceClassification",
        ),
        (
            "llama",
            "num_key_value_heads",
            json!(3),
            "num_key_value_heads",
        ),
        ("llama", "hidden_size", json!("large"), "hidden_size"),
        ("qwen2", "num_hidden_layers", json!(0), "num_hidden_layers"),
    ] {
        let error = with(kind, key, value).expect_err(named).to_string();
        assert!(error.contains(named), "{kind} {key}: {error}");
    }
}

#[test]
fn llama3_scaling_keeps_short_wavelengths_and_stretches_long_ones() {
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let settings = with("llama", "rope_scaling", scaling).expect("llama3");
    assert!(
        matches!(settings.ropes[0].scaling, lore_model::RopeScaling::Llama3 { factor, .. } if factor == 8.0)
    );
}

#[test]
fn adapters_that_ask_for_more_than_lora_are_refused_by_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("adapter_config.json");
    let plain = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"});
    for (key, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("modules_to_save", json!(["lm_head"])),
        ("peft_type", json!("IA3")),
        ("fan_in_fan_out", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("trainable_token_indices", json!([1])),
        ("a_key_of_the_future", json!("on")),
        ("r", json!(0)),
    ] {
        let mut config = plain.clone();
        config[key] = value;
        std::fs::write(&path, config.to_string()).expect("writing");
        let error = LoraConfig::read(&path).expect_err(key).to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
    std::fs::write(&path, plain.to_string()).expect("writing");
    assert_eq!(LoraConfig::read(&path).expect("plain LoRA").r, 4);
}

#[test]
fn an_adapter_of_another_base_is_refused_with_both_names() {
    let folders = parity();
    let (Some(small), Some(other)) = (
        folders.iter().find(|f| f.ends_with("llama-tied")),
        folders.iter().find(|f| f.ends_with("qwen3")),
    ) else {
        return;
    };
    let decoder = decoder(small);
    let error = Adapter::load(&other.join("adapter"), &decoder, "other-7", "llama-tied")
        .expect_err("another base")
        .to_string();
    assert!(
        error.contains("other-7") && error.contains("llama-tied"),
        "{error}"
    );
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    for bytes in [&b"GGUF"[..], b"not a model", b""] {
        std::fs::write(&path, bytes).expect("writing");
        let error = Source::open(&path).err().expect("damaged").to_string();
        assert!(error.contains("model.gguf"), "{error}");
    }
    let error = Source::open(&folder.path().join("missing"))
        .err()
        .expect("missing")
        .to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn inspecting_tells_what_is_in_a_checkpoint() {
    let Some(folder) = parity()
        .into_iter()
        .find(|folder| folder.ends_with("qwen3"))
    else {
        return;
    };
    let found = inspect(&folder).expect("the folder is read");
    assert_eq!(
        (found.format, found.settings.layers.len()),
        ("safetensors", 3)
    );
    assert_eq!(
        found.classes["model.layers.self_attn.q_proj.weight"]["F32"],
        3 * 128 * 64
    );
    assert!(found.tokenizer.is_none() && found.tokenizer_problem.is_some());
}
