use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A named set of documents in both indexes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Collection {
    /// Its name: 1–64 of `a-z A-Z 0-9 _ - .`, not starting with `.`.
    pub name: String,
    /// What it is for, in the user's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The catalogue name of the embedder whose vectors it holds; it cannot change afterwards.
    pub embedder: String,
    /// Length of the vectors.
    pub dimensions: u32,
    /// Documents that can be found.
    #[serde(default)]
    pub documents: u64,
    /// Chunks that can be found.
    #[serde(default)]
    pub chunks: u64,
    /// The adapter that answers its questions where a request names none; the base model where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_adapter: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}
