//! A tokenizer of single letters with a small chat template, so that lengths can be counted by hand.

use lore_model::{Source, Tokenizer};
use serde_json::{Map, Value, json};

/// Alternating turns, as Mistral's and Gemma's templates ask for.
const TEMPLATE: &str = "{% for m in messages %}{% if m.role == 'user' and not loop.first and messages[loop.index0 - 1].role == 'user' %}{{ raise_exception('roles must alternate') }}{% endif %}{% if m.role == 'assistant' %}{{ m.content }}<|end|>{% else %}[{{ m.content }}]{% endif %}{% endfor %}";

/// The tokenizer: ASCII letters are their bytes, `<|end|>` is 301.
pub fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).expect("writing");
    };
    write("tokenizer.json", letters().to_string().as_bytes());
    let config = json!({"chat_template": TEMPLATE, "eos_token": "<|end|>"});
    write("tokenizer_config.json", config.to_string().as_bytes());
    write(
        "config.json",
        br#"{"model_type": "llama", "eos_token_id": 301}"#,
    );
    write("model.safetensors", &one_number());
    let source = Source::open(folder.path()).expect("the folder opens");
    Tokenizer::load(&source).expect("the tokenizer loads")
}

/// The smallest safetensors file.
fn one_number() -> Vec<u8> {
    let header = br#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend_from_slice(&[0; 4]);
    file
}

fn letters() -> Value {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0u32..256).filter(|byte| !printable(byte)).zip(256u32..);
    let own = (0u32..256).filter(printable).map(|byte| (byte, byte));
    let entry = |(byte, letter): (u32, u32)| {
        let letter = char::from_u32(letter).expect("a letter");
        (letter.to_string(), Value::from(byte))
    };
    let vocab: Map<String, Value> = own.chain(others).map(entry).collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    json!({
        "version": "1.0", "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
        "added_tokens": [{"id": 301, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
    })
}
