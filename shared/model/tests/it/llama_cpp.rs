//! Against llama.cpp on the same GGUF files; `tests/reference/llama_cpp.mjs` says how the reference was made.

use crate::folders::gguf;
use candle_core::Device;
use lore_model::{Decoder, KvCache, Products, Segment, Source, Tokenizer, Wanted};
use lore_types::{Message, Role};
use serde_json::Value;

struct Reference {
    system: String,
    answers: Value,
    tokenizer: Tokenizer,
    decoder: Decoder,
}

fn reference(name: &str) -> Option<Reference> {
    let path = gguf(name)?;
    let read = |name: &str| -> Value {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/reference")
            .join(name);
        serde_json::from_str(&std::fs::read_to_string(file).expect("the reference")).expect("JSON")
    };
    let source = Source::open(&path).expect("the file opens");
    Some(Reference {
        system: read("questions.json")["system"]
            .as_str()
            .expect("a text")
            .to_owned(),
        answers: read(&format!("{name}.json")),
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

/// Tokens, logits and greedy text of one model; says how many of the greedy texts are equal.
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
        let own = tokenizer
            .encode(text["text"].as_str().expect("a text"))
            .expect("tokens");
        assert_eq!(own, ids(&text["tokens"]), "{name}: {}", text["text"]);
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
        let mut logits = forward(&decoder, &tokens, &mut cache, Products::Float);
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
        let mut greedy = Vec::new();
        while greedy.len() < 32 {
            let token = argmax(&logits);
            greedy.push(token);
            if tokenizer.stops().contains(&token) {
                break;
            }
            logits = forward(&decoder, &[token], &mut cache, Products::Integers);
        }
        let same = greedy == ids(&prompt["greedy"]);
        eprintln!(
            "{name}: cosine {close:.6}, greedy {}: {question}",
            if same { "equal" } else { "differs" }
        );
        equal += usize::from(same);
    }
    assert!(
        equal * 10 >= prompts.len() * 9,
        "{name}: only {equal} of {} greedy texts are equal",
        prompts.len()
    );
}

#[test]
fn smollm2_is_what_llama_cpp_computes() {
    compare("smollm2-135m-instruct");
}

#[test]
fn qwen_is_what_llama_cpp_computes() {
    compare("qwen2.5-coder-0.5b-instruct");
}
