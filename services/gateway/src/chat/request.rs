use crate::ask::check_sampling;
use crate::error::GatewayError;
use lore_types::{Message, Role, Sampling, SearchMode};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A conversation to go on with, in OpenAI's shape, and Lore's own fields. Fields that are not listed are ignored, because
/// OpenAI's clients send more than anybody implements.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// The language model, an adapter of it (`name` or `name@version`), or a collection: then the answer comes from its documents.
    pub model: String,
    /// The conversation; the last message is the user's.
    pub messages: Vec<ChatMessage>,
    /// Lore: answer from this collection's documents.
    #[serde(default)]
    pub collection: Option<String>,
    /// Lore: a condition on metadata.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Lore: at most this many passages.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Lore: which sides are asked for passages.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub mode: SearchMode,
    /// Lore: withhold an answer in which a sentence has no passage that backs it.
    #[serde(default)]
    pub strict: Option<bool>,
    /// Lore: tell every score, every rank and the rendered prompt.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub explain: bool,
    /// Whether the answer comes in chunks while it is written.
    #[serde(default)]
    pub stream: Option<bool>,
    /// How it streams.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// 0 always takes the likeliest token.
    #[serde(default)]
    pub temperature: Option<f32>,
    /// Only the smallest set of tokens with this probability together.
    #[serde(default)]
    pub top_p: Option<f32>,
    /// Lore: only the k likeliest tokens.
    #[serde(default)]
    pub top_k: Option<usize>,
    /// Lore: only tokens at least this fraction as likely as the likeliest.
    #[serde(default)]
    pub min_p: Option<f32>,
    /// Lore: divides the score of tokens seen before.
    #[serde(default)]
    pub repetition_penalty: Option<f32>,
    /// At most this many tokens; the older name.
    #[serde(default)]
    pub max_tokens: Option<usize>,
    /// At most this many tokens.
    #[serde(default)]
    pub max_completion_tokens: Option<usize>,
    /// Ends the answer before any of these texts: one, or a list of up to 4.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Makes sampling repeatable.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Number of answers; only 1 can be had.
    #[serde(default)]
    pub n: Option<u32>,
    /// Whether the log probability of each token is told.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// With how many alternatives, 0 to 20.
    #[serde(default)]
    pub top_logprobs: Option<usize>,
    /// Taken from the score of each token that the answer has already, -2 to 2.
    #[serde(default)]
    pub presence_penalty: Option<f32>,
    /// Taken from the score of each token as often as the answer has it already, -2 to 2.
    #[serde(default)]
    pub frequency_penalty: Option<f32>,
    /// Only an empty one can be had.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub logit_bias: Option<Value>,
    /// Only none can be had.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Value>,
    /// Only none can be had.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub functions: Option<Value>,
    /// Only `{"type": "text"}` can be had.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub response_format: Option<Value>,
}

/// One message of a conversation, in OpenAI's shape.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ChatMessage {
    /// Who speaks: `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: Role,
    /// What is said.
    #[serde(default)]
    pub content: Option<Content>,
}

/// A text, or parts of which all are text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts.
    Parts(Vec<Part>),
}

/// One part of a message.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Part {
    /// Only `text` can be had.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
}

/// How a streamed answer comes.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Whether a last chunk tells the tokens used.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// One text or several that end an answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl ChatRequest {
    /// Refuses what Lore does not implement, rather than to answer as if it had not been asked.
    pub(crate) fn check(&self) -> Result<(), GatewayError> {
        let refuse = |wrong: bool, field, instead| {
            if wrong {
                Err(GatewayError::Unsupported { field, instead })
            } else {
                Ok(())
            }
        };
        let some = |value: &Option<Value>| value.as_ref().is_some_and(|value| !is_empty(value));
        refuse(
            self.n.is_some_and(|n| n != 1),
            "n",
            "ask once for each answer",
        )?;
        refuse(
            some(&self.tools),
            "tools",
            "leave it out; this model calls no tools",
        )?;
        refuse(
            some(&self.functions),
            "functions",
            "leave it out; this model calls no functions",
        )?;
        refuse(some(&self.logit_bias), "logit_bias", "leave it out")?;
        let format = self
            .response_format
            .as_ref()
            .and_then(|format| format.get("type"))
            .and_then(Value::as_str);
        refuse(
            !matches!(format, None | Some("text")),
            "response_format",
            "only {\"type\": \"text\"} can be had",
        )
    }

    /// The conversation as plain messages.
    pub(crate) fn conversation(&self) -> Result<Vec<Message>, GatewayError> {
        if self.messages.is_empty() {
            return Err(GatewayError::Empty("messages"));
        }
        self.messages
            .iter()
            .map(|message| Ok(Message::new(message.role, text(message.content.as_ref())?)))
            .collect()
    }

    /// How tokens are chosen: the request's words, else those of `base`.
    pub(crate) fn sampling(&self, base: &Sampling) -> Result<Sampling, GatewayError> {
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            min_p: self.min_p.unwrap_or(base.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(base.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(base.frequency_penalty),
            seed: self.seed.unwrap_or_default().cast_unsigned(),
            stop: self.stops()?,
            max_new_tokens: self
                .max_completion_tokens
                .or(self.max_tokens)
                .unwrap_or(base.max_new_tokens),
            logprobs: self.wanted_logprobs()?,
        };
        check_sampling(&sampling)?;
        Ok(sampling)
    }

    fn stops(&self) -> Result<Vec<String>, GatewayError> {
        let stops = match self.stop.clone() {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        if stops.len() > 4 || stops.iter().any(String::is_empty) {
            return Err(GatewayError::Invalid {
                field: "stop",
                problem: "takes up to 4 texts, none of them empty".to_owned(),
            });
        }
        Ok(stops)
    }

    fn wanted_logprobs(&self) -> Result<Option<usize>, GatewayError> {
        let top = self.top_logprobs.unwrap_or_default();
        if top > 20 {
            return Err(GatewayError::Invalid {
                field: "top_logprobs",
                problem: format!("is {top}, but has to be 0 to 20"),
            });
        }
        if top > 0 && self.logprobs != Some(true) {
            return Err(GatewayError::Invalid {
                field: "top_logprobs",
                problem: "needs `logprobs: true`".to_owned(),
            });
        }
        Ok((self.logprobs == Some(true)).then_some(top))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn text(content: Option<&Content>) -> Result<String, GatewayError> {
    match content {
        None => Ok(String::new()),
        Some(Content::Text(text)) => Ok(text.clone()),
        Some(Content::Parts(parts)) => {
            if let Some(part) = parts.iter().find(|part| part.kind != "text") {
                let problem = format!(
                    "has a part of type `{}`, but this model reads text only",
                    part.kind
                );
                return Err(GatewayError::Invalid {
                    field: "messages",
                    problem,
                });
            }
            Ok(parts
                .iter()
                .filter_map(|part| part.text.as_deref())
                .collect::<Vec<_>>()
                .join("\n"))
        }
    }
}
