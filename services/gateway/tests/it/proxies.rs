use crate::client::Client;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use lore_gateway::proxy;
use lore_http::{BodyLimit, limited, sealed};
use reqwest::Method;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// No step takes longer, unless it hangs.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// An ingest service that gives back what it was sent.
async fn ingest() -> Client {
    let echo = |request: Request| async move {
        let kind = request.headers().get("content-type").cloned();
        let seen = format!(
            "{} {} {}",
            request.method(),
            request.uri(),
            request
                .headers()
                .get("x-request-id")
                .map_or("-", |id| id.to_str().unwrap_or("?"))
        );
        let mut response = Response::new(Body::from_stream(request.into_body().into_data_stream()));
        response
            .headers_mut()
            .insert("x-seen", seen.parse().expect("a header"));
        response
            .headers_mut()
            .extend(kind.map(|kind| (axum::http::header::CONTENT_TYPE, kind)));
        (axum::http::StatusCode::ACCEPTED, response).into_response()
    };
    Client::serving(
        Router::new()
            .route("/v1/collections/{c}/documents", post(echo))
            .route(
                "/v1/jobs",
                get(|| async { axum::Json(json!({"data": []})) }),
            ),
    )
    .await
}

async fn gateway(ingest: Option<&str>) -> Client {
    Client::serving(sealed(
        proxy(ingest, None, &CancellationToken::new()).expect("a proxy"),
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_through_and_comes_back_unchanged() {
    let ingest = ingest().await;
    let gateway = gateway(Some(&ingest.url)).await;
    let body: Vec<u8> = (0..5_000_000u32).map(|at| (at % 251) as u8).collect();
    let request = gateway
        .request(Method::POST, "/v1/collections/a/documents?x=%20y")
        .header("content-type", "multipart/form-data; boundary=b")
        .header("x-request-id", "me-1");
    let response = request.body(body.clone()).send().await.expect("an answer");
    assert_eq!(response.status(), 202);
    assert_eq!(
        response.headers()["x-seen"],
        "POST /v1/collections/a/documents?x=%20y me-1"
    );
    assert_eq!(
        response.headers()["content-type"],
        "multipart/form-data; boundary=b"
    );
    assert_eq!(response.bytes().await.expect("a body"), body);
    assert_eq!(gateway.get("/v1/jobs").await.body, json!({"data": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_bodies_stream() {
    let ingest = ingest().await;
    let gateway = gateway(Some(&ingest.url)).await;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(1);
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (bytes, receiver))
    });
    let request = gateway
        .request(Method::POST, "/v1/collections/a/documents")
        .body(reqwest::Body::wrap_stream(stream));
    let answering = tokio::spawn(request.send());
    sender
        .send(Ok(Bytes::from_static(b"first")))
        .await
        .expect("taken");
    let mut back = answering
        .await
        .expect("no panic")
        .expect("an answer before the end of the question")
        .bytes_stream();
    assert_eq!(back.next().await.expect("a piece").expect("bytes"), "first");
    sender
        .send(Ok(Bytes::from_static(b"second")))
        .await
        .expect("taken");
    assert_eq!(
        back.next().await.expect("a piece").expect("bytes"),
        "second"
    );
    drop(sender);
    assert!(back.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_is_named_with_a_remedy() {
    let gateway = gateway(Some("http://127.0.0.1:9")).await;
    let reply = gateway.get("/v1/jobs/x/events").await;
    assert_eq!(
        (reply.status, &reply.body["error"]["code"]),
        (502, &json!("upstream_unavailable")),
        "{}",
        reply.body
    );
    assert!(
        reply.body["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("ingest") && text.contains("127.0.0.1:9"))
    );
    assert!(
        reply.body["error"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("lore serve ingest"))
    );
    assert_eq!(
        gateway.get("/v1/fine_tuning/jobs").await.status,
        404,
        "no trainer is configured"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_over_the_limit_is_413_and_not_the_services_fault() {
    let whole = |body: Bytes| async move { body.len().to_string() };
    let router = Router::new()
        .route("/v1/collections/{c}/documents", post(whole))
        .layer(DefaultBodyLimit::disable());
    let ingest = Client::serving(router).await;
    let routes = proxy(Some(&ingest.url), None, &CancellationToken::new()).expect("a proxy");
    let gateway = Client::serving(sealed(limited(routes, BodyLimit(1_000_000)))).await;
    let pieces = std::iter::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 10_000]))
    });
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces.take(5_000)));
    let request = gateway.request(Method::POST, "/v1/collections/a/documents");
    let answer = request.body(body).send().await.expect("an answer");
    assert_eq!(answer.status(), 413);
    let told: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(told["error"]["code"], "body_too_large", "{told}");
    assert!(
        told["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("1000000")),
        "{told}"
    );
}

/// An ingest service whose events never end by themselves.
async fn endless() -> Client {
    let events = || async {
        let first = Ok::<_, std::convert::Infallible>("event: job\ndata: {}\n\n");
        let stream = futures::stream::iter([first]).chain(futures::stream::pending());
        let mut response = Response::new(Body::from_stream(stream));
        let kind = "text/event-stream".parse().expect("a header");
        response.headers_mut().insert("content-type", kind);
        response
    };
    Client::serving(Router::new().route("/v1/jobs/{job}/events", get(events))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_handed_on_end_when_the_gateway_stops() {
    let ingest = endless().await;
    let stopping = CancellationToken::new();
    let gateway = proxy(Some(&ingest.url), None, &stopping).expect("a proxy");
    let gateway = Client::serving(sealed(gateway)).await;
    let asked = gateway.request(Method::GET, "/v1/jobs/1/events").send();
    let mut events = asked.await.expect("an answer").bytes_stream();
    let first = events.next().await.expect("an event").expect("bytes");
    assert!(first.starts_with(b"event: job"), "{first:?}");
    stopping.cancel();
    let rest = tokio::time::timeout(PATIENCE, events.collect::<Vec<_>>()).await;
    let rest = rest.expect("the stream ends");
    assert!(rest.iter().all(Result::is_ok), "in order: {rest:?}");
}

/// What the test below runs itself as, in an environment with a proxy that is not there.
const CHILD: &str = "proxies::neighbours_are_asked_without_the_environments_proxy";

#[test]
fn neighbours_are_asked_without_the_environments_proxy() {
    if std::env::var_os("LORE_TEST_CHILD").is_none() {
        let nowhere = "http://127.0.0.1:9";
        let ended = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", CHILD, "--nocapture"])
            .envs(
                ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, nowhere)),
            )
            .env_remove("no_proxy")
            .env_remove("NO_PROXY")
            .env("LORE_TEST_CHILD", "1")
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(
            ended.status.success() && told.contains("1 passed"),
            "{told}"
        );
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let ingest = ingest().await;
        let routes = proxy(Some(&ingest.url), None, &CancellationToken::new());
        // The client of this test is one that the environment's proxy would swallow, so the router is asked directly.
        let request = Request::builder().uri("/v1/jobs").body(Body::empty());
        let answer = routes
            .expect("a proxy")
            .oneshot(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
    });
}
