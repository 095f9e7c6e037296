use async_trait::async_trait;
use lore_types::{FinishReason, Message, Sampling, Usage};
use thiserror::Error;
use tokio::sync::mpsc;

/// One request to a language model.
#[derive(Clone, Debug, Default)]
pub struct GenerateRequest {
    /// The conversation; the model's own chat template renders it.
    pub messages: Vec<Message>,
    /// The adapter to answer with; `None` for the base model.
    pub adapter: Option<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// One step of an answer. Texts joined give the answer; a text never splits a character.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerateEvent {
    /// More text. It may be empty while a stop text or a character is still undecided.
    Token {
        /// The text that became certain.
        text: String,
        /// The log probability of the token, where asked for.
        logprob: Option<TokenLogprob>,
    },
    /// The end; always the last event of a request that did not fail.
    Done {
        /// Why it ended.
        finish_reason: FinishReason,
        /// Tokens in and out.
        usage: Usage,
    },
}

/// A token's log probability and its likeliest alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The likeliest tokens with theirs, best first.
    pub top: Vec<(String, f32)>,
}

/// What a generator is.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorInfo {
    /// The name that requests use for the base model.
    pub model: String,
    /// Tokens of prompt and answer together that fit.
    pub context_length: usize,
}

/// Why a request was not answered, or not to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The queue is full; try again after a while.
    #[error("the model has {queued} requests waiting, which is its limit")]
    Busy {
        /// Requests that wait.
        queued: usize,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {prompt} tokens, but `{model}` takes {context} in all")]
    TooLong {
        /// The model.
        model: String,
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// No such adapter is loaded.
    #[error("no adapter `{0}` is loaded")]
    NoAdapter(String),
    /// A setting that cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The model stopped working.
    #[error("generation failed: {0}")]
    Failed(String),
}

/// A language model that answers. Two kinds: Lore's own decoder, and an OpenAI-compatible server.
///
/// # Guarantees
/// Dropping the receiver cancels the work. An error ends the stream.
#[async_trait]
pub trait Generator: Send + Sync {
    /// What it is.
    fn info(&self) -> GeneratorInfo;
    /// Number of tokens of the rendered conversation, the generation prompt included; an estimate that does not
    /// undershoot where the tokenizer is not at hand.
    fn count_tokens(&self, messages: &[Message]) -> Result<usize, GenerateError>;
    /// The prompt as the model sees it, for `explain`.
    fn render(&self, messages: &[Message]) -> Result<String, GenerateError>;
    /// Starts answering.
    async fn generate(
        &self,
        request: GenerateRequest,
    ) -> Result<mpsc::Receiver<Result<GenerateEvent, GenerateError>>, GenerateError>;
}
