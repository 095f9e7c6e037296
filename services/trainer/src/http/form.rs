use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use lore_http::{ApiFailure, ErrorCode};

/// Bytes of the largest part that is not a file.
const MAX_FIELD: usize = 64 << 10;

/// The text of a part that is not a file.
pub(super) async fn text(mut part: Field<'_>) -> Result<String, ApiFailure> {
    let name = part.name().unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    while let Some(some) = part.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + some.len() > MAX_FIELD {
            let message = format!("the part `{name}` has more than {MAX_FIELD} bytes");
            return Err(ApiFailure::new(ErrorCode::BodyTooLarge, message).param(name));
        }
        bytes.extend_from_slice(&some);
    }
    String::from_utf8(bytes).map_err(|_| {
        let message = format!("the part `{name}` is not UTF-8");
        ApiFailure::new(ErrorCode::InvalidRequest, message).param(name)
    })
}

/// A part that is missing.
pub(super) fn missing(name: &str, hint: &str) -> ApiFailure {
    let message = format!("the form has no part `{name}`");
    ApiFailure::new(ErrorCode::InvalidRequest, message)
        .hint(hint)
        .param(name)
}

/// A part that no route takes.
pub(super) fn unknown(name: &str, known: &str) -> ApiFailure {
    let message = format!("the form has an unknown part `{name}`");
    ApiFailure::new(ErrorCode::InvalidRequest, message)
        .hint(format!("the parts are {known}"))
        .param(name)
}

/// What is wrong with a form that cannot be read on.
pub(super) fn broken(error: &MultipartError) -> ApiFailure {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE || lore_http::exceeds_limit(error) {
        return ApiFailure::new(ErrorCode::BodyTooLarge, "the request is too large")
            .hint("send less, or raise `server.max_body`");
    }
    let message = format!("the form cannot be read: {}", error.body_text());
    ApiFailure::new(ErrorCode::InvalidRequest, message)
        .hint("the connection may have broken off; send it again")
}
