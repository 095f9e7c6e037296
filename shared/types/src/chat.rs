use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sets the rules.
    #[serde(alias = "developer")]
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
    /// Carries a tool's output.
    Tool,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// How the next token is chosen. The names are OpenAI's and Hugging Face's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Sampling {
    /// 0 takes the likeliest token (greedy); 1 samples from the model's distribution.
    pub temperature: f32,
    /// Only the k likeliest tokens; 0 for all.
    pub top_k: usize,
    /// Only the smallest set of tokens with this probability together; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this fraction as likely as the likeliest; 0 for all.
    pub min_p: f32,
    /// Divides the score of tokens seen before, in the prompt too; 1 for none.
    pub repetition_penalty: f32,
    /// Taken from the score of each token that the answer has already; 0 for none.
    pub presence_penalty: f32,
    /// Taken from the score of each token as often as the answer has it already; 0 for none.
    pub frequency_penalty: f32,
    /// Makes sampling repeatable.
    pub seed: u64,
    /// Ends the answer before any of these texts.
    pub stop: Vec<String>,
    /// At most this many tokens.
    pub max_new_tokens: usize,
    /// Report the log probability of each token and of this many alternatives.
    pub logprobs: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
            stop: Vec::new(),
            max_new_tokens: 512,
            logprobs: None,
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop text came.
    Stop,
    /// `max_new_tokens` or the context was full.
    Length,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// Tokens of the prompt that were in the KV cache already.
    #[serde(default)]
    pub cached_tokens: usize,
}
