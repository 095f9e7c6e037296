use crate::client::Client;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use lore_gateway::proxy;
use lore_http::sealed;
use reqwest::Method;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
