//! A line's object to a conversation, or why it is none.

use super::source::kind;
use super::{Body, Format, Turn};
use lore_types::Role;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Reads a line in the format of its file.
pub(super) fn body(line: &Object, format: Format) -> Result<Body, String> {
    refuse_others(line)?;
    match format {
        Format::Text => text(line, &["text"]).map(|text| Body::Text(text.to_owned())),
        Format::Alpaca => alpaca(line).and_then(checked),
        Format::ShareGpt => {
            conversation(line, &["conversations", "conversation"]).and_then(checked)
        }
        Format::Messages => conversation(line, &["messages"]).and_then(checked),
        Format::PromptCompletion => prompt_completion(line).and_then(checked),
    }
}

/// The keys of a line that its format has a use for, or that are refused where they hold something.
pub(super) fn is_used(key: &str, format: Format) -> bool {
    let own: &[&str] = match format {
        Format::Text => &["text"],
        Format::Alpaca => &[
            "instruction",
            "input",
            "context",
            "output",
            "response",
            "system",
            "history",
        ],
        Format::ShareGpt => &["conversations", "conversation", "system"],
        Format::Messages => &["messages", "system"],
        Format::PromptCompletion => &["prompt", "completion", "response", "system"],
    };
    own.contains(&key) || REFUSED.iter().any(|(refused, _)| *refused == key) || key == "label"
}

/// What Lore cannot learn from yet; leaving it out would teach something else than the line says.
const REFUSED: [(&str, &str); 9] = [
    (
        "chosen",
        "preference data: Lore learns from examples with one right answer",
    ),
    (
        "rejected",
        "preference data: Lore learns from examples with one right answer",
    ),
    (
        "tools",
        "definitions of tools, which cannot be rendered yet",
    ),
    (
        "functions",
        "definitions of tools, which cannot be rendered yet",
    ),
    ("images", "pictures, which the model cannot see"),
    ("image", "pictures, which the model cannot see"),
    ("videos", "films, which the model cannot see"),
    ("audios", "sounds, which the model cannot hear"),
    ("tool_calls", "calls of tools, which cannot be rendered yet"),
];

fn refuse_others(line: &Object) -> Result<(), String> {
    if line.get("label") == Some(&Value::Bool(false)) {
        return Err("`label` is false: its answer is not wanted".to_owned());
    }
    let found = REFUSED
        .iter()
        .find(|(key, _)| line.get(*key).is_some_and(|value| !is_blank(value)));
    found.map_or(Ok(()), |(key, why)| Err(format!("`{key}` holds {why}")))
}

/// Null, and empty texts, lists and objects, also as JSON in a text.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => matches!(text.trim(), "" | "[]" | "{}"),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// A text that has to be there, under the first of `keys` that the line has.
fn text<'a>(line: &'a Object, keys: &[&str]) -> Result<&'a str, String> {
    let name = keys.iter().find(|key| line.contains_key(**key));
    let key = name.or(keys.first()).copied().unwrap_or_default();
    match line.get(key) {
        None => Err(format!("`{key}` is missing")),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("`{key}` is empty")),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("`{key}` is {}, not a text", kind(other))),
    }
}

/// A text that may be missing, null or empty.
fn optional<'a>(line: &'a Object, keys: &[&str]) -> Result<Option<&'a str>, String> {
    let found = keys.iter().find_map(|key| Some((key, line.get(*key)?)));
    match found {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some((key, other)) => Err(format!("`{key}` is {}, not a text", kind(other))),
    }
}

fn system(line: &Object) -> Result<Option<Turn>, String> {
    Ok(optional(line, &["system"])?.map(|text| Turn::new(Role::System, text)))
}

/// The input stands on a line of its own below the instruction, as in LLaMA-Factory.
fn alpaca(line: &Object) -> Result<Vec<Turn>, String> {
    let mut turns: Vec<Turn> = system(line)?.into_iter().collect();
    turns.extend(history(line.get("history"))?);
    let input = optional(line, &["input", "context"])?;
    let instruction = match (optional(line, &["instruction"])?, input) {
        (Some(instruction), Some(input)) => format!("{instruction}\n{input}"),
        (Some(instruction), None) => instruction.to_owned(),
        (None, Some(input)) => input.to_owned(),
        (None, None) => return Err("`instruction` and `input` are empty".to_owned()),
    };
    turns.push(Turn::new(Role::User, instruction));
    turns.push(Turn::new(
        Role::Assistant,
        text(line, &["output", "response"])?,
    ));
    Ok(turns)
}

/// Earlier questions and answers: `[["question", "answer"], …]`.
fn history(value: Option<&Value>) -> Result<Vec<Turn>, String> {
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(question), Value::String(answer)]) => Ok([
            Turn::new(Role::User, question.as_str()),
            Turn::new(Role::Assistant, answer.as_str()),
        ]),
        _ => Err("`history` is no list of pairs of texts".to_owned()),
    };
    let pairs: Result<Vec<_>, String> = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(pairs)) => pairs.iter().map(pair).collect(),
        Some(other) => return Err(format!("`history` is {}, not a list", kind(other))),
    };
    Ok(pairs?.into_iter().flatten().collect())
}

fn prompt_completion(line: &Object) -> Result<Vec<Turn>, String> {
    let mut turns: Vec<Turn> = system(line)?.into_iter().collect();
    match line.get("prompt") {
        Some(Value::Array(list)) => turns.extend(messages("prompt", list)?),
        _ => turns.push(Turn::new(Role::User, text(line, &["prompt"])?)),
    }
    match line.get("completion") {
        Some(Value::Array(list)) => turns.extend(messages("completion", list)?),
        _ => turns.push(Turn::new(
            Role::Assistant,
            text(line, &["completion", "response"])?,
        )),
    }
    Ok(turns)
}

fn conversation(line: &Object, keys: &[&str]) -> Result<Vec<Turn>, String> {
    let found = keys.iter().find_map(|key| Some((*key, line.get(*key)?)));
    let turns = match found {
        Some((key, Value::Array(list))) => messages(key, list)?,
        Some((key, other)) => return Err(format!("`{key}` is {}, not a list", kind(other))),
        None => {
            return Err(format!(
                "`{}` is missing",
                keys.first().unwrap_or(&"messages")
            ));
        }
    };
    let own = turns
        .first()
        .is_some_and(|turn| turn.message.role == Role::System);
    let system = system(line)?.filter(|_| !own);
    Ok(system.into_iter().chain(turns).collect())
}

fn messages(key: &str, list: &[Value]) -> Result<Vec<Turn>, String> {
    if list.is_empty() {
        return Err(format!("`{key}` is empty"));
    }
    let numbered = (1..).zip(list);
    numbered
        .map(|(number, value)| turn(value).map_err(|problem| format!("turn {number}: {problem}")))
        .collect()
}

/// `role` and `content`, or `from` and `value`.
fn turn(value: &Value) -> Result<Turn, String> {
    let Value::Object(turn) = value else {
        return Err(format!("it is {}, not an object", kind(value)));
    };
    let role = role(text(turn, &["role", "from"])?)?;
    for key in [
        "tool_calls",
        "function_call",
        "reasoning_content",
        "thinking",
    ] {
        if turn.get(key).is_some_and(|value| !is_blank(value)) {
            return Err(format!("`{key}` cannot be rendered yet"));
        }
    }
    let mut read = Turn::new(role, content(turn)?);
    match turn.get("weight") {
        None | Some(Value::Null) => {}
        Some(weight) if weight.as_f64() == Some(1.0) => {}
        Some(weight) if weight.as_f64() == Some(0.0) => read.learn = false,
        Some(weight) => return Err(format!("`weight` is {weight}, but has to be 0 or 1")),
    }
    Ok(read)
}

fn role(name: &str) -> Result<Role, String> {
    match name {
        "system" | "developer" => Ok(Role::System),
        "user" | "human" => Ok(Role::User),
        "assistant" | "gpt" | "chatgpt" | "bing" | "bard" | "model" => Ok(Role::Assistant),
        "tool" | "observation" | "function_response" => Ok(Role::Tool),
        "function_call" => Err("calls of functions cannot be rendered yet".to_owned()),
        other => Err(format!(
            "`{other}` is no speaker that is known (system, user, assistant, tool, human, gpt)"
        )),
    }
}

/// A text, or a list of parts that are texts.
fn content(turn: &Object) -> Result<String, String> {
    let Some(Value::Array(parts)) = turn.get("content") else {
        return text(turn, &["content", "value"]).map(str::to_owned);
    };
    let part = |part: &Value| match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text") | None, Some(text)) => Ok(text.to_owned()),
        (kind, _) => Err(format!(
            "`content` has a part of type {}, only text can be learned",
            kind.unwrap_or("unknown")
        )),
    };
    let texts: Result<String, String> = parts.iter().map(part).collect();
    texts.and_then(|text| {
        if text.trim().is_empty() {
            return Err("`content` is empty".to_owned());
        }
        Ok(text)
    })
}

/// Somebody asks first, the assistant has the last word, and something is learned.
fn checked(turns: Vec<Turn>) -> Result<Body, String> {
    let speaks = |turn: &&Turn| turn.message.role != Role::System;
    let first = turns.iter().find(speaks).map(|turn| turn.message.role);
    let last = turns.last().map(|turn| turn.message.role);
    match (first, last) {
        (Some(Role::User), Some(Role::Assistant)) => {}
        (Some(Role::Assistant), _) => {
            return Err("the assistant speaks first: nothing asks for that turn".to_owned());
        }
        (Some(Role::Tool), _) => {
            return Err("a tool speaks first: nothing asks for that turn".to_owned());
        }
        _ => {
            return Err(
                "the last turn is not the assistant's: there is no answer to learn".to_owned(),
            );
        }
    }
    if !turns
        .iter()
        .any(|turn| turn.learn && turn.message.role == Role::Assistant)
    {
        return Err("`weight` is 0 for every answer: nothing is learned".to_owned());
    }
    Ok(Body::Turns(turns))
}
