use crate::error::GatewayError;
use crate::measure;
use crate::retrieve::Query;
use crate::state::GatewayState;
use axum::Json;
use axum::extract::State;
use lore_http::{ApiFailure, JsonBody};
use lore_types::{ErrorBody, Filter, List, Passage, SearchMode};
use serde::Deserialize;
use serde_json::Value;
use std::time::Instant;
use utoipa::ToSchema;

/// Passages where the request does not say how many.
const DEFAULT_LIMIT: usize = 10;
/// Most passages of one search.
const MAX_LIMIT: usize = 200;
/// Longest query or question, in characters.
pub(crate) const MAX_QUERY: usize = 8_000;

/// A search in one collection.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// The collection.
    pub collection: String,
    /// What to look for, in any words and in any language that the collection's embedder knows.
    pub query: String,
    /// Which sides are asked.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub mode: SearchMode,
    /// At most this many passages, 1 to 200; 10 where absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// A condition on metadata, such as `{"team": "hr", "year": {"$gte": 2024}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Whether each passage tells every score and rank.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub explain: bool,
}

/// Finds the passages that answer a query best.
///
/// Both sides are asked at once, with the filter pushed into both, and joined by reciprocal rank fusion. Passages come
/// best first; equal scores by chunk id. A collection without documents gives an empty list.
#[utoipa::path(post, path = "/v1/search", tag = "answers", request_body = SearchRequest, responses(
    (status = 200, body = List<Passage>),
    (status = 400, description = "An empty query, a wrong limit or a filter that cannot be understood", body = ErrorBody),
    (status = 404, description = "No such collection", body = ErrorBody),
    (status = 429, description = "The embedder's queue is full", body = ErrorBody),
    (status = 502, description = "The Qdrant server does not answer", body = ErrorBody),
    (status = 503, description = "The embedder is not installed", body = ErrorBody),
))]
pub(crate) async fn search(
    State(state): State<GatewayState>,
    JsonBody(request): JsonBody<SearchRequest>,
) -> Result<Json<List<Passage>>, ApiFailure> {
    Ok(Json(List::whole(state.search(&request).await?)))
}

impl GatewayState {
    async fn search(&self, request: &SearchRequest) -> Result<Vec<Passage>, GatewayError> {
        let text = said("query", &request.query)?;
        let limit = checked_limit(request.limit.unwrap_or(DEFAULT_LIMIT), MAX_LIMIT)?;
        let filter = parsed_filter(request.filter.as_ref())?;
        let collection = self.collection(&request.collection).await?;
        let query = Query {
            collection: &collection,
            text,
            mode: request.mode,
            filter: filter.as_ref(),
            limit,
        };
        let started = Instant::now();
        let mut passages = self.best(&query).await?;
        measure::search(word(request.mode), started.elapsed());
        if !request.explain {
            passages
                .iter_mut()
                .for_each(|passage| passage.scores = None);
        }
        Ok(passages)
    }

    /// The `limit` best passages for a question whose vector is known: `POST /v1/search` without HTTP and embedder, for
    /// benchmarks.
    ///
    /// # Errors
    /// [`GatewayError::NoCollection`], and those of the indexes and the catalog.
    pub async fn search_by_vector(
        &self,
        collection: &str,
        text: &str,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<Passage>, GatewayError> {
        let collection = self.collection(collection).await?;
        let query = Query {
            collection: &collection,
            text,
            mode: SearchMode::Hybrid,
            filter: None,
            limit,
        };
        self.best_by_vector(&query, Some(vector)).await
    }
}

fn word(mode: SearchMode) -> &'static str {
    match mode {
        SearchMode::Hybrid => "hybrid",
        SearchMode::Dense => "dense",
        SearchMode::Lexical => "lexical",
    }
}

/// A text that says something and is not endless.
pub(crate) fn said<'a>(field: &'static str, text: &'a str) -> Result<&'a str, GatewayError> {
    let actual = text.chars().count();
    if actual > MAX_QUERY {
        return Err(GatewayError::TooLong {
            field,
            actual,
            limit: MAX_QUERY,
        });
    }
    let text = text.trim();
    if text.is_empty() {
        Err(GatewayError::Empty(field))
    } else {
        Ok(text)
    }
}

pub(crate) fn checked_limit(limit: usize, most: usize) -> Result<usize, GatewayError> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(GatewayError::Invalid {
        field: "limit",
        problem: format!("is {limit}, but has to be 1 to {most}"),
    })
}

pub(crate) fn parsed_filter(filter: Option<&Value>) -> Result<Option<Filter>, GatewayError> {
    Ok(filter
        .filter(|filter| !filter.is_null())
        .map(Filter::parse)
        .transpose()?)
}
