use crate::error::refused;
use crate::http::id;
use crate::state::State;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use lore_http::{ApiFailure, ErrorCode, Segments};
use lore_types::{Document, DocumentFormat, ErrorBody};
use std::fmt::Write;
use std::sync::Arc;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

/// Download a document's original bytes.
#[utoipa::path(
    get, path = "/v1/collections/{collection}/documents/{document}/content", tag = "documents",
    params(("collection" = String, Path), ("document" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The very bytes that were uploaded", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_content(
    Shared(state): Shared<Arc<State>>,
    Segments((collection, document)): Segments<(String, String)>,
) -> Result<Response, ApiFailure> {
    let document = id(&document, "document")?;
    let shown = state
        .catalog
        .document(&collection, document)
        .await
        .map_err(refused)?;
    let original = state
        .catalog
        .original(&collection, document)
        .await
        .map_err(refused)?;
    let file = File::open(state.originals.path(&original.content_hash))
        .await
        .map_err(|error| {
            ApiFailure::new(
                ErrorCode::StorageFailed,
                "the original bytes cannot be read from disk",
            )
            .cause(&error)
        })?;
    let kind = media_type(&shown, original.media_type.as_deref());
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(original.bytes));
    headers.insert(
        header::ETAG,
        text_value(&format!("\"{}\"", original.content_hash)),
    );
    headers.insert(header::CONTENT_DISPOSITION, attachment(&shown.name));
    // A document is a stranger's: no browser may take it for a page of this server.
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// A document's parsed text, which spans count in.
#[utoipa::path(
    get, path = "/v1/collections/{collection}/documents/{document}/text", tag = "documents",
    params(("collection" = String, Path), ("document" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "UTF-8", content_type = "text/plain", body = String),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "It was not read yet, or could not be", body = ErrorBody),
    )
)]
pub(crate) async fn get_text(
    Shared(state): Shared<Arc<State>>,
    Segments((collection, document)): Segments<(String, String)>,
) -> Result<Response, ApiFailure> {
    let shown = state
        .catalog
        .document(&collection, id(&document, "document")?)
        .await
        .map_err(refused)?;
    let text = state
        .catalog
        .text(shown.version_id)
        .await
        .map_err(refused)?;
    let text = text.ok_or_else(|| unread(&shown))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

fn unread(document: &Document) -> ApiFailure {
    let message = match &document.error {
        Some(reason) => format!("document `{}` could not be read: {reason}", document.name),
        None => format!("document `{}` was not read yet", document.name),
    };
    ApiFailure::new(ErrorCode::DocumentNotReady, message).hint("its job says how far it is")
}

/// The content type: what the client said, unless that says nothing, else what the format says.
fn media_type(document: &Document, sent: Option<&str>) -> HeaderValue {
    let sent =
        sent.filter(|sent| !sent.is_empty() && !sent.starts_with("application/octet-stream"));
    let by_format = match document.format {
        Some(DocumentFormat::Text) => "text/plain; charset=utf-8",
        Some(DocumentFormat::Markdown) => "text/markdown; charset=utf-8",
        Some(DocumentFormat::Html) => "text/html",
        Some(DocumentFormat::Pdf) => "application/pdf",
        Some(DocumentFormat::Docx) => {
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        }
        None => "application/octet-stream",
    };
    sent.and_then(|sent| HeaderValue::from_str(sent).ok())
        .unwrap_or(HeaderValue::from_static(by_format))
}

/// `attachment` with the last part of the name, in the plain form for old clients and the UTF-8 form for the others.
fn attachment(name: &str) -> HeaderValue {
    let last = name
        .rsplit(['/', '\\'])
        .find(|part| !part.is_empty())
        .unwrap_or("document");
    let plain: String = last
        .chars()
        .map(|letter| if safe(letter) { letter } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in last.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    text_value(&format!(
        "attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    ))
}

fn safe(letter: char) -> bool {
    letter.is_ascii_graphic() && !"\"\\%;".contains(letter) || letter == ' '
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("attachment"))
}
