//! What fusion, selection, citations, drafts and prompts promise.

mod citations;
mod fusion;
mod prompts;
mod relevance;
mod selection;

use lore_types::{ChunkId, DocumentId, Metadata, Passage, Span, VersionId};

/// The chunk at `ordinal` of document `name`.
fn chunk(name: &str, ordinal: u32) -> ChunkId {
    ChunkId::derive(
        VersionId::derive(DocumentId::derive("test", name), 1),
        ordinal,
    )
}

/// A passage whose text starts at byte `start` of the document `name`.
fn passage(name: &str, start: usize, text: &str) -> Passage {
    let ordinal = u32::try_from(start).expect("tests use short documents");
    Passage {
        chunk_id: chunk(name, ordinal),
        document_id: DocumentId::derive("test", name),
        document_name: name.to_owned(),
        version: 1,
        ordinal,
        text: text.to_owned(),
        span: Span::new(start, start + text.len()),
        heading: Vec::new(),
        page: None,
        metadata: Metadata::new(),
        score: 1.0,
        scores: None,
    }
}

/// Passages of a small handbook in two languages.
fn handbook() -> Vec<Passage> {
    vec![
        passage(
            "leave.md",
            40,
            "Employees have 28 days of leave. Up to 5 days may be carried over until 31 March. Carry-over is not paid out.",
        ),
        passage(
            "returns.md",
            0,
            "Customers may return goods within 14 days. Refunds are paid within 3 days after the parcel came back, to the original card.",
        ),
        passage(
            "报销.md",
            7,
            "差旅费须在出差结束后30天内报销。住宿每晚最高450元。超出部分不予报销。",
        ),
    ]
}
