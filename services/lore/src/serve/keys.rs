use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lore_config::Secret;
use lore_http::{ApiFailure, ErrorCode};
use std::sync::Arc;

/// Lets a request pass that carries one of the keys; every request where there are none.
pub async fn check(State(keys): State<Arc<Vec<Secret>>>, request: Request, next: Next) -> Response {
    if keys.is_empty() {
        return next.run(request).await;
    }
    match bearer(request.headers()) {
        Some(key) if keys.iter().any(|known| known.matches(key)) => next.run(request).await,
        Some(_) => refuse("the API key is not one of this server's"),
        None => refuse("this server wants an API key"),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn refuse(message: &str) -> Response {
    let failure = ApiFailure::new(ErrorCode::Unauthorized, message)
        .hint("send `Authorization: Bearer KEY` with a key of server.api_keys");
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (challenge, failure).into_response()
}
