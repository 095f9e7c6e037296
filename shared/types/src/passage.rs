use crate::{ChunkId, DocumentId, Metadata, Span};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which sides are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    /// Both, joined by reciprocal rank fusion.
    #[default]
    Hybrid,
    /// Vectors alone.
    Dense,
    /// BM25 alone.
    Lexical,
}

/// A candidate's place on one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SideScore {
    /// Cosine on the dense side, BM25 on the lexical one; only comparable within one question and one side.
    pub score: f32,
    /// Place on that side, from 1.
    pub rank: u32,
}

/// How a passage came to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// The dense side, where it was found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<SideScore>,
    /// The lexical side, where it was found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<SideScore>,
    /// Reciprocal rank fusion: the sum over sides of weight / (`rrf_k` + rank).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused: Option<SideScore>,
    /// The cross-encoder, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<SideScore>,
}

/// A chunk chosen as evidence for one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Passage {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// The document.
    pub document_id: DocumentId,
    /// The document's name.
    pub document_name: String,
    /// The document's version, from 1.
    pub version: u32,
    /// Place of the chunk in the version, from 0.
    pub ordinal: u32,
    /// The chunk's text: the parsed text at `span`.
    pub text: String,
    /// Bytes of the parsed text.
    pub span: Span,
    /// Headings above it, outermost first.
    pub heading: Vec<String>,
    /// Page on which it starts, from 1, for formats that have pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The document's metadata.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// The score that it is ordered by, in the mode asked for.
    pub score: f32,
    /// Every score and rank, where `explain` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
}
