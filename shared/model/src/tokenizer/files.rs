use super::Description;
use crate::error::{ModelError, Result};
use crate::settings::token_ids;
use serde_json::Value;
use std::path::Path;

/// Reads `tokenizer.json` and what stands beside it in a Hugging Face folder.
pub(crate) fn describe(folder: &Path) -> Result<Description> {
    let tokenizer = read(&folder.join("tokenizer.json"))?;
    let config = read_if_there(&folder.join("tokenizer_config.json"))?;
    let generation = read_if_there(&folder.join("generation_config.json"))?;
    let model = read_if_there(&folder.join("config.json"))?;
    let mut stops = token_ids(generation.get("eos_token_id"));
    stops.extend(token_ids(model.get("eos_token_id")));
    stops.extend(token_ids(model["text_config"].get("eos_token_id")));
    stops.sort_unstable();
    stops.dedup();
    Ok(Description {
        template: template(folder, &config)?,
        stops,
        bos: token(&config["bos_token"]),
        eos: token(&config["eos_token"]),
        starts_texts: starts_texts(&tokenizer["post_processor"]),
        tokenizer,
    })
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(ModelError::read(path))?;
    serde_json::from_str(&text).map_err(|error| ModelError::damaged(path, error))
}

fn read_if_there(path: &Path) -> Result<Value> {
    if path.exists() {
        read(path)
    } else {
        Ok(Value::Null)
    }
}

/// Whether a text gets a special token in front: Llama's and Gemma's post-processors do that, `GPT-2`'s does not.
fn starts_texts(step: &Value) -> bool {
    let parts = step["processors"].as_array().into_iter().flatten();
    parts.into_iter().any(starts_texts) || !step["single"][0]["SpecialToken"].is_null()
}

/// A token is written as its text or as an object with `content`.
fn token(value: &Value) -> Option<String> {
    value
        .as_str()
        .or(value["content"].as_str())
        .map(str::to_owned)
}

/// The template: its own file, a text, or the one named `default` of several.
fn template(folder: &Path, config: &Value) -> Result<Option<String>> {
    let own = folder.join("chat_template.jinja");
    if own.exists() {
        return std::fs::read_to_string(&own)
            .map(Some)
            .map_err(ModelError::read(&own));
    }
    let named = |list: &Vec<Value>| {
        list.iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(str::to_owned)
    };
    Ok(match &config["chat_template"] {
        Value::String(template) => Some(template.clone()),
        Value::Array(list) => named(list),
        _ => None,
    })
}
