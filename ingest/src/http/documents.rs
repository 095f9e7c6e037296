use crate::error::refused;
use crate::http::collections::swept;
use crate::http::{id, limit, list};
use crate::state::State;
use axum::Json;
use axum::extract::State as Shared;
use lore_catalog::DocumentQuery;
use lore_http::{ApiFailure, ErrorCode, Params, Segments};
use lore_types::{Chunk, ChunkId, Deleted, Document, DocumentId, DocumentStatus, ErrorBody, List};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A document, and its chunks where they were asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DocumentDetails {
    /// The document.
    #[serde(flatten)]
    pub document: Document,
    /// All its chunks in order, with `include=chunks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_list: Option<Vec<Chunk>>,
}

/// Which documents.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DocumentPage {
    /// At most this many, 1–1000; 100 where absent.
    limit: Option<u32>,
    /// Only those after this document's id, in the order of names.
    after: Option<String>,
    /// Only those with this status.
    #[param(inline)]
    status: Option<DocumentStatus>,
    /// Only the one with exactly this name.
    name: Option<String>,
}

/// What to put in.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Include {
    /// `chunks` puts the chunks in.
    include: Option<String>,
}

/// Which chunks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChunkPage {
    /// At most this many, 1–1000; 100 where absent.
    limit: Option<u32>,
    /// Only those after this ordinal, or after the chunk with this id.
    after: Option<String>,
}

/// List a collection's documents by name.
#[utoipa::path(
    get, path = "/v1/collections/{collection}/documents", tag = "documents",
    params(("collection" = String, Path, description = "The collection"), DocumentPage),
    responses(
        (status = 200, description = "A page of documents", body = List<Document>),
        (status = 404, description = "No such collection", body = ErrorBody),
    )
)]
pub(crate) async fn list_documents(
    Shared(state): Shared<Arc<State>>,
    Segments(collection): Segments<String>,
    Params(page): Params<DocumentPage>,
) -> Result<Json<List<Document>>, ApiFailure> {
    let query = DocumentQuery {
        name: page.name,
        status: page.status,
        after: page.after.map(|after| id(&after, "after")).transpose()?,
        limit: limit(page.limit)?,
    };
    let found = state
        .catalog
        .documents(&collection, &query)
        .await
        .map_err(refused)?;
    Ok(Json(list(found.items, found.has_more, |one| {
        one.id.to_string()
    })))
}

/// One document.
#[utoipa::path(
    get, path = "/v1/collections/{collection}/documents/{document}", tag = "documents",
    params(("collection" = String, Path), ("document" = String, Path, description = "Its id"), Include),
    responses(
        (status = 200, description = "The document", body = DocumentDetails),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_document(
    Shared(state): Shared<Arc<State>>,
    Segments((collection, document)): Segments<(String, String)>,
    Params(include): Params<Include>,
) -> Result<Json<DocumentDetails>, ApiFailure> {
    let document = state
        .catalog
        .document(&collection, id(&document, "document")?)
        .await
        .map_err(refused)?;
    let chunk_list = match include.include.as_deref() {
        None | Some("") => None,
        Some("chunks") => Some(
            state
                .catalog
                .chunks(document.version_id, 0, u32::MAX)
                .await
                .map_err(refused)?,
        ),
        Some(other) => {
            let message = format!("`include` is `{other}`, but can only be `chunks`");
            return Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("include"));
        }
    };
    Ok(Json(DocumentDetails {
        document,
        chunk_list,
    }))
}

/// List a document's chunks in their order.
#[utoipa::path(
    get, path = "/v1/collections/{collection}/documents/{document}/chunks", tag = "documents",
    params(("collection" = String, Path), ("document" = String, Path, description = "Its id"), ChunkPage),
    responses(
        (status = 200, description = "A page of chunks", body = List<Chunk>),
        (status = 404, description = "The document is not there", body = ErrorBody),
    )
)]
pub(crate) async fn list_chunks(
    Shared(state): Shared<Arc<State>>,
    Segments((collection, document)): Segments<(String, String)>,
    Params(page): Params<ChunkPage>,
) -> Result<Json<List<Chunk>>, ApiFailure> {
    let document = state
        .catalog
        .document(&collection, id(&document, "document")?)
        .await
        .map_err(refused)?;
    let limit = limit(page.limit)?;
    let from = first_ordinal(&document, page.after.as_deref())?;
    let chunks = state
        .catalog
        .chunks(document.version_id, from, limit)
        .await
        .map_err(refused)?;
    let has_more = chunks
        .last()
        .is_some_and(|last| last.ordinal + 1 < document.chunks);
    Ok(Json(list(chunks, has_more, |one| one.id.to_string())))
}

/// The ordinal behind `after`. A chunk's id derives from its ordinal, so that is found again by deriving.
fn first_ordinal(document: &Document, after: Option<&str>) -> Result<u32, ApiFailure> {
    let Some(after) = after else { return Ok(0) };
    if let Ok(ordinal) = after.parse::<u32>() {
        return Ok(ordinal.saturating_add(1));
    }
    let chunk: ChunkId = id(after, "after")?;
    let place = (0..document.chunks)
        .find(|ordinal| ChunkId::derive(document.version_id, *ordinal) == chunk);
    place.map(|ordinal| ordinal + 1).ok_or_else(|| {
        let message =
            format!("`after` names `{after}`, which is not a chunk of this document's version");
        ApiFailure::new(ErrorCode::InvalidRequest, message).param("after")
    })
}

/// Delete a document from the catalog and every index.
#[utoipa::path(
    delete, path = "/v1/collections/{collection}/documents/{document}", tag = "documents",
    params(("collection" = String, Path), ("document" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "It cannot be found any more", body = Deleted),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn delete_document(
    Shared(state): Shared<Arc<State>>,
    Segments((collection, document)): Segments<(String, String)>,
) -> Result<Json<Deleted>, ApiFailure> {
    let document: DocumentId = id(&document, "document")?;
    state
        .catalog
        .delete_document(&collection, document)
        .await
        .map_err(refused)?;
    metrics::counter!(lore_telemetry::names::INGEST_DOCUMENTS, "outcome" => "deleted").increment(1);
    swept(&state).await;
    Ok(Json(Deleted {
        id: document.to_string(),
        deleted: true,
    }))
}
