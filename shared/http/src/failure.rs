use crate::ErrorCode;
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use lore_types::{ApiError, ErrorBody};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a request was not answered: what the client is told, and the cause, which only the log gets.
///
/// # Guarantees
/// The answer's body is `lore_types::ErrorBody`, its status that of the code. [`crate::sealed`] adds the request id and
/// logs the failure once.
#[derive(Clone, Debug)]
pub struct ApiFailure {
    code: ErrorCode,
    error: Box<ApiError>,
    retry_after: Option<u32>,
    cause: Option<Arc<str>>,
}

impl ApiFailure {
    /// A failure with a message for the client: lowercase, no full stop, naming the thing.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let error = ApiError {
            code: code.word().to_owned(),
            message: message.into(),
            kind: code.kind().to_owned(),
            ..ApiError::default()
        };
        Self {
            code,
            error: Box::new(error),
            retry_after: None,
            cause: None,
        }
    }

    /// A failure inside, of which the client learns nothing but that it happened.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        Self::new(ErrorCode::Internal, "something went wrong inside Lore")
            .hint("look for the request id in the server's log")
            .cause(cause)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }

    /// Adds the field of the request that is wrong.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.error.param = Some(param.into());
        self
    }

    /// Adds after how many seconds the client may try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds the cause with all that caused it, for the log alone.
    #[must_use]
    pub fn cause(mut self, cause: &(dyn Error + 'static)) -> Self {
        self.cause = Some(chain(cause).into());
        self
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the client is told.
    pub fn error(&self) -> &ApiError {
        &self.error
    }

    /// The cause for the log, where there is one.
    pub fn cause_text(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    pub(crate) fn with_request_id(mut self, id: &str) -> Self {
        self.error.request_id = Some(id.to_owned());
        self
    }
}

/// An error and its causes in one line: `a: b: c`.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.error.code, self.error.message)
    }
}

impl Error for ApiFailure {}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: (*self.error).clone(),
        };
        let mut response = (self.code.status(), Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
