use super::staged::StagedFolder;
use super::weights::Weights;
use crate::error::{ModelError, Result};
use crate::settings::Settings;
use crate::tokenizer::{Description, describe_folder, describe_gguf, pre_tokenizer_name};
use crate::weights::Source;
use candle_core::quantized::gguf_file::Value;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::path::Path;

/// Files of a Hugging Face folder that belong to the tokenizer or to generation.
const FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
    "LICENSE",
];

/// GGUF's kinds of tokens.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Writes the tokenizer beside the weights: a folder's own files, or `tokenizer.json` and its companions from GGUF.
pub(super) fn write_files(weights: &Weights<'_>, out: &StagedFolder) -> Result<()> {
    match weights.source {
        Source::Folder(folder) => FILES
            .iter()
            .filter(|name| folder.path().join(name).is_file())
            .try_for_each(|name| {
                let to = out.path().join(name);
                std::fs::copy(folder.path().join(name), &to)
                    .map(|_| ())
                    .map_err(ModelError::write(&to))
            }),
        Source::Gguf(file) => {
            let description = describe_gguf(file.content())?;
            let json = |value: &Json| format!("{value:#}\n");
            out.text("tokenizer.json", &description.tokenizer.to_string())?;
            out.text("tokenizer_config.json", &json(&config(&description)))?;
            let generation = json!({
                "bos_token_id": weights.settings.bos_token_id,
                "eos_token_id": description.stops,
            });
            out.text("generation_config.json", &json(&generation))
        }
    }
}

fn config(description: &Description) -> Json {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": description.bos,
        "eos_token": description.eos,
        "chat_template": description.template,
        "clean_up_tokenization_spaces": false,
    })
}

/// GGUF's words for the tokenizer and the chat template of a Hugging Face folder; nothing where it has none.
pub(super) fn gguf(folder: &Path, settings: &Settings) -> Result<Vec<(String, Value)>> {
    if !folder.join("tokenizer.json").exists() {
        tracing::warn!(
            folder = %folder.display(),
            "there is no tokenizer.json, so the GGUF file has no tokenizer either; llama.cpp will not load it"
        );
        return Ok(Vec::new());
    }
    let description = describe_folder(folder)?;
    let vocabulary = Vocabulary::read(&description.tokenizer, settings.vocab_size)?;
    let mut all = vocabulary.metadata(&description.tokenizer)?;
    let id = |text: &Option<String>| vocabulary.ids.get(text.as_deref()?).copied();
    let (bos, eos) = (id(&description.bos), id(&description.eos));
    let others = description.stops.iter().filter(|stop| Some(**stop) != eos);
    let ends = ["eot", "eom"].into_iter().zip(others.copied());
    let named = [("bos", bos), ("eos", eos)].into_iter();
    let named = named.chain(ends.map(|(name, id)| (name, Some(id))));
    for (name, id) in named.filter_map(|(name, id)| Some((name, id?))) {
        all.push((format!("tokenizer.ggml.{name}_token_id"), Value::U32(id)));
    }
    warn_of_lost_stops(&description.stops, eos);
    let adds_bos = description.bos.as_ref().is_some_and(|bos| {
        let step = description.tokenizer["post_processor"].to_string();
        step.contains("TemplateProcessing") && step.contains(&Json::from(bos.as_str()).to_string())
    });
    all.push((
        "tokenizer.ggml.add_bos_token".to_owned(),
        Value::Bool(adds_bos),
    ));
    if let Some(template) = description.template {
        all.push((
            "tokenizer.chat_template".to_owned(),
            Value::String(template),
        ));
    }
    Ok(all)
}

/// GGUF has room for three tokens that end an answer.
fn warn_of_lost_stops(stops: &[u32], eos: Option<u32>) {
    let lost: Vec<&u32> = stops
        .iter()
        .filter(|stop| Some(**stop) != eos)
        .skip(2)
        .collect();
    if !lost.is_empty() {
        tracing::warn!(
            ?lost,
            "the GGUF file cannot name all tokens that end an answer"
        );
    }
}

struct Vocabulary {
    texts: Vec<String>,
    kinds: Vec<i32>,
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    /// The tokens by their ids; embeddings without a token get an unused one.
    fn read(tokenizer: &Json, count: usize) -> Result<Self> {
        let mut vocabulary = Self {
            texts: (0..count).map(|id| format!("[PAD{id}]")).collect(),
            kinds: vec![UNUSED; count],
            ids: HashMap::new(),
        };
        let model = &tokenizer["model"];
        if model["type"].as_str().unwrap_or("BPE") != "BPE" {
            return Err(unknown("model", &model["type"]));
        }
        let entries = model["vocab"].as_object().into_iter().flatten();
        for (text, id) in entries {
            let byte = model["byte_fallback"] == true && is_byte(text);
            let kind = match text {
                text if model["unk_token"] == text.as_str() => UNKNOWN,
                _ if byte => BYTE,
                _ => NORMAL,
            };
            vocabulary.set(id, text, kind)?;
        }
        for token in tokenizer["added_tokens"].as_array().into_iter().flatten() {
            let text = token["content"].as_str().unwrap_or_default();
            let special = token["special"] == true;
            let kind = if special { CONTROL } else { USER_DEFINED };
            vocabulary.set(&token["id"], text, kind)?;
        }
        Ok(vocabulary)
    }

    fn set(&mut self, id: &Json, text: &str, kind: i32) -> Result<()> {
        let index = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let place =
            index.and_then(|index| Some((self.texts.get_mut(index)?, self.kinds.get_mut(index)?)));
        let Some((old, old_kind)) = place else {
            return Err(ModelError::Tokenizer(format!(
                "token `{text}` has the id {id}, but the model has only {} embeddings",
                self.texts.len()
            )));
        };
        text.clone_into(old);
        *old_kind = kind;
        self.ids.insert(
            text.to_owned(),
            id.as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .unwrap_or(0),
        );
        Ok(())
    }

    fn metadata(&self, tokenizer: &Json) -> Result<Vec<(String, Value)>> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let texts =
            |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::String).collect());
        let kinds = self.kinds.iter().map(|kind| Value::I32(*kind)).collect();
        let mut all = vec![
            (key("tokens"), texts(&self.texts)),
            (key("token_type"), Value::Array(kinds)),
        ];
        let merges = merges(&tokenizer["model"]["merges"])?;
        if tokenizer["model"]["byte_fallback"] == true {
            let scores = self.scores(&merges).into_iter().map(Value::F32).collect();
            all.push((key("model"), Value::String("llama".to_owned())));
            all.push((key("scores"), Value::Array(scores)));
            all.push((key("add_space_prefix"), Value::Bool(adds_space(tokenizer))));
            return Ok(all);
        }
        let pre = pre_tokenizer_name(tokenizer)
            .ok_or_else(|| unknown("pre_tokenizer", &tokenizer["pre_tokenizer"]))?;
        let joined: Vec<String> = merges
            .iter()
            .map(|(left, right)| format!("{left} {right}"))
            .collect();
        all.push((key("model"), Value::String("gpt2".to_owned())));
        all.push((key("pre"), Value::String(pre.to_owned())));
        all.push((key("merges"), texts(&joined)));
        Ok(all)
    }

    /// `SentencePiece` joins the pair whose result has the best score; earlier merges are better ones.
    fn scores(&self, merges: &[(String, String)]) -> Vec<f32> {
        let mut scores = vec![0f32; self.texts.len()];
        let mut scored = vec![false; self.texts.len()];
        for (rank, (left, right)) in merges.iter().enumerate() {
            let index = self
                .ids
                .get(&format!("{left}{right}"))
                .map(|id| *id as usize);
            if let Some(index) = index.filter(|index| !scored[*index]) {
                scored[index] = true;
                scores[index] = -(rank as f32 + 1.0);
            }
        }
        scores
    }
}

/// `<0x0A>`: a byte that no piece covers.
fn is_byte(text: &str) -> bool {
    text.len() == 6 && text.starts_with("<0x") && text.ends_with('>')
}

/// Merges are written as `a b` or as two texts.
fn merges(list: &Json) -> Result<Vec<(String, String)>> {
    let pair = |merge: &Json| {
        let (left, right) = match merge {
            Json::String(text) => text.split_once(' ')?,
            pair => (pair[0].as_str()?, pair[1].as_str()?),
        };
        Some((left.to_owned(), right.to_owned()))
    };
    let list = list.as_array().ok_or_else(|| unknown("merges", list))?;
    let pairs: Option<Vec<_>> = list.iter().map(pair).collect();
    pairs.ok_or_else(|| unknown("merges", &Json::Null))
}

/// Whether a text gets a space in front, as Llama 2's tokenizer does.
fn adds_space(tokenizer: &Json) -> bool {
    let steps = format!("{}{}", tokenizer["normalizer"], tokenizer["pre_tokenizer"]);
    steps.contains("\"Prepend\"")
        || (steps.contains("\"Metaspace\"") && !steps.contains("\"never\""))
}

fn unknown(part: &str, value: &Json) -> ModelError {
    ModelError::Tokenizer(format!(
        "GGUF has no words for its `{part}` {value}; the merged folder has the tokenizer as it is"
    ))
}
