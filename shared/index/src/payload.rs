use crate::IndexedChunk;
use crate::terms::field_terms;
use serde_json::{Value, json};

/// The payload's field for the version.
pub(crate) const VERSION: &str = "version";
/// The payload's field for the document.
pub(crate) const DOCUMENT: &str = "document";
/// The payload's field for the terms of the filter, see `terms`.
pub(crate) const TERMS: &str = "terms";

/// What Qdrant keeps of a chunk beside its vector. The text is not part of it: the catalog holds that.
pub(crate) fn payload(chunk: &IndexedChunk) -> Value {
    json!({
        VERSION: chunk.chunk.version_id.to_string(),
        DOCUMENT: chunk.chunk.document_id.to_string(),
        TERMS: field_terms(&chunk.fields),
    })
}
