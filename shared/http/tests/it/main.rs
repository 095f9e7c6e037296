//! The HTTP edge as a client sees it.
mod bodies;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, http::header};
use lore_http::{ApiFailure, ErrorCode, JsonBody, Params, Segments, sealed};
use lore_types::ErrorBody;
use serde::Deserialize;
use std::collections::HashSet;
use tower::ServiceExt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    question: String,
    #[serde(default)]
    options: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    weight: u32,
}

#[derive(Deserialize)]
struct Page {
    limit: u32,
}

fn app() -> Router {
    let router = Router::new()
        .route(
            "/ask",
            post(|JsonBody(ask): JsonBody<Ask>| async move {
                format!(
                    "{} {}",
                    ask.question,
                    ask.options.iter().map(|choice| choice.weight).sum::<u32>()
                )
            }),
        )
        .route(
            "/page",
            get(|Params(page): Params<Page>| async move { page.limit.to_string() }),
        )
        .route(
            "/item/{id}",
            get(|Segments(id): Segments<u32>| async move { id.to_string() }),
        )
        .route(
            "/full",
            get(|| async {
                let cause = std::io::Error::other("secret");
                Err::<(), _>(
                    ApiFailure::new(ErrorCode::QueueFull, "the queue is full")
                        .retry_after(7)
                        .cause(&cause),
                )
            }),
        )
        .route("/bare", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route(
            "/behind",
            get(|| async {
                (
                    StatusCode::CONFLICT,
                    [(header::CONTENT_TYPE, "application/json")],
                    r#"{"error":{"code":"x","message":"y"}}"#,
                )
            }),
        );
    sealed(router)
}

async fn send(request: Request<Body>) -> Response {
    app()
        .oneshot(request)
        .await
        .expect("a router does not fail")
}

async fn get_path(path: &str) -> Response {
    send(Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn ask(kind: &str, body: &str) -> Response {
    let request = Request::post("/ask").header(header::CONTENT_TYPE, kind);
    send(
        request
            .body(Body::from(body.to_owned()))
            .expect("a request"),
    )
    .await
}

async fn error(response: Response) -> lore_types::ApiError {
    let bytes = to_bytes(response.into_body(), 1 << 16)
        .await
        .expect("a body");
    serde_json::from_slice::<ErrorBody>(&bytes)
        .expect("an error body")
        .error
}

#[tokio::test]
async fn a_failure_has_one_shape_and_keeps_its_cause_to_itself() {
    let response = get_path("/full").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "7");
    let id = response.headers()["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    let error = error(response).await;
    assert_eq!(
        (error.code.as_str(), error.kind.as_str()),
        ("queue_full", "rate_limit_error")
    );
    assert_eq!(error.request_id, Some(id));
    assert!(!error.message.contains("secret"), "{error:?}");
}

#[tokio::test]
async fn errors_that_axum_makes_get_the_same_shape() {
    for (path, status, code) in [
        ("/nowhere", StatusCode::NOT_FOUND, "not_found"),
        ("/ask", StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        ("/bare", StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        ("/page", StatusCode::BAD_REQUEST, "invalid_request"),
        ("/item/x", StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let response = get_path(path).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(error(response).await.code, code, "{path}");
    }
}

#[tokio::test]
async fn an_error_from_a_service_behind_passes_unchanged() {
    let response = get_path("/behind").await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(error(response).await.code, "x");
}

#[tokio::test]
async fn a_wrong_body_is_refused_by_field() {
    let wrong = error(
        ask(
            "application/json",
            r#"{"question": "q", "options": [{"weight": "x"}]}"#,
        )
        .await,
    )
    .await;
    assert_eq!(
        (wrong.code.as_str(), wrong.param.as_deref()),
        ("invalid_json", Some("options[0].weight"))
    );
    let unknown = error(ask("application/json", r#"{"question": "q", "quiet": 1}"#).await).await;
    assert!(
        unknown.message.contains("unknown field `quiet`"),
        "{unknown:?}"
    );
    let trailing = error(ask("application/json", r#"{"question": "q"} {}"#).await).await;
    assert_eq!(trailing.code, "invalid_json");
    assert_eq!(
        ask("text/plain", "{}").await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        ask("application/json; charset=utf-8", r#"{"question": "q"}"#)
            .await
            .status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_request_id_is_the_clients_own_where_it_is_harmless() {
    let with = |id: &str| {
        Request::get("/nowhere")
            .header("x-request-id", id)
            .body(Body::empty())
            .expect("a request")
    };
    assert_eq!(
        send(with("abc-1.2_3")).await.headers()["x-request-id"],
        "abc-1.2_3"
    );
    let odd = send(with("a b<script>")).await;
    assert_ne!(odd.headers()["x-request-id"], "a b<script>");
}

#[test]
fn every_code_has_its_own_word() {
    let words: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(words.len(), ErrorCode::ALL.len());
    assert!(
        ErrorCode::ALL
            .iter()
            .all(|code| code.status().as_u16() >= 400)
    );
}
