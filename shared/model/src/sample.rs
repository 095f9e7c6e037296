//! Small models with random weights, of every family, for tests.

use crate::decoder::Decoder;
use crate::random::Random;
use crate::weights::{Source, write_safetensors};
use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every architecture with its own parts: biases, norms of heads, norms after blocks, windows, a tied table.
pub(crate) const FAMILIES: [&str; 4] = ["llama", "qwen2", "qwen3", "gemma3_text"];

/// The size of a sample.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) head_dim: usize,
    pub(crate) hidden: usize,
    pub(crate) mlp: usize,
    pub(crate) vocabulary: usize,
}

/// The smallest that has everything.
pub(crate) const TINY: Size = Size {
    head_dim: 8,
    hidden: 16,
    mlp: 24,
    vocabulary: 40,
};

const LAYERS: usize = 2;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;

fn config(family: &str, size: Size) -> Value {
    let mut config = json!({
        "model_type": family, "vocab_size": size.vocabulary, "hidden_size": size.hidden, "intermediate_size": size.mlp,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS,
        "head_dim": size.head_dim, "max_position_embeddings": 512, "eos_token_id": 1,
        "tie_word_embeddings": family == "llama" || family == "gemma3_text",
    });
    if family == "gemma3_text" {
        config["sliding_window"] = json!(5);
        config["layer_types"] = json!(["sliding_attention", "full_attention"]);
        config["query_pre_attn_scalar"] = json!(size.head_dim);
        config["hidden_activation"] = json!("gelu_pytorch_tanh");
    }
    config
}

struct Weights {
    random: Random,
    all: BTreeMap<String, Tensor>,
}

impl Weights {
    fn add(&mut self, name: &str, shape: &[usize], center: f32, width: f32) {
        let count = shape.iter().product();
        let value = |random: &mut Random| center + (random.uniform() * 2.0 - 1.0) * width;
        let values: Vec<f32> = (0..count).map(|_| value(&mut self.random)).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor");
        self.all.insert(name.to_owned(), tensor);
    }

    fn layer(&mut self, family: &str, size: Size, prefix: &str) {
        let (queries, keys) = (HEADS * size.head_dim, KEY_HEADS * size.head_dim);
        for (module, outputs, inputs) in [
            ("self_attn.q_proj", queries, size.hidden),
            ("self_attn.k_proj", keys, size.hidden),
            ("self_attn.v_proj", keys, size.hidden),
            ("self_attn.o_proj", size.hidden, queries),
            ("mlp.gate_proj", size.mlp, size.hidden),
            ("mlp.up_proj", size.mlp, size.hidden),
            ("mlp.down_proj", size.hidden, size.mlp),
        ] {
            let width = 1.5 / (inputs as f32).sqrt();
            self.add(
                &format!("{prefix}.{module}.weight"),
                &[outputs, inputs],
                0.0,
                width,
            );
            if family == "qwen2"
                && matches!(
                    module,
                    "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj"
                )
            {
                self.add(&format!("{prefix}.{module}.bias"), &[outputs], 0.0, 0.5);
            }
        }
        // Gemma's norms leave out the one that is added to them.
        let gemma = family == "gemma3_text";
        let center = if gemma { 0.0 } else { 1.0 };
        let mut norm =
            |name: &str, width| self.add(&format!("{prefix}.{name}.weight"), &[width], center, 0.3);
        norm("input_layernorm", size.hidden);
        norm("post_attention_layernorm", size.hidden);
        if gemma {
            norm("pre_feedforward_layernorm", size.hidden);
            norm("post_feedforward_layernorm", size.hidden);
        }
        if gemma || family == "qwen3" {
            norm("self_attn.q_norm", size.head_dim);
            norm("self_attn.k_norm", size.head_dim);
        }
    }
}

/// A model of a family on a device; the same weights for the same family and size.
pub(crate) fn decoder(family: &str, size: Size, device: &Device) -> Decoder {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(family, size).to_string();
    std::fs::write(folder.path().join("config.json"), config).expect("writing");
    let mut weights = Weights {
        random: Random::new(7),
        all: BTreeMap::new(),
    };
    for layer in 0..LAYERS {
        weights.layer(family, size, &format!("model.layers.{layer}"));
    }
    weights.add(
        "model.embed_tokens.weight",
        &[size.vocabulary, size.hidden],
        0.0,
        0.5,
    );
    weights.add("lm_head.weight", &[size.vocabulary, size.hidden], 0.0, 0.5);
    weights.add("model.norm.weight", &[size.hidden], 1.0, 0.3);
    write_safetensors(&folder.path().join("model.safetensors"), &weights.all).expect("writing");
    let source = Source::open(folder.path()).expect("the folder opens");
    Decoder::load(&source, None, 1, device).expect("the model loads")
}
