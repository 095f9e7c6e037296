use crate::error::refused;
use crate::http::collections::{CreateCollection, create};
use crate::http::{check, multipart};
use crate::state::State;
use axum::Json;
use axum::extract::{FromRequest, Multipart, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use lore_catalog::{CatalogError, NewVersion};
use lore_http::{ApiFailure, ErrorCode, JsonBody, Segments};
use lore_telemetry::names::{INGEST_BYTES, INGEST_DOCUMENTS};
use lore_types::{Accepted, DocumentFormat, ErrorBody, Metadata, Uploaded};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A document sent as text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadText {
    /// The document's name, unique in its collection.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What to say of it.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// `text`, `markdown` or `html`; by the name and the text itself where absent.
    #[serde(default)]
    pub format: Option<DocumentFormat>,
}

/// Files sent as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the form in the documentation")]
pub(crate) struct UploadFiles {
    /// A file; repeat the part for more. Its file name is the document's name.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<u8>,
    /// A JSON object that is said of all files.
    metadata: Option<String>,
    /// The document's name in place of the file name, where there is one file.
    name: Option<String>,
    /// `text`, `markdown`, `html`, `pdf` or `docx`, where the bytes leave a doubt.
    format: Option<String>,
}

/// Upload documents. They are on disk when the answer comes; their jobs make them findable. A file that is too large or has
/// no usable name is named in `refused` and the others are accepted; where none is left, the first refusal is the answer.
#[utoipa::path(
    post, path = "/v1/collections/{collection}/documents", tag = "documents",
    params(("collection" = String, Path, description = "The collection; made with the configured embedder where it is missing")),
    request_body(content(
        (UploadFiles = "multipart/form-data"),
        (UploadText = "application/json"),
    )),
    responses(
        (status = 202, description = "One entry in `data` for each document that was accepted, in `refused` for each that was not", body = Uploaded),
        (status = 400, description = "A name, the metadata or the form is wrong", body = ErrorBody),
        (status = 413, description = "Too many bytes or files, or every file is too large", body = ErrorBody),
        (status = 429, description = "Too many jobs wait", body = ErrorBody),
    )
)]
pub(crate) async fn upload_documents(
    Shared(state): Shared<Arc<State>>,
    Segments(collection): Segments<String>,
    request: Request,
) -> Result<(StatusCode, Json<Uploaded>), ApiFailure> {
    check::collection_name(&collection)?;
    refuse_long(&state, request.headers())?;
    let (versions, refused) = if is_form(request.headers()) {
        let form = Multipart::from_request(request, &state)
            .await
            .map_err(|rejection| {
                ApiFailure::new(
                    ErrorCode::InvalidRequest,
                    rejection.body_text().to_lowercase(),
                )
            })?;
        multipart::read(&state, form).await?
    } else {
        let JsonBody(text) = JsonBody::from_request(request, &state).await?;
        (vec![keep_text(&state, text).await?], Vec::new())
    };
    let accepted = accept(&state, &collection, &versions).await?;
    count(&versions, &accepted);
    state.queued.notify_waiters();
    let uploaded = Uploaded::new(accepted, refused);
    Ok((StatusCode::ACCEPTED, Json(uploaded)))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.as_bytes().to_ascii_lowercase());
    kind.is_some_and(|kind| kind.starts_with(b"multipart/form-data"))
}

/// Refuses a body by the length it announces, before any of it is read.
fn refuse_long(state: &State, headers: &HeaderMap) -> Result<(), ApiFailure> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > state.settings.max_body => Err(long_body(state)),
        _ => Ok(()),
    }
}

pub(crate) fn long_body(state: &State) -> ApiFailure {
    let limit = state.settings.max_body;
    ApiFailure::new(
        ErrorCode::BodyTooLarge,
        format!("the request has more than {limit} bytes"),
    )
    .hint("send fewer files at a time, or raise `server.max_body`")
}

pub(crate) fn long_document(state: &State, name: &str) -> ApiFailure {
    let limit = state.settings.max_document;
    ApiFailure::new(
        ErrorCode::BodyTooLarge,
        format!("document `{name}` has more than {limit} bytes"),
    )
    .hint("split it, or raise `ingest.max_document`")
}

async fn keep_text(state: &State, sent: UploadText) -> Result<NewVersion, ApiFailure> {
    check::document_name(&sent.name)?;
    check::metadata(&sent.metadata)?;
    if matches!(
        sent.format,
        Some(DocumentFormat::Pdf | DocumentFormat::Docx)
    ) {
        let message = "`format` is a binary format, which cannot be sent as text";
        let hint = "send the file as the part `file` of a multipart form";
        return Err(ApiFailure::new(ErrorCode::InvalidRequest, message)
            .hint(hint)
            .param("format"));
    }
    if sent.text.len() as u64 > state.settings.max_document {
        return Err(long_document(state, &sent.name));
    }
    let original = state
        .originals
        .keep(sent.text.as_bytes())
        .await
        .map_err(refused)?;
    Ok(NewVersion {
        name: sent.name,
        original,
        media_type: Some("text/plain; charset=utf-8".to_owned()),
        declared: sent.format.map(|format| format.word().to_owned()),
        metadata: sent.metadata,
    })
}

/// Accepts what is on disk, making the collection where it is missing.
async fn accept(
    state: &State,
    collection: &str,
    versions: &[NewVersion],
) -> Result<Vec<Accepted>, ApiFailure> {
    let limit = state.settings.max_queue;
    match state.catalog.accept(collection, versions, limit).await {
        Err(CatalogError::NoCollection(_)) => {
            make(state, collection).await?;
            state
                .catalog
                .accept(collection, versions, limit)
                .await
                .map_err(refused)
        }
        other => other.map_err(refused),
    }
}

async fn make(state: &State, collection: &str) -> Result<(), ApiFailure> {
    let asked = CreateCollection {
        name: collection.to_owned(),
        description: String::new(),
        embedder: None,
    };
    match create(state, asked).await {
        // Another upload may have made it in the meantime.
        Err(failure) if state.catalog.collection(collection).await.is_err() => Err(failure),
        _ => Ok(()),
    }
}

fn count(versions: &[NewVersion], accepted: &[Accepted]) {
    metrics::counter!(INGEST_BYTES)
        .increment(versions.iter().map(|version| version.original.bytes).sum());
    let unchanged = accepted.iter().filter(|one| one.unchanged).count();
    metrics::counter!(INGEST_DOCUMENTS, "outcome" => "unchanged").increment(unchanged as u64);
}
