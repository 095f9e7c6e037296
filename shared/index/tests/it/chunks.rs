//! Chunks and vectors to test with.

use lore_index::IndexedChunk;
use lore_types::{Chunk, ChunkId, DocumentId, Scalar, Span, VersionId};
use std::collections::BTreeMap;
use std::io::Write;

pub const DIMENSIONS: u32 = 8;

pub type Fields = BTreeMap<String, Vec<Scalar>>;

/// Version `number` of the document called `name`.
pub fn version(name: &str, number: u32) -> VersionId {
    VersionId::derive(DocumentId::derive("c", name), number)
}

/// Chunk `ordinal` of the first version of the document called `name`.
pub fn chunk(name: &str, ordinal: u32, text: &str) -> IndexedChunk {
    chunk_of(name, 1, ordinal, text, Fields::new())
}

pub fn chunk_of(name: &str, number: u32, ordinal: u32, text: &str, fields: Fields) -> IndexedChunk {
    let document_id = DocumentId::derive("c", name);
    let version_id = VersionId::derive(document_id, number);
    let chunk = Chunk {
        id: ChunkId::derive(version_id, ordinal),
        document_id,
        version_id,
        ordinal,
        span: Span::new(0, text.len()),
        text: text.to_owned(),
        heading: Vec::new(),
        page: None,
        tokens: 1,
    };
    IndexedChunk {
        chunk,
        title: String::new(),
        fields,
    }
}

/// A unit vector at `degrees` from the first axis, so that cosines are known.
pub fn at(degrees: f32) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSIONS as usize];
    vector[0] = degrees.to_radians().cos();
    vector[1] = degrees.to_radians().sin();
    vector
}

/// The fields of a JSON object, as a document's metadata gives them.
pub fn fields(metadata: serde_json::Value) -> Fields {
    let serde_json::Value::Object(metadata) = metadata else {
        return Fields::new();
    };
    let scalar = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Scalar::Text(text.clone()),
        serde_json::Value::Bool(truth) => Scalar::Bool(*truth),
        other => Scalar::Number(other.as_f64().unwrap()),
    };
    let values = |value: serde_json::Value| match value {
        serde_json::Value::Array(values) => values.iter().map(scalar).collect(),
        other => vec![scalar(&other)],
    };
    metadata
        .into_iter()
        .map(|(key, value)| (key, values(value)))
        .collect()
}

/// The address of a Qdrant server to test with. Without one it says on the terminal, past the harness that hides what a
/// passing test prints, what was not tested.
pub fn server_url(untested: &str) -> Option<String> {
    let url = std::env::var("QDRANT_URL").ok();
    if url.is_none() {
        let mut terminal = std::io::stderr();
        writeln!(
            terminal,
            "SKIPPED: {untested}: QDRANT_URL is not set (such as http://127.0.0.1:6334)"
        )
        .unwrap();
    }
    url
}
