use crate::error::{ModelError, Result};
use lore_types::{Message, Role};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, context};
use time::OffsetDateTime;

/// Steps that one rendering may take (about one per instruction and one per 64 bytes made): a long conversation takes
/// some thousands; a template that loops for ever stops within a second.
const FUEL: u64 = 5_000_000;

/// A model's chat template: Jinja with the settings and helpers that Hugging Face gives it.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens that templates call `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// Where the template's syntax is wrong.
    pub fn new(source: String, bos: String, eos: String) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| ModelError::Template(error.to_string()))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        // `{% generation %}` only marks the assistant's words for training masks; it prints nothing.
        let cleaned = without_generation_marks(&source);
        environment
            .add_template_owned("chat", cleaned)
            .map_err(|error| ModelError::Template(error.to_string()))?;
        Ok(Self {
            environment,
            source,
            bos,
            eos,
        })
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation; `answer` asks for what makes the model answer.
    ///
    /// # Errors
    /// What the template refuses, in its own words; a rendering that takes too many steps.
    pub fn render(&self, messages: &[Message], answer: bool) -> Result<String> {
        let messages: Vec<Value> = messages.iter().map(|message| context! { role => role(message.role), content => message.content.as_str() }).collect();
        let template = self
            .environment
            .get_template("chat")
            .map_err(|error| explain(&error))?;
        let context = context! {
            messages => messages,
            add_generation_prompt => answer,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
        };
        template.render(context).map_err(|error| explain(&error))
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

fn explain(error: &Error) -> ModelError {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => ModelError::Template("it takes too many steps".to_owned()),
        (ErrorKind::InvalidOperation, Some(detail)) => ModelError::Template(detail.to_owned()),
        _ => ModelError::Template(error.to_string()),
    }
}

fn without_generation_marks(source: &str) -> String {
    let mut out = source.to_owned();
    for word in ["generation", "endgeneration"] {
        for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            // A comment keeps the trimming of white space that the mark would do.
            let comment = format!("{} {}", open.replace('%', "#"), close.replace('%', "#"));
            out = out.replace(&format!("{open} {word} {close}"), &comment);
        }
    }
    out
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    let wrong = |error: String| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now: {error}"),
        )
    };
    let items = time::format_description::parse_strftime_borrowed(&format)
        .map_err(|error| wrong(error.to_string()))?;
    OffsetDateTime::now_utc()
        .format(&items)
        .map_err(|error| wrong(error.to_string()))
}

/// JSON as Python writes it: a space behind `:` and `,`, nothing escaped for HTML.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut out = String::new();
    write_json(value, indent.map(|width| width.min(16)), 0, &mut out)?;
    Ok(out)
}

/// Levels of nesting beyond which a value is refused.
const DEEPEST: usize = 64;

fn write_json(
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(Error::new(
            ErrorKind::BadSerialization,
            "the value is nested too deeply",
        ));
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.push_str("null"),
        ValueKind::Bool | ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| (None, item));
            write_items(items, ['[', ']'], indent, depth, out)?;
        }
        ValueKind::Map => {
            let entry = |key: Value| {
                value
                    .get_item(&key)
                    .map(|item| (Some(key.to_string()), item))
            };
            let items = value
                .try_iter()?
                .map(entry)
                .collect::<Result<Vec<_>, Error>>()?;
            write_items(items.into_iter(), ['{', '}'], indent, depth, out)?;
        }
        _ => out.push_str(&quoted(&value.to_string())),
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_items(
    items: impl Iterator<Item = (Option<String>, Value)>,
    [open, close]: [char; 2],
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let newline = |out: &mut String, depth: usize| {
        if let Some(width) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(open);
    let mut any = false;
    for (key, item) in items {
        if any {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        any = true;
        newline(out, depth + 1);
        if let Some(key) = key {
            out.push_str(&quoted(&key));
            out.push_str(": ");
        }
        write_json(&item, indent, depth + 1, out)?;
    }
    if any {
        newline(out, depth);
    }
    out.push(close);
    Ok(())
}

/// The methods of Python's strings and dictionaries that chat templates call.
fn python_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => string_method(value.as_str().unwrap_or_default(), method, arguments),
        ValueKind::Map => map_method(state, value, method, arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn string_method(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    Ok(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (set,): (Option<&str>,) = from_args(arguments)?;
            let cut = |character: char| {
                set.map_or(character.is_whitespace(), |set| set.contains(character))
            };
            let text = if method == "rstrip" {
                text
            } else {
                text.trim_start_matches(cut)
            };
            Value::from(if method == "lstrip" {
                text
            } else {
                text.trim_end_matches(cut)
            })
        }
        "split" | "rsplit" => split(text, method == "rsplit", arguments)?,
        "startswith" => {
            from_args(arguments).map(|(part,): (&str,)| Value::from(text.starts_with(part)))?
        }
        "endswith" => {
            from_args(arguments).map(|(part,): (&str,)| Value::from(text.ends_with(part)))?
        }
        "replace" => from_args(arguments)
            .map(|(from, to): (&str, &str)| Value::from(text.replace(from, to)))?,
        "find" => from_args(arguments).map(|(part,): (&str,)| Value::from(find(text, part)))?,
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "title" | "capitalize" => Value::from(capitalised(text, method == "title")),
        "splitlines" => text.lines().map(Value::from).collect(),
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

fn find(text: &str, part: &str) -> i64 {
    let before = text
        .split_once(part)
        .map(|(before, _)| before.chars().count());
    before
        .and_then(|count| i64::try_from(count).ok())
        .unwrap_or(-1)
}

fn split(text: &str, from_right: bool, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, limit): (Option<&str>, Option<usize>) = from_args(arguments)?;
    let Some(separator) = separator else {
        return Ok(text.split_whitespace().map(Value::from).collect());
    };
    let parts = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    if from_right {
        let mut parts: Vec<Value> = text.rsplitn(parts, separator).map(Value::from).collect();
        parts.reverse();
        return Ok(Value::from(parts));
    }
    Ok(text.splitn(parts, separator).map(Value::from).collect())
}

fn capitalised(text: &str, every_word: bool) -> String {
    let mut start = true;
    let change = |character: char| -> Vec<char> {
        let changed = if start {
            character.to_uppercase().collect()
        } else {
            character.to_lowercase().collect()
        };
        start = every_word && !character.is_alphanumeric();
        changed
    };
    text.chars().flat_map(change).collect()
}

fn map_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match method {
        "items" => state.apply_filter("items", std::slice::from_ref(value)),
        "keys" => Ok(value.try_iter()?.collect()),
        "values" => Ok(value
            .try_iter()?
            .filter_map(|key| value.get_item(&key).ok())
            .collect()),
        "get" => {
            let (key, default): (&Value, Option<&Value>) = from_args(arguments)?;
            let found = value
                .get_item(key)
                .ok()
                .filter(|found| !found.is_undefined());
            Ok(found
                .or(default.cloned())
                .unwrap_or_else(|| Value::from(())))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}
