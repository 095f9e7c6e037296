use super::Description;
use crate::error::{ModelError, Result};
use crate::settings::{gguf_text, gguf_token_id};
use candle_core::quantized::gguf_file::{Content, Value as Metadata};
use serde_json::{Map, Value, json};

/// GGUF's kinds of tokens that are no ordinary pieces.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// The contractions, words, numbers, signs and white space of GPT-4 and its followers; only the numbers differ.
fn word_pattern(numbers: &str) -> String {
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

/// Rebuilds a `tokenizer.json` from GGUF metadata.
pub(crate) fn describe(content: &Content) -> Result<Description> {
    let tokens = texts(content, "tokenizer.ggml.tokens")?;
    let kinds = kinds(content, tokens.len())?;
    let tokenizer = match gguf_text(content, "tokenizer.ggml.model") {
        Some("gpt2") => byte_level(content, &tokens)?,
        Some("llama") => sentence_piece(content, &tokens, &kinds)?,
        Some(other) => {
            return Err(ModelError::Tokenizer(format!(
                "GGUF tokenizer `{other}` is not supported; supported are gpt2 and llama"
            )));
        }
        None => {
            return Err(ModelError::MissingSetting(
                "tokenizer.ggml.model".to_owned(),
            ));
        }
    };
    let mut tokenizer = tokenizer;
    tokenizer["added_tokens"] = added_tokens(&tokens, &kinds);
    let id = |name: &str| gguf_token_id(content, &format!("tokenizer.ggml.{name}_token_id"));
    let text = |name: &str| {
        id(name)
            .and_then(|id| tokens.get(id as usize))
            .map(|text| (*text).to_owned())
    };
    Ok(Description {
        template: gguf_text(content, "tokenizer.chat_template").map(str::to_owned),
        stops: ["eos", "eot", "eom"]
            .iter()
            .filter_map(|name| id(name))
            .collect(),
        bos: text("bos"),
        eos: text("eos"),
        starts_texts: starts_texts(content),
        tokenizer,
    })
}

/// `add_bos_token`; where it is missing, llama.cpp's defaults by the kind of tokenizer.
fn starts_texts(content: &Content) -> bool {
    match content.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(Metadata::Bool(adds)) => *adds,
        _ => gguf_text(content, "tokenizer.ggml.model") == Some("llama"),
    }
}

fn texts<'a>(content: &'a Content, key: &str) -> Result<Vec<&'a str>> {
    let missing = || ModelError::MissingSetting(key.to_owned());
    let Some(Metadata::Array(list)) = content.metadata.get(key) else {
        return Err(missing());
    };
    let text = |value: &'a Metadata| match value {
        Metadata::String(text) => Ok(text.as_str()),
        _ => Err(missing()),
    };
    list.iter().map(text).collect()
}

fn kinds(content: &Content, count: usize) -> Result<Vec<u64>> {
    let key = "tokenizer.ggml.token_type";
    let kind = |value: &Metadata| match value {
        Metadata::I32(kind) => u64::try_from(*kind).unwrap_or(0),
        other => other.to_u64().unwrap_or(0),
    };
    match content.metadata.get(key) {
        Some(Metadata::Array(list)) if list.len() == count => Ok(list.iter().map(kind).collect()),
        _ => Err(ModelError::MissingSetting(key.to_owned())),
    }
}

fn added_tokens(tokens: &[&str], kinds: &[u64]) -> Value {
    let added = tokens
        .iter()
        .zip(kinds)
        .enumerate()
        .filter(|(_, (text, kind))| !text.is_empty() && matches!(**kind, CONTROL | USER_DEFINED));
    let entry = |(id, (text, kind)): (usize, (&&str, &u64))| {
        json!({
            "id": id, "content": text, "special": *kind == CONTROL,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    added.map(entry).collect()
}

fn vocabulary(tokens: &[&str]) -> Value {
    let entries = tokens
        .iter()
        .enumerate()
        .map(|(id, text)| ((*text).to_owned(), Value::from(id)));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn byte_level(content: &Content, tokens: &[&str]) -> Result<Value> {
    let split = |merge: &str| {
        merge
            .split_once(' ')
            .map(|(left, right)| json!([left, right]))
    };
    let merges: Option<Vec<Value>> = texts(content, "tokenizer.ggml.merges")?
        .into_iter()
        .map(split)
        .collect();
    let merges = merges.ok_or_else(|| {
        ModelError::Tokenizer("a merge of the GGUF file is not two pieces".to_owned())
    })?;
    let pre = gguf_text(content, "tokenizer.ggml.pre").unwrap_or("missing");
    let (normalizer, pre_tokenizer, ignore_merges) = pre_tokenizer(pre)?;
    Ok(json!({
        "version": "1.0",
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "model": {"type": "BPE", "vocab": vocabulary(tokens), "merges": merges, "ignore_merges": ignore_merges},
    }))
}

/// Normaliser, pre-tokenizer, and whether whole words of the vocabulary skip the merges, by GGUF's name for them.
fn pre_tokenizer(name: &str) -> Result<(Value, Value, bool)> {
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex});
    let words = |numbers: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": word_pattern(numbers)}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let digits = json!({"type": "Digits", "individual_digits": true});
    match name {
        "qwen2" | "deepseek-r1-qwen" => Ok((json!({"type": "NFC"}), words(r"\p{N}"), false)),
        "llama-bpe" | "llama3" | "llama-v3" => Ok((Value::Null, words(r"\p{N}{1,3}"), true)),
        "smollm" => Ok((
            Value::Null,
            json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}),
            false,
        )),
        "gpt-2" | "gpt2" => Ok((Value::Null, bytes(true), false)),
        other => Err(ModelError::Tokenizer(format!(
            "GGUF pre-tokenizer `{other}` is not supported; supported are qwen2, deepseek-r1-qwen, llama-bpe, smollm and gpt-2"
        ))),
    }
}

/// GGUF's name for the normaliser, pre-tokenizer and merging of a `tokenizer.json`, where it has one.
pub(crate) fn pre_tokenizer_name(tokenizer: &Value) -> Option<&'static str> {
    ["qwen2", "llama-bpe", "smollm", "gpt-2"]
        .into_iter()
        .find(|name| {
            pre_tokenizer(name).is_ok_and(|(normalizer, pre, ignore_merges)| {
                steps(&normalizer) == steps(&tokenizer["normalizer"])
                    && steps(&pre) == steps(&tokenizer["pre_tokenizer"])
                    && ignore_merges == (tokenizer["model"]["ignore_merges"] == true)
            })
        })
}

/// What a normaliser or pre-tokenizer does, step by step, without what changes no token.
fn steps(value: &Value) -> Vec<String> {
    let list = value["pretokenizers"]
        .as_array()
        .or_else(|| value["normalizers"].as_array());
    if let Some(list) = list {
        return list.iter().flat_map(steps).collect();
    }
    match value["type"].as_str() {
        None => Vec::new(),
        Some("ByteLevel") => {
            let (space, regex) = (&value["add_prefix_space"], &value["use_regex"]);
            vec![format!("bytes {} {}", *space == true, *regex != false)]
        }
        Some(_) => vec![value.to_string()],
    }
}

fn sentence_piece(content: &Content, tokens: &[&str], kinds: &[u64]) -> Result<Value> {
    let scores = scores(content, tokens.len())?;
    let prefix = !matches!(
        content.metadata.get("tokenizer.ggml.add_space_prefix"),
        Some(Metadata::Bool(false))
    );
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    let normalizer = if prefix {
        json!({"type": "Sequence", "normalizers": [prepend, spaces]})
    } else {
        spaces
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = gguf_token_id(content, "tokenizer.ggml.unknown_token_id")
        .and_then(|id| tokens.get(id as usize))
        .unwrap_or(&"<unk>");
    Ok(json!({
        "version": "1.0",
        "normalizer": normalizer,
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "vocab": vocabulary(tokens), "merges": merges(tokens, kinds, &scores),
            "unk_token": unknown, "fuse_unk": true, "byte_fallback": true,
        },
    }))
}

fn scores(content: &Content, count: usize) -> Result<Vec<f32>> {
    let key = "tokenizer.ggml.scores";
    match content.metadata.get(key) {
        Some(Metadata::Array(list)) if list.len() == count => Ok(list
            .iter()
            .map(|value| value.to_f32().unwrap_or(0.0))
            .collect()),
        _ => Err(ModelError::MissingSetting(key.to_owned())),
    }
}

/// `SentencePiece` stores scores, not merges: every way to join two pieces into a third is one, better scores first.
///
/// # Source
/// `generate_merges` of transformers' converter, whose order of ties this keeps.
fn merges(tokens: &[&str], kinds: &[u64], scores: &[f32]) -> Vec<Value> {
    let ids: std::collections::HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, text)| (*text, id))
        .collect();
    let mut found: Vec<(f32, &str, &str)> = Vec::new();
    for (id, text) in tokens.iter().enumerate() {
        if matches!(kinds[id], CONTROL | USER_DEFINED) {
            continue;
        }
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let mut local: Vec<_> = cuts
            .filter_map(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?, left, right)))
            .collect();
        local.sort_by_key(|(left, right, ..)| (*left, *right));
        found.extend(
            local
                .into_iter()
                .map(|(_, _, left, right)| (scores[id], left, right)),
        );
    }
    let lengths = |left: &str, right: &str| (left.chars().count(), right.chars().count());
    found.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| lengths(b.1, b.2).cmp(&lengths(a.1, a.2)))
    });
    found
        .into_iter()
        .map(|(_, left, right)| json!([left, right]))
        .collect()
}
