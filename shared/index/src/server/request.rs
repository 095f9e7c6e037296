//! Lore's words in those of Qdrant's gRPC interface, and back.

use crate::payload::{DOCUMENT, TERMS, VERSION, payload};
use crate::terms::TermFilter;
use crate::tuning::{BUILD_WIDTH, EXACT_KB, LINKS, SEARCH_WIDTH};
use crate::{Candidate, IndexedChunk, IndexedId};
use lore_types::{ChunkId, DocumentId, VersionId};
use qdrant_client::Payload;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    AcornSearchParamsBuilder, CollectionInfo, Condition, CreateCollection, CreateCollectionBuilder,
    CreateFieldIndexCollection, CreateFieldIndexCollectionBuilder, DeletePoints,
    DeletePointsBuilder, Distance, FieldType, Filter, HnswConfigDiffBuilder,
    KeywordIndexParamsBuilder, OptimizersConfigDiffBuilder, PayloadIncludeSelector, PointId,
    PointStruct, QueryPoints, QueryPointsBuilder, RetrievedPoint, ScoredPoint, ScrollPoints,
    ScrollPointsBuilder, SearchParamsBuilder, UpsertPoints, UpsertPointsBuilder, Value,
    VectorParamsBuilder,
};
use std::collections::HashMap;
use uuid::Uuid;

/// Points that one listing step fetches.
const PAGE: u32 = 4096;

pub(super) fn create(name: String, dimensions: u32) -> CreateCollection {
    let graph = HnswConfigDiffBuilder::default()
        .m(LINKS.into())
        .ef_construct(BUILD_WIDTH.into())
        .full_scan_threshold(EXACT_KB.into());
    CreateCollectionBuilder::new(name)
        .vectors_config(VectorParamsBuilder::new(
            dimensions.into(),
            Distance::Cosine,
        ))
        .hnsw_config(graph)
        .optimizers_config(
            OptimizersConfigDiffBuilder::default().indexing_threshold(EXACT_KB.into()),
        )
        .on_disk_payload(true)
        .build()
}

/// The payload's fields that are searched.
pub(super) fn indexes(name: &str) -> Vec<CreateFieldIndexCollection> {
    let index = |field| {
        CreateFieldIndexCollectionBuilder::new(name, field, FieldType::Keyword)
            .field_index_params(KeywordIndexParamsBuilder::default().enable_hnsw(false))
            .wait(true)
            .build()
    };
    [VERSION, TERMS].map(index).to_vec()
}

/// The length of a collection's vectors; `None` where they are not as Lore makes them.
pub(super) fn dimensions(info: &CollectionInfo) -> Option<u32> {
    match info
        .config
        .as_ref()?
        .params
        .as_ref()?
        .vectors_config
        .as_ref()?
        .config
        .as_ref()?
    {
        Config::Params(params) => u32::try_from(params.size).ok(),
        Config::ParamsMap(_) => None,
    }
}

pub(super) fn upsert(
    name: &str,
    chunks: &[IndexedChunk],
    vectors: &[Vec<f32>],
) -> Option<UpsertPoints> {
    let points = chunks.iter().zip(vectors).map(|(chunk, vector)| {
        let payload = Payload::try_from(payload(chunk)).ok()?;
        Some(PointStruct::new(
            chunk.chunk.id.to_string(),
            vector.clone(),
            payload,
        ))
    });
    Some(
        UpsertPointsBuilder::new(name, points.collect::<Option<Vec<_>>>()?)
            .wait(true)
            .build(),
    )
}

pub(super) fn remove(name: String, versions: &[VersionId]) -> DeletePoints {
    let versions: Vec<String> = versions.iter().map(VersionId::to_string).collect();
    let filter = Filter::must([Condition::matches(VERSION, versions)]);
    DeletePointsBuilder::new(name)
        .points(filter)
        .wait(true)
        .build()
}

pub(super) fn search(name: &str, vector: &[f32], terms: &TermFilter, limit: usize) -> QueryPoints {
    let params = SearchParamsBuilder::default()
        .hnsw_ef(SEARCH_WIDTH.max(limit) as u64)
        .acorn(AcornSearchParamsBuilder::new(true));
    let request = QueryPointsBuilder::new(name)
        .query(vector.to_vec())
        .params(params)
        .limit(limit as u64)
        .with_payload(ids_only());
    match filter(terms) {
        Some(filter) => request.filter(filter).build(),
        None => request.build(),
    }
}

pub(super) fn scroll(name: &str, offset: Option<PointId>) -> ScrollPoints {
    let request = ScrollPointsBuilder::new(name)
        .limit(PAGE)
        .with_payload(ids_only())
        .with_vectors(false);
    match offset {
        Some(offset) => request.offset(offset).build(),
        None => request.build(),
    }
}

fn ids_only() -> PayloadIncludeSelector {
    PayloadIncludeSelector {
        fields: [VERSION, DOCUMENT].map(str::to_owned).to_vec(),
    }
}

pub(super) fn candidate(point: &ScoredPoint) -> Option<Candidate> {
    let version_id = VersionId(field(&point.payload, VERSION)?);
    Some(Candidate {
        chunk_id: ChunkId(id(point.id.as_ref()?)?),
        version_id,
        score: point.score,
    })
}

pub(super) fn indexed(point: &RetrievedPoint) -> Option<IndexedId> {
    Some(IndexedId {
        chunk_id: ChunkId(id(point.id.as_ref()?)?),
        version_id: VersionId(field(&point.payload, VERSION)?),
        document_id: DocumentId(field(&point.payload, DOCUMENT)?),
    })
}

fn id(id: &PointId) -> Option<Uuid> {
    match id.point_id_options.as_ref()? {
        PointIdOptions::Uuid(text) => Uuid::parse_str(text).ok(),
        PointIdOptions::Num(_) => None,
    }
}

fn field(payload: &HashMap<String, Value>, name: &str) -> Option<Uuid> {
    Uuid::parse_str(payload.get(name)?.as_str()?).ok()
}

/// The filter in Qdrant's words; `None` admits everything. `TermFilter::None` is not asked for here.
fn filter(terms: &TermFilter) -> Option<Filter> {
    match terms {
        TermFilter::All | TermFilter::None => None,
        TermFilter::And(parts) => Some(Filter::must(parts.iter().map(condition))),
        TermFilter::Or(parts) => Some(Filter::should(parts.iter().map(condition))),
        TermFilter::Not(part) => Some(Filter::must_not([condition(part)])),
        TermFilter::Any(_) => Some(Filter::must([condition(terms)])),
    }
}

fn condition(part: &TermFilter) -> Condition {
    match part {
        TermFilter::Any(terms) => Condition::matches(TERMS, terms.clone()),
        other => filter(other).unwrap_or_default().into(),
    }
}
