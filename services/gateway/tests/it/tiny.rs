//! A tiny Llama with random weights and a tokenizer of single bytes: what it says is nonsense, and its own.

use lore_model::{Device, Random, Tensor, write_safetensors};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const HIDDEN: usize = 32;
const VOCABULARY: usize = 304;
const LAYERS: usize = 2;

/// Marks each message, as ChatML does.
const TEMPLATE: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}\
    {% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

/// Writes the model into a folder in the Hugging Face layout; another `seed` gives other weights.
pub fn write(folder: &Path, seed: u64) {
    std::fs::create_dir_all(folder).expect("a folder");
    let write = |name: &str, value: &Value| {
        std::fs::write(folder.join(name), value.to_string()).expect("writing");
    };
    write("tokenizer.json", &tokenizer());
    write(
        "tokenizer_config.json",
        &json!({"chat_template": TEMPLATE, "eos_token": {"content": "<|end|>"}}),
    );
    write(
        "config.json",
        &json!({
            "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 64, "num_hidden_layers": LAYERS,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "eos_token_id": 301,
        }),
    );
    write_safetensors(&folder.join("model.safetensors"), &weights(seed)).expect("writing");
}

fn tokenizer() -> Value {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0u32..256).filter(|byte| !printable(byte)).zip(256u32..);
    let letters = (0u32..256).filter(printable).map(|byte| (byte, byte));
    let vocab: Map<String, Value> = letters
        .chain(others)
        .map(|(byte, letter)| {
            (
                char::from_u32(letter).expect("a letter").to_string(),
                byte.into(),
            )
        })
        .collect();
    let added = |id: u32, content: &str| json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    json!({
        "version": "1.0", "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
        "added_tokens": [added(300, "<|start|>"), added(301, "<|end|>")],
    })
}

fn weights(seed: u64) -> BTreeMap<String, Tensor> {
    let mut random = Random::new(seed);
    let mut tensor = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| (random.uniform() - 0.5) * 0.5)
            .collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("a matrix")
    };
    let ones = || Tensor::from_vec(vec![1f32; HIDDEN], HIDDEN, &Device::Cpu).expect("ones");
    let mut all = BTreeMap::new();
    for layer in 0..LAYERS {
        for (module, rows, columns) in [
            ("self_attn.q_proj", 32, 32),
            ("self_attn.k_proj", 16, 32),
            ("self_attn.v_proj", 16, 32),
            ("self_attn.o_proj", 32, 32),
            ("mlp.gate_proj", 64, 32),
            ("mlp.up_proj", 64, 32),
            ("mlp.down_proj", 32, 64),
        ] {
            all.insert(
                format!("model.layers.{layer}.{module}.weight"),
                tensor(rows, columns),
            );
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            all.insert(format!("model.layers.{layer}.{norm}.weight"), ones());
        }
    }
    all.insert(
        "model.embed_tokens.weight".to_owned(),
        tensor(VOCABULARY, HIDDEN),
    );
    all.insert("model.norm.weight".to_owned(), ones());
    all.insert("lm_head.weight".to_owned(), tensor(VOCABULARY, HIDDEN));
    all
}
