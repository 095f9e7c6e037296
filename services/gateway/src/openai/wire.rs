//! OpenAI's shapes as a client sends and reads them. Reading is lenient: servers leave out and add fields.

use lore_model::{GenerateRequest, TokenLogprob};
use lore_types::{FinishReason, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a streaming request. What OpenAI does not know (`top_k`, `min_p`, `repetition_penalty`) is sent only where
/// it differs from the default, so that strict servers take the rest.
pub(super) fn chat_request(model: &str, request: &GenerateRequest) -> Value {
    let sampling = &request.sampling;
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
    set("model", json!(model));
    set("messages", json!(request.messages));
    set("stream", json!(true));
    set("stream_options", json!({"include_usage": true}));
    set("temperature", json!(sampling.temperature));
    set("max_tokens", json!(sampling.max_new_tokens));
    set("seed", json!(sampling.seed.cast_signed()));
    if sampling.top_p < 1.0 {
        set("top_p", json!(sampling.top_p));
    }
    if sampling.top_k > 0 {
        set("top_k", json!(sampling.top_k));
    }
    if sampling.min_p > 0.0 {
        set("min_p", json!(sampling.min_p));
    }
    if (sampling.repetition_penalty - 1.0).abs() > f32::EPSILON {
        set("repetition_penalty", json!(sampling.repetition_penalty));
    }
    if sampling.presence_penalty != 0.0 {
        set("presence_penalty", json!(sampling.presence_penalty));
    }
    if sampling.frequency_penalty != 0.0 {
        set("frequency_penalty", json!(sampling.frequency_penalty));
    }
    if !sampling.stop.is_empty() {
        set("stop", json!(sampling.stop));
    }
    if let Some(top) = sampling.logprobs {
        set("logprobs", json!(true));
        set("top_logprobs", json!(top));
    }
    Value::Object(body)
}

/// One piece of a streamed answer.
#[derive(Deserialize)]
pub(super) struct ChatPiece {
    #[serde(default)]
    pub choices: Vec<PieceChoice>,
    #[serde(default)]
    pub usage: Option<WireUsage>,
    #[serde(default)]
    pub error: Option<Failure>,
}

#[derive(Deserialize)]
pub(super) struct PieceChoice {
    #[serde(default)]
    pub delta: PieceDelta,
    #[serde(default)]
    pub logprobs: Option<WireLogprobs>,
    #[serde(default)]
    pub finish_reason: Option<WireFinish>,
}

#[derive(Default, Deserialize)]
pub(super) struct PieceDelta {
    #[serde(default)]
    pub content: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireLogprobs {
    #[serde(default)]
    pub content: Option<Vec<WireLogprob>>,
}

#[derive(Deserialize)]
pub(super) struct WireLogprob {
    token: String,
    logprob: f32,
    #[serde(default)]
    top_logprobs: Vec<WireAlternative>,
}

#[derive(Deserialize)]
struct WireAlternative {
    token: String,
    logprob: f32,
}

impl WireLogprob {
    pub fn plain(self) -> TokenLogprob {
        let top = self
            .top_logprobs
            .into_iter()
            .map(|other| (other.token, other.logprob))
            .collect();
        TokenLogprob {
            token: self.token,
            logprob: self.logprob,
            top,
        }
    }
}

/// Why an answer ended, in the words of any server.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireFinish {
    Length,
    #[serde(other)]
    Stop,
}

impl WireFinish {
    pub fn plain(&self) -> FinishReason {
        match self {
            Self::Length => FinishReason::Length,
            Self::Stop => FinishReason::Stop,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WireUsage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    #[serde(default)]
    prompt_tokens_details: Option<WireDetails>,
}

#[derive(Deserialize)]
struct WireDetails {
    #[serde(default)]
    cached_tokens: Option<usize>,
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Self {
        Self {
            prompt_tokens: wire.prompt_tokens,
            completion_tokens: wire.completion_tokens,
            total_tokens: wire.prompt_tokens + wire.completion_tokens,
            cached_tokens: wire
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
        }
    }
}

/// The body of a refusal.
#[derive(Default, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub message: String,
    #[serde(default, deserialize_with = "word")]
    pub code: String,
}

impl Failure {
    /// What a body says; where it is not OpenAI's shape, the beginning of the body itself.
    pub fn read(body: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Failure,
        }
        serde_json::from_str::<Body>(body).map_or_else(
            |_| Self {
                message: body.chars().take(300).collect(),
                code: String::new(),
            },
            |body| body.error,
        )
    }
}

/// A code, which some servers give as a number or null.
fn word<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(word) => word,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}
