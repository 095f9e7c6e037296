//! Against llama.cpp on the same GGUF files; `tests/reference/llama_cpp.mjs` says how the reference was made.

use crate::folders::gguf;
use candle_core::Device;
use lore_model::{Decoder, KvCache, Products, Segment, Source, Tokenizer, Wanted};
use lore_types::{Message, Role};
use serde_json::Value;

/// Two engines round activations differently, so that of two tokens that are almost equally likely each may take the
/// other; a larger gap between their logits would be a fault. (llama.cpp also rounds its KV cache to 16 bits.)
const NEAR_TIE: f32 = 1.0;

struct Reference {
    system: String,
    answers: Value,
    tokenizer: Tokenizer,
    decoder: Decoder,
}

fn reference(name: &str) -> Option<Reference> {
    let path = gguf(name)?;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let answers = folder.join(format!("{name}.json"));
    if !answers.exists() {
        eprintln!(
            "SKIPPED: no {}; `llama_cpp.mjs` beside it says how to make it",
            answers.display()
        );
        return None;
    }
    let read = |file: &std::path::Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(file).expect("the reference")).expect("JSON")
    };
    let source = Source::open(&path).expect("the file opens");
    Some(Reference {
        system: read(&folder.join("questions.json"))["system"]
            .as_str()
            .expect("a text")
            .to_owned(),
        answers: read(&answers),
        tokenizer: Tokenizer::load(&source).expect("the tokenizer loads"),
        decoder: Decoder::load(&source, Some(512), 0, &Device::Cpu).expect("the model loads"),
    })
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|id| u32::try_from(id.as_u64().expect("an id")).expect("an id"))
        .collect()
}

fn forward(decoder: &Decoder, tokens: &[u32], cache: &mut KvCache, products: Products) -> Vec<f32> {
    let logits = decoder
        .forward(
            &mut [Segment {
                tokens,
                cache,
                adapter: None,
            }],
            Wanted::Last,
            products,
        )
        .expect("logits");
    logits
        .flatten_all()
        .and_then(|logits| logits.to_vec1())
        .expect("numbers")
}

/// Cosine of two lists around their means, since a constant added to all logits changes nothing.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let centred = |x: &[f32]| {
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
        x.iter().map(|x| f64::from(*x) - mean).collect::<Vec<_>>()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (a, b) = (centred(a), centred(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn argmax(logits: &[f32]) -> u32 {
    let best = (0u32..)
        .zip(logits)
        .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.expect("logits").0
}

/// Tokens, logits and greedy text of one model; prints how many of the greedy texts are equal.
fn compare(name: &str) {
    let Some(Reference {
        system,
        answers,
        tokenizer,
        decoder,
    }) = reference(name)
    else {
        return;
    };
    for text in answers["texts"].as_array().expect("texts") {
        let words = text["text"].as_str().expect("a text");
        // Hugging Face's Qwen tokenizer composes accents first (NFC) and Lore follows it; llama.cpp does not.
        if words.contains('\u{301}') && name.starts_with("qwen") {
            continue;
        }
        let own = tokenizer.encode(words).expect("tokens");
        assert_eq!(own, ids(&text["tokens"]), "{name}: {words}");
    }
    let prompts = answers["prompts"].as_array().expect("prompts");
    let mut equal = 0;
    for prompt in prompts {
        let question = prompt["question"].as_str().expect("a question");
        let messages = [
            Message::new(Role::System, system.as_str()),
            Message::new(Role::User, question),
        ];
        let tokens = tokenizer.prompt(&messages, true).expect("a prompt").tokens;
        assert_eq!(tokens, ids(&prompt["tokens"]), "{name}: {question}");
        let mut cache = decoder.new_cache().expect("a cache");
        let logits = forward(&decoder, &tokens, &mut cache, Products::Float);
        let expected: Vec<f32> = prompt["logits"]
            .as_array()
            .expect("logits")
            .iter()
            .map(|logit| logit.as_f64().expect("a number") as f32)
            .collect();
        let own: Vec<f32> = ids(&prompt["ids"])
            .into_iter()
            .map(|id| logits[id as usize])
            .collect();
        let close = cosine(&own, &expected);
        assert!(close > 0.999, "{name}: {question}: cosine {close}");
        let gap = greedy_gap(
            &decoder,
            &tokenizer,
            &mut cache,
            logits,
            &ids(&prompt["greedy"]),
        );
        eprintln!("{name}: cosine {close:.6}, greedy {gap:?}: {question}");
        assert!(
            gap.is_none_or(|gap| gap < NEAR_TIE),
            "{name}: {question}: the greedy text leaves llama.cpp's by {gap:?}"
        );
        equal += usize::from(gap.is_none());
    }
    eprintln!(
        "{name}: {equal} of {} greedy texts are equal",
        prompts.len()
    );
}

/// Follows llama.cpp's greedy text; where another token is likelier here, by how much its logit is larger.
fn greedy_gap(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    cache: &mut KvCache,
    mut logits: Vec<f32>,
    expected: &[u32],
) -> Option<f32> {
    for token in expected {
        let own = argmax(&logits);
        if own != *token {
            return Some(logits[own as usize] - logits[*token as usize]);
        }
        if tokenizer.stops().contains(token) {
            return None;
        }
        logits = forward(decoder, &[*token], cache, Products::Integers);
    }
    None
}

#[test]
fn smollm2_is_what_llama_cpp_computes() {
    compare("smollm2-135m-instruct");
}

#[test]
fn qwen_is_what_llama_cpp_computes() {
    compare("qwen2.5-coder-0.5b-instruct");
}
