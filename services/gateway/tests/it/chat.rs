use crate::client::Event;
use crate::rig::{ABSTAIN, MODEL, Rig, check_citation, generator};
use serde_json::{Value, json};

const QUESTION: &str = "How many days of leave does every employee have?";

async fn chat(rig: &Rig, request: Value) -> Value {
    let reply = rig.client.post("/v1/chat/completions", request).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// The pieces of a streamed answer, without `[DONE]`, which has to be the last.
fn pieces(mut events: Vec<Event>) -> Vec<Value> {
    assert_eq!(
        events.pop().map(|event| event.data).as_deref(),
        Some("[DONE]")
    );
    events.iter().map(Event::json).collect()
}

fn joined(pieces: &[Value]) -> String {
    pieces
        .iter()
        .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_has_openais_shape() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let body = chat(&rig, json!({"model": MODEL, "messages": user("Say hello."), "max_tokens": 8, "unknown_field": [1], "n": 1})).await;
    assert_eq!(
        (&body["object"], &body["model"]),
        (&json!("chat.completion"), &json!(MODEL))
    );
    assert!(
        body["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("chatcmpl-"))
            && body["created"].is_i64()
    );
    let choice = &body["choices"][0];
    assert_eq!(
        (
            &choice["index"],
            &choice["message"]["role"],
            &choice["logprobs"]
        ),
        (&json!(0), &json!("assistant"), &Value::Null)
    );
    assert!(
        choice["message"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert!(["stop", "length"].contains(&choice["finish_reason"].as_str().expect("a reason")));
    let usage = &body["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64(),
        Some(
            usage["prompt_tokens"].as_u64().expect("a number")
                + usage["completion_tokens"].as_u64().expect("a number")
        )
    );
    assert!(usage["completion_tokens"].as_u64() <= Some(8));
    assert!(body.get("citations").is_none(), "no documents were asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_plain_answer_is_the_same_in_pieces() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let request =
        json!({"model": MODEL, "messages": user("Count to five."), "max_completion_tokens": 12});
    let whole = chat(&rig, request.clone()).await;
    let mut streaming = request;
    streaming["stream"] = json!(true);
    streaming["stream_options"] = json!({"include_usage": true});
    let pieces = pieces(rig.client.stream("/v1/chat/completions", streaming).await);
    assert_eq!(
        Some(joined(&pieces).as_str()),
        whole["choices"][0]["message"]["content"].as_str()
    );
    assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        pieces
            .iter()
            .all(|piece| piece["object"] == "chat.completion.chunk"
                && piece["id"] == pieces[0]["id"])
    );
    let usage = pieces.last().expect("pieces");
    assert_eq!(
        (&usage["choices"], &usage["usage"]["completion_tokens"]),
        (&json!([]), &whole["usage"]["completion_tokens"])
    );
    assert_eq!(
        pieces[pieces.len() - 2]["choices"][0]["finish_reason"],
        whole["choices"][0]["finish_reason"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_answers_by_its_name_or_by_the_extra_field() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let by_name = chat(
        &rig,
        json!({"model": "handbook", "messages": user(QUESTION)}),
    )
    .await;
    let by_field = chat(
        &rig,
        json!({"model": MODEL, "collection": "handbook", "messages": user(QUESTION)}),
    )
    .await;
    assert_eq!(by_name["choices"], by_field["choices"]);
    assert_eq!(by_name["model"], "handbook");
    let citations = by_name["citations"].as_array().expect("citations");
    assert!(!citations.is_empty(), "{by_name}");
    citations.iter().for_each(check_citation);
    assert_eq!(by_name["lore"]["collection"], "handbook");
    assert_eq!(by_name["lore"]["passages"][0]["document_name"], "leave.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_from_documents_joins_to_the_checked_answer() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    for question in [QUESTION, "Which chemical element has the symbol Kr?"] {
        let request = json!({"model": "handbook", "messages": user(question)});
        let whole = chat(&rig, request.clone()).await;
        let mut streaming = request;
        streaming["stream"] = json!(true);
        let pieces = pieces(rig.client.stream("/v1/chat/completions", streaming).await);
        assert_eq!(
            Some(joined(&pieces).as_str()),
            whole["choices"][0]["message"]["content"].as_str()
        );
        let last = pieces.last().expect("pieces");
        assert_eq!(last["citations"], whole["citations"]);
        assert_eq!(last["lore"]["abstained"], whole["lore"]["abstained"]);
    }
    let abstained = chat(
        &rig,
        json!({"model": "handbook", "messages": user("Which chemical element has the symbol Kr?")}),
    )
    .await;
    assert_eq!(abstained["choices"][0]["message"]["content"], ABSTAIN);
    assert_eq!(abstained["citations"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_with_parts_and_a_developer_is_read() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let messages = json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": "28 days [1].", "refusal": null, "tool_calls": null},
        {"role": "user", "content": [{"type": "text", "text": "How many of them can be"}, {"type": "text", "text": "carried over?"}], "name": "li"},
    ]);
    let body = chat(
        &rig,
        json!({"model": "handbook", "messages": messages, "explain": true}),
    )
    .await;
    assert_eq!(
        body["lore"]["passages"][0]["document_name"], "leave.md",
        "{body}"
    );
    assert!(
        body["lore"]["prompt"]
            .as_str()
            .is_some_and(|prompt| prompt.contains("Be brief."))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_texts_end_the_answer_and_log_probabilities_are_told() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let request = json!({"model": MODEL, "messages": user("Count from one to nine: one, two, three"), "max_tokens": 24, "logprobs": true, "top_logprobs": 2});
    let free = chat(&rig, request.clone()).await;
    let text = free["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text")
        .to_owned();
    let tokens = free["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("log probabilities");
    assert!(tokens.iter().all(|token| {
        token["logprob"].as_f64() <= Some(0.0)
            && token["top_logprobs"]
                .as_array()
                .is_some_and(|top| top.len() == 2)
    }));
    assert_eq!(
        tokens.len() as u64,
        free["usage"]["completion_tokens"]
            .as_u64()
            .expect("a number")
    );
    let stop: String = text.chars().skip(3).take(2).collect();
    let mut stopped = request;
    stopped["stop"] = json!(stop);
    let body = chat(&rig, stopped).await;
    let expected = text.split(&stop).next().expect("a text");
    assert_eq!(body["choices"][0]["message"]["content"], expected);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_implemented_is_refused_by_name() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    for (field, value) in [
        ("n", json!(2)),
        ("tools", tool),
        ("response_format", json!({"type": "json_object"})),
        ("presence_penalty", json!(5)),
        ("logit_bias", json!({"1": 5})),
        ("top_logprobs", json!(3)),
        ("stop", json!(["a", "b", "c", "d", "e"])),
        ("temperature", json!(9)),
        ("messages", json!([])),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
        ),
    ] {
        let mut request = json!({"model": MODEL, "messages": user("Hi"), "max_tokens": 1});
        request[field] = value;
        let reply = rig
            .client
            .post("/v1/chat/completions", request.clone())
            .await;
        assert_eq!(
            (reply.status, &reply.body["error"]["param"]),
            (400, &json!(field)),
            "{request}: {}",
            reply.body
        );
        assert_eq!(reply.body["error"]["type"], "invalid_request_error");
    }
    for (field, value) in [
        ("tools", json!([])),
        ("response_format", json!({"type": "text"})),
        ("frequency_penalty", json!(0)),
        ("stop", Value::Null),
    ] {
        let mut request = json!({"model": MODEL, "messages": user("Hi"), "max_tokens": 1});
        request[field] = value;
        chat(&rig, request).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_not_found_and_the_known_ones_are_named() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let reply = rig
        .client
        .post(
            "/v1/chat/completions",
            json!({"model": "gpt-9", "messages": user("Hi")}),
        )
        .await;
    assert_eq!(
        (reply.status, &reply.body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    assert!(
        reply.body["error"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains(MODEL) && hint.contains("handbook")),
        "{}",
        reply.body
    );
    let reply = rig
        .client
        .post(
            "/v1/chat/completions",
            json!({"model": MODEL, "collection": "nowhere", "messages": user("Hi")}),
        )
        .await;
    assert_eq!(
        (reply.status, &reply.body["error"]["code"]),
        (404, &json!("collection_not_found"))
    );
    let reply = rig
        .client
        .post(
            "/v1/chat/completions",
            json!({"model": "handbook", "messages": [{"role": "assistant", "content": "Hi"}]}),
        )
        .await;
    assert_eq!(
        (reply.status, &reply.body["error"]["param"]),
        (400, &json!("messages"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_the_language_model_the_embedders_and_the_collections() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let body = rig.client.get("/v1/models").await.body;
    let ids: Vec<&str> = body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect();
    assert_eq!(ids, [MODEL, crate::rig::EMBEDDER, "handbook"]);
    assert_eq!(
        rig.client.get("/v1/models/handbook").await.body["owned_by"],
        "lore-collection"
    );
    assert_eq!(rig.client.get("/v1/models/nothing").await.status, 404);
}
