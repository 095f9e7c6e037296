//! Lore's words in those of `qdrant-edge`, and back.

use crate::payload::{DOCUMENT, TERMS, VERSION, payload};
use crate::terms::TermFilter;
use crate::vectors::check_vectors;
use crate::{Candidate, IndexError, IndexedChunk, IndexedId};
use lore_types::{ChunkId, DocumentId, VersionId};
use qdrant_edge::{
    AnyVariants, Condition, FieldCondition, Filter, JsonPath, Match, MatchAny, PointId,
    PointStruct, PointStructPersisted, Record, ScoredPoint, WithPayloadInterface,
};
use uuid::Uuid;

/// Points of one length, ready to be written.
pub(super) struct Points {
    pub(super) dimensions: u32,
    pub(super) points: Vec<PointStructPersisted>,
}

/// The points of some chunks; `None` where there are none.
pub(super) fn points(
    chunks: &[IndexedChunk],
    vectors: &[Vec<f32>],
) -> Result<Option<Points>, IndexError> {
    let Some(dimensions) = check_vectors(chunks, vectors)? else {
        return Ok(None);
    };
    let points = chunks.iter().zip(vectors).map(|(chunk, vector)| {
        PointStruct::new(
            PointId::Uuid(chunk.chunk.id.0),
            vector.clone(),
            payload(chunk),
        )
        .into()
    });
    Ok(Some(Points {
        dimensions,
        points: points.collect(),
    }))
}

/// The parts of the payload that say what a point is.
pub(super) fn ids_only() -> WithPayloadInterface {
    WithPayloadInterface::Fields([VERSION, DOCUMENT].map(path).to_vec())
}

pub(super) fn candidate(point: &ScoredPoint) -> Option<Candidate> {
    let payload = point.payload.as_ref()?;
    let version_id = VersionId(field(payload, VERSION)?);
    Some(Candidate {
        chunk_id: ChunkId(id(point.id)?),
        version_id,
        score: point.score,
    })
}

pub(super) fn indexed(record: &Record) -> Option<IndexedId> {
    let payload = record.payload.as_ref()?;
    Some(IndexedId {
        chunk_id: ChunkId(id(record.id)?),
        version_id: VersionId(field(payload, VERSION)?),
        document_id: DocumentId(field(payload, DOCUMENT)?),
    })
}

fn id(id: PointId) -> Option<Uuid> {
    match id {
        PointId::Uuid(uuid) => Some(uuid),
        PointId::NumId(_) => None,
    }
}

fn field(payload: &qdrant_edge::Payload, name: &str) -> Option<Uuid> {
    Uuid::parse_str(payload.0.get(name)?.as_str()?).ok()
}

/// The filter that some versions pass.
pub(super) fn of_versions(versions: &[VersionId]) -> Filter {
    Filter::new_must(any(VERSION, versions.iter().map(VersionId::to_string)))
}

/// The filter in Qdrant's words; `None` admits everything. `TermFilter::None` is not asked for here.
pub(super) fn filter(terms: &TermFilter) -> Option<Filter> {
    match terms {
        TermFilter::All | TermFilter::None => None,
        TermFilter::And(parts) => Some(Filter {
            must: Some(conditions(parts)),
            ..Filter::default()
        }),
        TermFilter::Or(parts) => Some(Filter {
            should: Some(conditions(parts)),
            ..Filter::default()
        }),
        TermFilter::Not(part) => Some(Filter {
            must_not: Some(vec![condition(part)]),
            ..Filter::default()
        }),
        TermFilter::Any(_) => Some(Filter::new_must(condition(terms))),
    }
}

fn conditions(parts: &[TermFilter]) -> Vec<Condition> {
    parts.iter().map(condition).collect()
}

fn condition(part: &TermFilter) -> Condition {
    match part {
        TermFilter::Any(terms) => any(TERMS, terms.iter().cloned()),
        other => Condition::Filter(filter(other).unwrap_or_default()),
    }
}

fn any(field: &str, values: impl Iterator<Item = String>) -> Condition {
    let values = Match::Any(MatchAny {
        any: AnyVariants::Strings(values.collect()),
    });
    Condition::Field(FieldCondition::new_match(path(field), values))
}

/// The path of a field at the top of the payload.
fn path(field: &str) -> JsonPath {
    JsonPath {
        first_key: field.to_owned(),
        rest: Vec::new(),
    }
}
