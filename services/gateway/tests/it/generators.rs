//! `OpenAiGenerator`: against a Lore acting as the server, and against servers that misbehave.

use crate::client::Client;
use crate::rig::{MODEL, Rig, generator};
use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use lore_gateway::{OpenAiGenerator, OpenAiSettings};
use lore_model::{GenerateError, GenerateEvent, GenerateRequest, Generator};
use lore_types::{FinishReason, Message, Role, Sampling, Usage};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

fn request(logprobs: Option<usize>) -> GenerateRequest {
    let messages = vec![
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "Name three colours."),
    ];
    GenerateRequest {
        messages,
        adapter: None,
        sampling: Sampling {
            max_new_tokens: 12,
            logprobs,
            ..Sampling::default()
        },
    }
}

fn remote(client: &Client, model: &str) -> OpenAiGenerator {
    OpenAiGenerator::new(OpenAiSettings::new(format!("{}/v1", client.url), model))
        .expect("a client")
}

async fn read(
    generator: &dyn Generator,
    request: GenerateRequest,
) -> Result<(String, usize, FinishReason, Usage), GenerateError> {
    let mut events = generator.generate(request).await?;
    let (mut text, mut logprobs) = (String::new(), 0);
    while let Some(event) = events.recv().await {
        match event? {
            GenerateEvent::Token {
                text: more,
                logprob,
            } => {
                text.push_str(&more);
                logprobs += usize::from(logprob.is_some());
            }
            GenerateEvent::Done {
                finish_reason,
                usage,
            } => return Ok((text, logprobs, finish_reason, usage)),
        }
    }
    Err(GenerateError::Failed("no end".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lore_behind_openais_api_says_what_its_own_model_says() {
    let Some(local) = generator() else { return };
    let Some(rig) = Rig::with(Some(Arc::clone(&local))).await else {
        return;
    };
    let remote = remote(&rig.client, MODEL);
    let (here, there) = (
        read(&*local, request(Some(2))).await.expect("local"),
        read(&remote, request(Some(2))).await.expect("remote"),
    );
    assert_eq!((&here.0, here.1, here.2), (&there.0, there.1, there.2));
    assert_eq!(
        (here.3.prompt_tokens, here.3.completion_tokens),
        (there.3.prompt_tokens, there.3.completion_tokens)
    );
    assert!(
        remote
            .count_tokens(&request(None).messages)
            .expect("an estimate")
            >= here.3.prompt_tokens
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_from_documents_with_another_lores_model() {
    let Some(model) = Rig::with(generator()).await else {
        return;
    };
    let Some(rig) = Rig::with(Some(Arc::new(remote(&model.client, MODEL)))).await else {
        return;
    };
    let reply = rig.client.post("/v1/ask", json!({"collection": "handbook", "question": "How many days of leave does every employee have?"})).await;
    assert_eq!(
        reply.body["citations"][0]["document_name"], "leave.md",
        "{}",
        reply.body
    );
}

/// A server whose chat route gives this answer.
async fn server(status: StatusCode, kind: &'static str, body: &'static str) -> Client {
    let answer =
        move || async move { (status, [(header::CONTENT_TYPE, kind)], body).into_response() };
    Client::serving(Router::new().route("/v1/chat/completions", post(answer))).await
}

async fn failure(status: StatusCode, kind: &'static str, body: &'static str) -> GenerateError {
    read(
        &remote(&server(status, kind, body).await, "m"),
        request(None),
    )
    .await
    .expect_err("a failure")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_refusals_keep_their_meaning() {
    let busy = failure(StatusCode::TOO_MANY_REQUESTS, "application/json", "{}").await;
    assert!(matches!(busy, GenerateError::Busy { .. }), "{busy:?}");
    let long = failure(
        StatusCode::BAD_REQUEST,
        "application/json",
        r#"{"error": {"message": "too long", "code": "context_length_exceeded"}}"#,
    )
    .await;
    assert!(
        matches!(&long, GenerateError::Invalid(message) if message == "too long"),
        "{long:?}"
    );
    let key = failure(
        StatusCode::UNAUTHORIZED,
        "application/json",
        r#"{"error": {"message": "no", "code": 401}}"#,
    )
    .await;
    assert!(key.to_string().contains("generator.api_key"), "{key}");
    let model = failure(StatusCode::NOT_FOUND, "text/plain", "nothing here").await;
    assert!(
        model.to_string().contains("no model `m`") && model.to_string().contains("nothing here"),
        "{model}"
    );
    let gone =
        OpenAiGenerator::new(OpenAiSettings::new("http://127.0.0.1:9/v1", "m")).expect("a client");
    let gone = read(&gone, request(None))
        .await
        .expect_err("nobody listens");
    assert!(
        gone.to_string().contains("http://127.0.0.1:9/v1")
            && gone.to_string().contains("generator.base_url"),
        "{gone}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_an_error_and_one_without_usage_is_counted() {
    const HALF: &str = "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n";
    let half = failure(StatusCode::OK, "text/event-stream", HALF).await;
    assert!(half.to_string().contains("in the middle"), "{half}");
    let odd = failure(StatusCode::OK, "text/event-stream", "data: what\n\n").await;
    assert!(odd.to_string().contains("what"), "{odd}");
    let refused = failure(
        StatusCode::OK,
        "text/event-stream",
        "data: {\"error\": {\"message\": \"out of memory\"}}\n\n",
    )
    .await;
    assert!(refused.to_string().contains("out of memory"), "{refused}");
    const WHOLE: &str = "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}, {\"delta\": {\"content\": \"b\"}, \"finish_reason\": \"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let client = server(StatusCode::OK, "text/event-stream", WHOLE).await;
    let (text, _, reason, usage) = read(&remote(&client, "m"), request(None))
        .await
        .expect("an answer");
    assert_eq!(
        (text.as_str(), reason, usage.completion_tokens),
        ("ab", FinishReason::Stop, 2)
    );
    assert!(usage.prompt_tokens > 0);
}

/// A server that streams without end, and says when its client has gone.
async fn endless() -> (Client, watch::Receiver<bool>) {
    let (gone, told) = watch::channel(false);
    let answer = move || {
        let gone = gone.clone();
        async move {
            let (sender, receiver) = mpsc::channel::<Result<String, std::convert::Infallible>>(1);
            tokio::spawn(async move {
                while sender
                    .send(Ok(
                        "data: {\"choices\": [{\"delta\": {\"content\": \"word \"}}]}\n\n"
                            .to_owned(),
                    ))
                    .await
                    .is_ok()
                {
                    tokio::task::yield_now().await;
                }
                gone.send_replace(true);
            });
            let stream = futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.recv().await.map(|text| (text, receiver))
            });
            Response::new(Body::from_stream(stream))
        }
    };
    (
        Client::serving(Router::new().route("/v1/chat/completions", post(answer))).await,
        told,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_ends_the_models_work() {
    for (path, body) in [
        (
            "/v1/ask",
            json!({"collection": "handbook", "question": "How many days of leave does every employee have?", "stream": true}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true}),
        ),
    ] {
        let (upstream, mut told) = endless().await;
        let Some(rig) = Rig::with(Some(Arc::new(remote(&upstream, "m")))).await else {
            return;
        };
        let response = rig
            .client
            .request(reqwest::Method::POST, path)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let mut bytes = response.bytes_stream();
        assert!(
            bytes.next().await.is_some_and(|first| first.is_ok()),
            "{path} begins"
        );
        drop(bytes);
        tokio::time::timeout(Duration::from_secs(30), told.wait_for(|gone| *gone))
            .await
            .expect("the upstream is left")
            .expect("it runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_429_with_a_time_to_come_back() {
    let (upstream, _told) = endless().await;
    let settings = OpenAiSettings {
        max_queue: 1,
        ..OpenAiSettings::new(format!("{}/v1", upstream.url), "m")
    };
    let Some(rig) = Rig::with(Some(Arc::new(
        OpenAiGenerator::new(settings).expect("a client"),
    )))
    .await
    else {
        return;
    };
    let chat =
        json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let first = rig
        .client
        .request(reqwest::Method::POST, "/v1/chat/completions")
        .json(&chat)
        .send()
        .await
        .expect("an answer");
    let second = rig.client.post("/v1/chat/completions", chat).await;
    assert_eq!(
        (second.status, &second.body["error"]["code"]),
        (429, &json!("queue_full")),
        "{}",
        second.body
    );
    assert_eq!(second.retry_after.as_deref(), Some("1"));
    drop(first);
}
