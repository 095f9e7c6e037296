use crate::{ApiFailure, ErrorCode};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http_body_util::{LengthLimitError, Limited};
use std::error::Error;

/// The most bytes that a server takes in one request. As an extension of the request it lets errors name the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub u64);

impl BodyLimit {
    /// The refusal of a body that is larger.
    pub fn exceeded(self) -> ApiFailure {
        ApiFailure::new(
            ErrorCode::BodyTooLarge,
            format!("the request has more than {} bytes", self.0),
        )
        .hint("send less at a time, or raise `server.max_body`")
    }

    fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Bounds the bodies of all requests to a router.
///
/// # Guarantees
/// A body that announces more is refused before any of it is read; one that turns out longer ends for its reader with an
/// error for which [`exceeds_limit`] holds, and which the extractors of this crate answer with [`BodyLimit::exceeded`].
pub fn limited<S: Clone + Send + Sync + 'static>(router: Router<S>, limit: BodyLimit) -> Router<S> {
    router
        .layer(DefaultBodyLimit::max(limit.bytes()))
        .layer(from_fn(move |request, next| bound(limit, request, next)))
}

/// Whether an error comes from a body that was longer than its limit.
pub fn exceeds_limit(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

async fn bound(limit: BodyLimit, mut request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit.0) {
        return limit.exceeded().into_response();
    }
    request.extensions_mut().insert(limit);
    let bounded = |body: Body| {
        if body.is_end_stream() {
            body
        } else {
            Body::new(Limited::new(body, limit.bytes()))
        }
    };
    next.run(request.map(bounded)).await
}
