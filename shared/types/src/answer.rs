use crate::{ChunkId, DocumentId, FinishReason, Passage, Span, Usage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A link from a span of the answer to a span of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    /// As it stands in the answer: `[1]`.
    pub marker: String,
    /// The document.
    pub document_id: DocumentId,
    /// The document's name.
    pub document_name: String,
    /// The document's version, from 1.
    pub version: u32,
    /// The chunk that served as the passage.
    pub chunk_id: ChunkId,
    /// Page on which the quote starts, from 1, for formats that have pages.
    pub page: Option<u32>,
    /// Headings above the quote, outermost first, joined by ` > `.
    pub heading: Option<String>,
    /// The document's text at `document_span`, to the byte.
    pub quote: String,
    /// Bytes of the document's parsed text.
    pub document_span: Span,
    /// Bytes of the answer: the claim that this citation backs, its marker included.
    pub answer_span: Span,
    /// How well the quote backs the claim, 0..=1.
    pub support: f32,
}

/// One sentence of the answer, and whether a passage backs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// Bytes of the answer.
    pub answer_span: Span,
    /// Whether `support` reaches the threshold.
    pub supported: bool,
    /// How well the best passage backs it, 0..=1.
    pub support: f32,
    /// Markers of the citations that back it.
    pub markers: Vec<String>,
}

/// Where the time of one answer went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// Rewriting a follow-up so that it stands alone.
    pub rewrite_ms: f64,
    /// Embedding the question.
    pub embed_ms: f64,
    /// Both indexes, fusion and fetching the passages.
    pub retrieve_ms: f64,
    /// Generating, the prompt included.
    pub generate_ms: f64,
    /// Resolving and checking citations.
    pub cite_ms: f64,
    /// All of it.
    pub total_ms: f64,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// Names this answer.
    pub id: String,
    /// Always `answer`.
    pub object: String,
    /// The model that wrote it.
    pub model: String,
    /// The collection that was asked.
    pub collection: String,
    /// The question as it was searched for; differs from the user's for a follow-up.
    pub question: String,
    /// The text, with markers.
    pub answer: String,
    /// Whether nothing relevant was found, so that `answer` is the configured sentence and there is no citation.
    pub abstained: bool,
    /// Ordered by `answer_span`.
    pub citations: Vec<Citation>,
    /// Each sentence of the answer that states something, in order.
    pub claims: Vec<Claim>,
    /// What the model was shown, in the order of their numbers.
    pub passages: Vec<Passage>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens.
    pub usage: Usage,
    /// Where the time went.
    pub timings: Timings,
    /// What the asker should know of how this answer came about, for a person: an empty collection, an answer withheld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// The rendered prompt, where `explain` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}
