use crate::{ApiFailure, ErrorCode, unread};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

/// The header that carries the request id both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken from a client.
const MAX_REQUEST_ID: usize = 128;

/// Names one request in the log; handlers may extract it as an `Extension`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Gives a finished router what every answer needs.
///
/// # Guarantees
/// Each answer has an `x-request-id`: the client's own where it is 1–128 of `a-z A-Z 0-9 - _ .`, a new one otherwise. Each
/// answer with an error status has a body of `lore_types::ErrorBody` with that id, also where axum or a layer inside
/// made it (unknown routes, wrong methods, limits); a body that is JSON already passes unchanged, so that answers of
/// a service behind this one do. Each failure is logged once: its cause with the request id. A client that is refused while
/// it still sends reads the refusal, because the rest is read to its end, for five seconds at most. Add this layer last, so
/// that it is the outermost.
pub fn sealed<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    sealed_inside(router, |router| router)
}

/// As [`sealed`], with layers that stand inside the seal and before every route, unknown ones included.
pub fn sealed_inside<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    layered: impl FnOnce(Router<S>) -> Router<S>,
) -> Router<S> {
    let router = router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method);
    layered(router)
        .layer(from_fn(seal))
        .layer(from_fn(unread::read))
}

async fn no_route(method: Method, uri: Uri) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::NotFound,
        format!("there is no route `{method} {}`", uri.path()),
    )
    .hint("`GET /openapi.json` lists every route")
}

async fn wrong_method(method: Method, uri: Uri) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::MethodNotAllowed,
        format!("`{}` cannot be asked with {method}", uri.path()),
    )
    .hint("`GET /openapi.json` lists every route with its methods")
}

async fn seal(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span =
        tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let mut response = async {
        let response = next.run(request).await;
        finish(response, &id)
    }
    .instrument(span)
    .await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id(request: &Request) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let good = |id: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(allowed)
    };
    given
        .filter(good)
        .map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

fn finish(mut response: Response, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let made = response.extensions_mut().remove::<ApiFailure>();
    if made.is_none() && is_json(&response) {
        return response;
    }
    let failure = made.unwrap_or_else(|| bare(status)).with_request_id(id);
    log(&failure);
    let headers = std::mem::take(response.headers_mut());
    let mut sealed = failure.into_response();
    sealed.extensions_mut().remove::<ApiFailure>();
    *sealed.status_mut() = status;
    for (name, value) in &headers {
        if !sealed.headers().contains_key(name) {
            sealed.headers_mut().insert(name.clone(), value.clone());
        }
    }
    sealed
}

fn is_json(response: &Response) -> bool {
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/json"))
}

/// The failure that stands for an error that carries nothing but its status.
fn bare(status: StatusCode) -> ApiFailure {
    let reason = status.canonical_reason().unwrap_or("error").to_lowercase();
    ApiFailure::new(ErrorCode::of_status(status), reason)
}

fn log(failure: &ApiFailure) {
    let cause = failure.cause_text().unwrap_or("none beyond the message");
    if failure.code().status().is_server_error() {
        tracing::error!(
            code = failure.code().word(),
            cause,
            "{}",
            failure.error().message
        );
    } else {
        tracing::debug!(
            code = failure.code().word(),
            cause,
            "{}",
            failure.error().message
        );
    }
}
