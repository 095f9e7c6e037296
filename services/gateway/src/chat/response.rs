use lore_model::TokenLogprob;
use lore_types::{Answer, Citation, Claim, FinishReason, Passage, Timings, Usage};
use serde::Serialize;
use utoipa::ToSchema;

/// An answer in OpenAI's shape, and Lore's own fields `citations` and `lore` where it came from documents.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatCompletion {
    /// Names this answer.
    pub id: String,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The model as it was asked for.
    pub model: String,
    /// Always one.
    pub choices: Vec<Choice>,
    /// Tokens.
    pub usage: ChatUsage,
    /// Lore: the sources, ordered by the place in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub citations: Option<Vec<Citation>>,
    /// Lore: how the answer came about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lore: Option<LoreDetails>,
}

/// One answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Choice {
    /// Always 0.
    pub index: u32,
    /// What is said.
    pub message: AssistantMessage,
    /// Log probabilities, where asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// What the model says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AssistantMessage {
    /// Always `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: String,
    /// Always null.
    pub refusal: Option<String>,
}

/// Tokens of one request, in OpenAI's shape.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ChatUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// More of the prompt's tokens.
    pub prompt_tokens_details: PromptTokens,
}

/// More of the prompt's tokens.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct PromptTokens {
    /// Those that were in the KV cache already.
    pub cached_tokens: usize,
}

/// How an answer from documents came about; see `Answer`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LoreDetails {
    /// The collection.
    pub collection: String,
    /// The question as it was searched for.
    pub question: String,
    /// Whether nothing relevant was found.
    pub abstained: bool,
    /// Each sentence and whether a passage backs it.
    pub claims: Vec<Claim>,
    /// What the model was shown.
    pub passages: Vec<Passage>,
    /// What the asker should know.
    pub notices: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
    /// The rendered prompt, where `explain` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// Log probabilities of an answer's tokens.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Logprobs {
    /// One for each token.
    pub content: Vec<TokenProbability>,
}

/// A token's log probability.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenProbability {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The text's bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens at its place.
    pub top_logprobs: Vec<Alternative>,
}

/// Another token that could have stood there.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alternative {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The text's bytes.
    pub bytes: Vec<u8>,
}

/// A piece of a streamed answer, in OpenAI's shape. The last piece with a choice has the citations.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatChunk {
    /// Names the answer; the same in all its chunks.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// When the answer was begun, in seconds since 1970.
    pub created: i64,
    /// The model as it was asked for.
    pub model: String,
    /// One, or none in the chunk that tells the usage.
    pub choices: Vec<ChunkChoice>,
    /// Tokens: in the last chunk, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<ChatUsage>,
    /// Lore: the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub citations: Option<Vec<Citation>>,
    /// Lore: how the answer came about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lore: Option<LoreDetails>,
}

/// What a chunk adds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChunkChoice {
    /// Always 0.
    pub index: u32,
    /// More of the message.
    pub delta: Delta,
    /// Log probabilities of the tokens it adds, where asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended; null until then.
    pub finish_reason: Option<FinishReason>,
}

/// More of a message.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Delta {
    /// `assistant`, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl From<Usage> for ChatUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            prompt_tokens_details: PromptTokens {
                cached_tokens: usage.cached_tokens,
            },
        }
    }
}

impl From<TokenLogprob> for TokenProbability {
    fn from(token: TokenLogprob) -> Self {
        let alternative = |(token, logprob): (String, f32)| Alternative {
            bytes: token.clone().into_bytes(),
            token,
            logprob,
        };
        Self {
            bytes: token.token.clone().into_bytes(),
            token: token.token,
            logprob: token.logprob,
            top_logprobs: token.top.into_iter().map(alternative).collect(),
        }
    }
}

/// An answer from documents, cut into OpenAI's fields and Lore's.
pub(crate) fn details(answer: Answer) -> (String, Vec<Citation>, LoreDetails) {
    let lore = LoreDetails {
        collection: answer.collection,
        question: answer.question,
        abstained: answer.abstained,
        claims: answer.claims,
        passages: answer.passages,
        notices: answer.notices,
        timings: answer.timings,
        prompt: answer.prompt,
    };
    (answer.answer, answer.citations, lore)
}
