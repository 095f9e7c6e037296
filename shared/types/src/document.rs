use crate::{ApiError, ChunkId, ContentHash, DocumentId, JobId, Scalar, VersionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What a user says of a document: a flat JSON object of strings, numbers, booleans and lists of these.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// A half-open range of bytes, `[start, end)`, written as `[start, end]` in JSON. Both ends are character borders.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(from = "[usize; 2]", into = "[usize; 2]")]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` to `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The part of `text` that it covers, or `None` where it does not fit.
    pub fn of(self, text: &str) -> Option<&str> {
        text.get(self.range())
    }

    /// It as a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it covers nothing.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl From<[usize; 2]> for Span {
    fn from([start, end]: [usize; 2]) -> Self {
        Self { start, end }
    }
}

impl From<Span> for [usize; 2] {
    fn from(span: Span) -> Self {
        [span.start, span.end]
    }
}

impl utoipa::PartialSchema for Span {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <Vec<usize> as utoipa::PartialSchema>::schema()
    }
}

impl ToSchema for Span {}

/// The formats that Lore reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    /// Plain text.
    Text,
    /// Markdown (CommonMark with tables).
    Markdown,
    /// HTML.
    Html,
    /// PDF.
    Pdf,
    /// Word's DOCX.
    Docx,
}

/// Where a document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStatus {
    /// Accepted, no version of it can be found yet.
    Pending,
    /// Its current version can be found.
    Ready,
    /// No version can be found, and the newest one could not be read; the job says why.
    Failed,
}

/// One ingested source, as its current version is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// The collection it lies in.
    pub collection: String,
    /// Its external name: a path or a title, unique in the collection.
    pub name: String,
    /// Where it stands.
    pub status: DocumentStatus,
    /// Number of the version that can be found (the newest one where none can be found yet), from 1.
    pub version: u32,
    /// Id of that version.
    pub version_id: VersionId,
    /// Hash of that version's bytes.
    pub content_hash: ContentHash,
    /// Length of the original.
    pub bytes: u64,
    /// The format it was read as; absent until it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DocumentFormat>,
    /// The main language, ISO 639-1, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Its title, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Number of pages, for formats that have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<u32>,
    /// Number of chunks.
    pub chunks: u32,
    /// What the user said of it.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// Why the newest version could not be read, where it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiErrorText>,
    /// When it was first accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its current version was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A reason for a person.
pub type ApiErrorText = String;

/// The indexed unit: a piece of one version of one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Chunk {
    /// Its id, derived from version and ordinal.
    pub id: ChunkId,
    /// The document.
    pub document_id: DocumentId,
    /// The version of the document.
    pub version_id: VersionId,
    /// Its place in the version, from 0.
    pub ordinal: u32,
    /// The bytes of the parsed text that it covers: `parsed_text[span] == text`, always.
    pub span: Span,
    /// Its text.
    pub text: String,
    /// The headings above it, outermost first.
    #[serde(default)]
    pub heading: Vec<String>,
    /// The page on which it starts, from 1, for formats that have pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Its length in the embedder's tokens, special tokens counted.
    pub tokens: u32,
}

/// What an upload answers for each document: it is on disk, and this job will make it findable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The document.
    pub document_id: DocumentId,
    /// Its name.
    pub name: String,
    /// The version that was accepted, from 1.
    pub version: u32,
    /// The job that indexes it; for unchanged bytes, the job that did.
    pub job_id: JobId,
    /// Whether the very bytes and metadata were there already, so that nothing is to be done.
    pub unchanged: bool,
}

/// One file of an upload that was not accepted; the others of that upload are not affected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// The name that its document would have had.
    pub name: String,
    /// Why.
    pub error: ApiError,
}

/// What an upload answers: a list of what was accepted, and beside it what was not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// Always `list`.
    pub object: String,
    /// What was accepted, in the order of the upload; never empty.
    pub data: Vec<Accepted>,
    /// Always false: an upload's answer is whole.
    #[serde(default)]
    pub has_more: bool,
    /// Files that were not accepted, in the order of the upload.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

impl Uploaded {
    /// An answer that names everything of its upload.
    pub fn new(data: Vec<Accepted>, refused: Vec<Refused>) -> Self {
        Self {
            object: "list".to_owned(),
            data,
            has_more: false,
            refused,
        }
    }
}

impl Document {
    /// The fields that filters see: the metadata, flattened, and Lore's own `document.*` fields.
    pub fn fields(&self) -> BTreeMap<String, Vec<Scalar>> {
        document_fields(
            &self.metadata,
            self.id,
            &self.name,
            self.format,
            self.language.as_deref(),
        )
    }
}

/// The fields that filters see of a document: its metadata, flattened, and Lore's own `document.*` fields.
pub fn document_fields(
    metadata: &Metadata,
    id: DocumentId,
    name: &str,
    format: Option<DocumentFormat>,
    language: Option<&str>,
) -> BTreeMap<String, Vec<Scalar>> {
    let mut fields = crate::filter::flatten(metadata);
    let mut own = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            fields.insert(format!("document.{key}"), vec![Scalar::Text(value)]);
        }
    };
    own("id", Some(id.to_string()));
    own("name", Some(name.to_owned()));
    own("format", format.map(|format| format.word().to_owned()));
    own("language", language.map(str::to_owned));
    fields
}

impl DocumentFormat {
    /// The word that stands for it in JSON and in filters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
        }
    }
}
