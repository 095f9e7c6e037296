//! A tiny Llama with random weights and a tokenizer of single bytes, so that serving is tested everywhere, exactly, in float32.

use candle_core::{Device, Tensor};
use lore_model::{Random, write_safetensors};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Marks each message, and `<tool>` behind those of tools.
pub const CHAT: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% if m.role == 'tool' %}<tool>{% endif %}{% endfor %}";

const HIDDEN: usize = 32;
const VOCABULARY: usize = 304;
const LAYERS: usize = 2;

/// A folder in the Hugging Face layout. Its greedy answers are lowercase letters.
pub fn folder(template: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, value: &Value| {
        std::fs::write(folder.path().join(name), value.to_string()).expect("writing")
    };
    write("tokenizer.json", &tokenizer());
    write(
        "tokenizer_config.json",
        &json!({"chat_template": template, "bos_token": "<|start|>", "eos_token": {"content": "<|end|>"}}),
    );
    write(
        "config.json",
        &json!({
            "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 64, "num_hidden_layers": LAYERS,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "eos_token_id": [301, 7],
        }),
    );
    write_safetensors(&folder.path().join("model.safetensors"), &weights()).expect("writing");
    folder
}

/// 256 bytes, `hi`, special tokens, and a control token that is not special.
fn tokenizer() -> Value {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0u32..256).filter(|byte| !printable(byte)).zip(256u32..);
    let letters = (0u32..256)
        .filter(printable)
        .map(|byte| (byte, byte))
        .chain(others);
    let mut vocab: Map<String, Value> = letters
        .map(|(byte, letter)| {
            (
                char::from_u32(letter).expect("a letter").to_string(),
                byte.into(),
            )
        })
        .collect();
    vocab.insert("hi".to_owned(), 256.into());
    let added = |id: u32, content: &str, special: bool| json!({"id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    json!({
        "version": "1.0", "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": [["h", "i"]]},
        "added_tokens": [added(300, "<|start|>", true), added(301, "<|end|>", true), added(302, "<tool>", false), added(303, "  ", false)],
    })
}

fn weights() -> BTreeMap<String, Tensor> {
    let mut random = Random::new(11);
    let mut tensor = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| (random.uniform() - 0.5) * 1.2)
            .collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("a matrix")
    };
    let ones = || Tensor::ones(HIDDEN, candle_core::DType::F32, &Device::Cpu).expect("ones");
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
    let letters = Tensor::cat(
        &[&zeros(97), &tensor(26, HIDDEN), &zeros(VOCABULARY - 123)],
        0,
    )
    .expect("rows");
    all.insert("lm_head.weight".to_owned(), letters);
    all
}

fn zeros(rows: usize) -> Tensor {
    Tensor::zeros((rows, HIDDEN), candle_core::DType::F32, &Device::Cpu).expect("zeros")
}
