//! What names and metadata may be.

use lore_http::{ApiFailure, ErrorCode};
use lore_types::Metadata;
use serde_json::Value;

/// Bytes of the longest document name.
const MAX_NAME: usize = 1_024;
/// Bytes of the longest collection name.
const MAX_COLLECTION: usize = 64;
/// Bytes of the largest metadata, as JSON.
const MAX_METADATA: usize = 16 << 10;
/// Deepest nesting of metadata.
const MAX_DEPTH: usize = 4;

/// Refuses what cannot name a collection.
pub(crate) fn collection_name(name: &str) -> Result<(), ApiFailure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=MAX_COLLECTION).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.')
    {
        return Ok(());
    }
    Err(ApiFailure::new(
        ErrorCode::InvalidName,
        format!("`{}` cannot name a collection", name.escape_debug()),
    )
    .hint("1 to 64 of a-z A-Z 0-9 _ - . are allowed, not starting with a dot")
    .param("name"))
}

/// Refuses what cannot name a document. A name is never used as a path, so it may look like one.
pub(crate) fn document_name(name: &str) -> Result<(), ApiFailure> {
    let problem = if name.trim().is_empty() {
        "the document has no name".to_owned()
    } else if name.len() > MAX_NAME {
        format!(
            "the document's name has {} bytes; at most {MAX_NAME} are allowed",
            name.len()
        )
    } else if let Some(bad) = name.chars().find(|letter| letter.is_control()) {
        format!(
            "the document's name holds the control character U+{:04X}",
            u32::from(bad)
        )
    } else {
        return Ok(());
    };
    Err(ApiFailure::new(ErrorCode::InvalidName, problem)
        .hint("give each file a file name, or one file a `name` part")
        .param("name"))
}

/// Refuses metadata that filters could not reach.
pub(crate) fn metadata(metadata: &Metadata) -> Result<(), ApiFailure> {
    let bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_METADATA {
        return Err(bad(format!(
            "the metadata has {bytes} bytes of JSON; at most {MAX_METADATA} are allowed"
        )));
    }
    if let Some(key) = metadata
        .keys()
        .find(|key| *key == "document" || key.starts_with("document."))
    {
        return Err(bad(format!(
            "the metadata field `{key}` is reserved for what Lore itself says of a document"
        )));
    }
    object(metadata, 1)
}

fn object(fields: &Metadata, depth: usize) -> Result<(), ApiFailure> {
    if depth > MAX_DEPTH {
        return Err(bad(format!(
            "the metadata is nested more than {MAX_DEPTH} levels deep"
        )));
    }
    for (key, value) in fields {
        if key.is_empty() || key.starts_with('$') || key.chars().any(char::is_control) {
            let key = key.escape_debug();
            return Err(bad(format!(
                "`{key}` cannot name a metadata field: it is empty, starts with `$` or holds control characters"
            )));
        }
        match value {
            Value::Object(inner) => object(inner, depth + 1)?,
            Value::Array(values)
                if values
                    .iter()
                    .any(|value| value.is_array() || value.is_object()) =>
            {
                return Err(bad(format!(
                    "the metadata field `{key}` is a list of lists or objects; filters reach only lists of texts, numbers and truth values"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

fn bad(message: String) -> ApiFailure {
    ApiFailure::new(ErrorCode::InvalidMetadata, message)
        .hint("metadata is a JSON object such as {\"team\": \"hr\", \"year\": 2024, \"tags\": [\"a\", \"b\"]}")
        .param("metadata")
}
