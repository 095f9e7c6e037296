use super::log;
use super::point::{self, Points};
use crate::folder::{Mark, damaged, io, read_mark};
use crate::payload::{TERMS, VERSION};
use crate::terms::TermFilter;
use crate::ties::Ties;
use crate::tuning::{BUILD_WIDTH, EXACT_KB, LINKS, SEARCH_WIDTH, SEGMENTS};
use crate::vectors::{check_length, check_query};
use crate::{Candidate, IndexError, IndexedId};
use lore_types::VersionId;
use qdrant_edge::{
    AcornSearchParams, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeVectorParams,
    HnswIndexConfig, NamedQuery, OperationError, PointInsertOperations, PointOperations, QueryEnum,
    ScrollRequest, SearchParams, SearchRequest, UpdateOperation, VectorInternal, WalOptions,
    WithVector,
};
use serde_json::json;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Changes when what is written changes.
pub(super) const FORMAT: u32 = 1;
/// Points that one listing step fetches.
const PAGE: usize = 4096;
/// One collection's shard.
pub(super) struct Shard {
    collection: String,
    folder: PathBuf,
    pub(super) dimensions: u32,
    engine: EdgeShard,
}

impl Shard {
    /// Fills an empty folder with a shard.
    pub(super) fn create(
        collection: &str,
        folder: &Path,
        dimensions: u32,
    ) -> Result<(), IndexError> {
        let schema = folder.join("payload_index.json");
        let keyword = json!({"type": "keyword", "enable_hnsw": false});
        let text = json!({"schema": {VERSION: keyword, TERMS: keyword}}).to_string();
        fs::write(&schema, text).map_err(|source| io("write", &schema, source))?;
        let shard = EdgeShard::new(folder, config(dimensions))
            .map_err(|error| failed("create", collection, error))?;
        drop(shard);
        Ok(())
    }

    /// Loads the shard in `folder`; `None` where there is none.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub(super) fn load(collection: &str, folder: &Path) -> Result<Option<Self>, IndexError> {
        let Some(Mark { dimensions, .. }) = read_mark(folder, FORMAT)? else {
            return Ok(None);
        };
        log::shorten(folder)?;
        let engine = EdgeShard::load(folder, Some(config(dimensions)))
            .map_err(|error| damaged(folder, error))?;
        Ok(Some(Self {
            collection: collection.to_owned(),
            folder: folder.to_owned(),
            dimensions,
            engine,
        }))
    }

    /// Writes points and waits until they are on disk. One writer at a time.
    pub(super) fn upsert(&self, points: Points) -> Result<(), IndexError> {
        check_length(&self.collection, self.dimensions, points.dimensions)?;
        let points = PointInsertOperations::PointsList(points.points);
        self.write(PointOperations::UpsertPoints(points))
    }

    /// Removes the points of some versions, likewise.
    pub(super) fn remove_versions(&self, versions: &[VersionId]) -> Result<(), IndexError> {
        self.write(PointOperations::DeletePointsByFilter(point::of_versions(
            versions,
        )))
    }

    fn write(&self, operation: PointOperations) -> Result<(), IndexError> {
        let operation = UpdateOperation::PointOperation(operation);
        self.engine
            .update(operation)
            .map_err(|error| failed("write to", &self.collection, error))?;
        self.engine.flush();
        Ok(())
    }

    /// The nearest `limit` points that the filter admits.
    pub(super) fn search(
        &self,
        vector: Vec<f32>,
        filter: &TermFilter,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        check_query(&self.collection, self.dimensions, &vector)?;
        let limit = limit.min(self.engine.info().points_count);
        if limit == 0 || *filter == TermFilter::None {
            return Ok(Vec::new());
        }
        let mut ties = Ties::new(limit);
        loop {
            let request = request(vector.clone(), filter, ties.ask);
            let found = self
                .engine
                .search(request)
                .map_err(|error| failed("search", &self.collection, error))?;
            let found: Option<Vec<_>> = found.iter().map(point::candidate).collect();
            if let Some(candidates) = ties.settle(found.ok_or_else(|| self.foreign())?) {
                return Ok(candidates);
            }
        }
    }

    /// Every chunk, ordered by id.
    pub(super) fn chunks(&self) -> Result<Vec<IndexedId>, IndexError> {
        let mut chunks = Vec::new();
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(PAGE),
                with_payload: Some(point::ids_only()),
                with_vector: WithVector::Bool(false),
                ..ScrollRequest::default()
            };
            let (records, next) = self
                .engine
                .scroll(request)
                .map_err(|error| failed("read", &self.collection, error))?;
            let page: Option<Vec<_>> = records.iter().map(point::indexed).collect();
            chunks.extend(page.ok_or_else(|| self.foreign())?);
            offset = next;
            if offset.is_none() {
                chunks.sort_unstable();
                return Ok(chunks);
            }
        }
    }

    /// Builds graphs where they are due and clears removed points away. No other writer meanwhile; searches go on.
    pub(super) fn optimize(&self) -> Result<(), IndexError> {
        self.engine
            .optimize()
            .map_err(|error| failed("optimize", &self.collection, error))?;
        self.engine.flush();
        Ok(())
    }

    /// Whether the log is long enough for the shard to be loaded anew.
    pub(super) fn is_log_long(&self) -> Result<bool, IndexError> {
        Ok(log::closed(&self.folder)?.len() > log::MOST_PIECES)
    }

    /// Points for which there is no graph, and points for which there is one.
    pub(super) fn graph(&self) -> (usize, usize) {
        let info = self.engine.info();
        (
            info.points_count.saturating_sub(info.indexed_vectors_count),
            info.indexed_vectors_count,
        )
    }

    /// Points without a graph from which on one is built.
    pub(super) fn exact(&self) -> usize {
        EXACT_KB as usize * 256 / self.dimensions.max(1) as usize
    }

    fn foreign(&self) -> IndexError {
        damaged(&self.folder, "it holds points that Lore did not write")
    }
}

fn request(vector: Vec<f32>, filter: &TermFilter, limit: usize) -> SearchRequest {
    let params = SearchParams {
        hnsw_ef: Some(SEARCH_WIDTH.max(limit)),
        acorn: Some(AcornSearchParams {
            enable: true,
            max_selectivity: None,
        }),
        ..SearchParams::default()
    };
    SearchRequest {
        query: QueryEnum::Nearest(NamedQuery {
            query: VectorInternal::Dense(vector),
            using: None,
        }),
        filter: point::filter(filter),
        params: Some(params),
        limit,
        offset: 0,
        with_payload: Some(point::ids_only()),
        with_vector: None,
        score_threshold: None,
    }
}

fn config(dimensions: u32) -> EdgeConfig {
    let graph = HnswIndexConfig {
        m: LINKS as usize,
        ef_construct: BUILD_WIDTH as usize,
        full_scan_threshold: EXACT_KB as usize,
        max_indexing_threads: 0,
        on_disk: None,
        payload_m: None,
        inline_storage: None,
    };
    let optimizers = EdgeOptimizersConfig {
        indexing_threshold: Some(EXACT_KB as usize),
        default_segment_number: Some(SEGMENTS as usize),
        ..EdgeOptimizersConfig::default()
    };
    let log = WalOptions {
        segment_capacity: log::PIECE_BYTES,
        segment_queue_len: 0,
        retain_closed: NonZeroUsize::MIN,
    };
    let vector = EdgeVectorParams::builder(dimensions as usize, Distance::Cosine).build();
    let config = EdgeConfig::builder()
        .vector("", vector)
        .hnsw_config(graph)
        .optimizers(optimizers);
    config.wal_options(log).build()
}

fn failed(doing: &'static str, collection: &str, error: OperationError) -> IndexError {
    IndexError::Engine {
        doing,
        collection: collection.to_owned(),
        source: Box::new(error),
    }
}
