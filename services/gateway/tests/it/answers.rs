use crate::rig::{ABSTAIN, Rig, check_citation, generator};
use lore_types::Answer;
use serde_json::{Value, json};

async fn ask(rig: &Rig, request: Value) -> Value {
    let reply = rig.client.post("/v1/ask", request).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    check(&reply.body);
    reply.body
}

/// What has to hold of every answer.
fn check(body: &Value) {
    let answer: Answer = serde_json::from_value(body.clone()).expect("an answer");
    body["citations"]
        .as_array()
        .expect("a list")
        .iter()
        .for_each(check_citation);
    for citation in &answer.citations {
        let claim = citation
            .answer_span
            .of(&answer.answer)
            .expect("a valid span");
        assert!(
            claim.contains(&citation.marker),
            "`{claim}` has no {}",
            citation.marker
        );
        let number: usize = citation
            .marker
            .trim_matches(['[', ']'])
            .parse()
            .expect("a number");
        assert_eq!(answer.passages[number - 1].chunk_id, citation.chunk_id);
    }
    let markers: usize = answer.claims.iter().map(|claim| claim.markers.len()).sum();
    assert_eq!(markers, answer.citations.len());
    if answer.abstained {
        assert_eq!(
            (answer.answer.as_str(), answer.citations.len()),
            (ABSTAIN, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_with_the_passage_that_backs_it() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let body = ask(&rig, json!({"collection": "handbook", "question": "How many days of leave does every employee have?", "explain": true, "mode": null, "messages": null, "stream": null})).await;
    assert_eq!(body["abstained"], false, "{body}");
    assert_eq!(body["citations"][0]["document_name"], "leave.md", "{body}");
    assert_eq!(body["passages"][0]["document_name"], "leave.md");
    assert!(body["passages"][0]["scores"]["fused"]["rank"] == 1);
    let prompt = body["prompt"].as_str().expect("the prompt was asked for");
    assert!(
        prompt.contains("28 days of leave") && prompt.ends_with("assistant\n"),
        "{prompt}"
    );
    assert!(
        body["usage"]["prompt_tokens"].as_u64() > Some(100)
            && body["timings"]["total_ms"].as_f64() > Some(0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_gets_the_same_answer_streamed_or_not() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let question =
        json!({"collection": "handbook", "question": "Who pays the postage of a return?"});
    let whole = ask(&rig, question.clone()).await;
    let mut streaming = question;
    streaming["stream"] = json!(true);
    let events = rig.client.stream("/v1/ask", streaming).await;
    assert_eq!(
        events.first().map(|event| event.name.as_str()),
        Some("retrieved")
    );
    let last = events.last().expect("events");
    assert_eq!(last.name, "answer", "{last:?}");
    check(&last.json());
    for field in [
        "answer",
        "citations",
        "claims",
        "passages",
        "question",
        "abstained",
    ] {
        assert_eq!(last.json()[field], whole[field], "{field}");
    }
    assert!(events.iter().filter(|event| event.name == "token").count() > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_answer_is_not_sent_before_it_is_known_not_to_be_withheld() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let question = json!({"collection": "handbook", "question": "Who pays the postage of a return?", "strict": true, "stream": true});
    let events = rig.client.stream("/v1/ask", question).await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["retrieved", "answer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_nothing_in_the_documents_is_not_answered() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    for question in [
        "Which chemical element has the symbol Kr?",
        "法国大革命是哪一年爆发的？",
        "How do I bake a sponge cake?",
    ] {
        let body = ask(
            &rig,
            json!({"collection": "handbook", "question": question}),
        )
        .await;
        assert_eq!(body["abstained"], true, "{question}: {body}");
        assert!(
            body["notices"][0]
                .as_str()
                .is_some_and(|notice| notice.contains("handbook")),
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_collection_abstains_and_says_why() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    rig.create("empty").await;
    let body = ask(
        &rig,
        json!({"collection": "empty", "question": "How many days of leave are there?"}),
    )
    .await;
    assert_eq!(body["abstained"], true);
    assert!(
        body["notices"][0]
            .as_str()
            .is_some_and(|notice| notice.contains("no document")),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_answer_has_no_sentence_without_a_passage() {
    let Some(rig) = Rig::tuned(generator(), |settings| {
        settings.citations.support_threshold = 1.0
    })
    .await
    else {
        return;
    };
    let question = "How many days of leave does every employee have, and what else?";
    let loose = ask(&rig, json!({"collection": "handbook", "question": question, "strict": false, "temperature": 1.5, "seed": 3})).await;
    let strict = ask(&rig, json!({"collection": "handbook", "question": question, "strict": true, "temperature": 1.5, "seed": 3})).await;
    let all = loose["claims"].as_array().is_some_and(|claims| {
        !claims.is_empty() && claims.iter().all(|claim| claim["supported"] == true)
    });
    assert_eq!(strict["abstained"], json!(!all), "{loose}\n{strict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_is_understood_from_what_was_said_before() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let messages = json!([
        {"role": "user", "content": "How many days of leave does every employee have?"},
        {"role": "assistant", "content": "Every employee has 28 days of leave [1]."},
    ]);
    let body = ask(&rig, json!({"collection": "handbook", "question": "And how many of them can be carried over?", "messages": messages})).await;
    assert!(
        body["question"]
            .as_str()
            .is_some_and(|question| question.contains("leave")),
        "{body}"
    );
    assert_eq!(body["passages"][0]["document_name"], "leave.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_limits_bind_the_passages_of_an_answer() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    let body = ask(&rig, json!({"collection": "handbook", "question": "What does the handbook say of drills?", "filter": {"team": "hr"}, "limit": 1})).await;
    let passages = body["passages"].as_array().expect("a list");
    assert!(
        passages.len() <= 1
            && passages
                .iter()
                .all(|passage| passage["metadata"]["team"] == "hr"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_refused_with_a_remedy() {
    let Some(rig) = Rig::with(generator()).await else {
        return;
    };
    for (request, status, code) in [
        (
            json!({"collection": "handbook", "question": " "}),
            400,
            "invalid_request",
        ),
        (
            json!({"collection": "nowhere", "question": "x?"}),
            404,
            "collection_not_found",
        ),
        (
            json!({"collection": "handbook", "question": "x?", "model": "gpt-9"}),
            404,
            "model_not_found",
        ),
        (
            json!({"collection": "handbook", "question": "x?", "limit": 51}),
            400,
            "invalid_request",
        ),
        (
            json!({"collection": "handbook", "question": "x?", "temperature": -1}),
            400,
            "invalid_request",
        ),
        (
            json!({"collection": "handbook", "question": "How much leave?", "max_new_tokens": 1_000_000}),
            400,
            "context_length_exceeded",
        ),
        (
            json!({"collection": "handbook", "question": "How much leave?", "max_new_tokens": u64::MAX}),
            400,
            "context_length_exceeded",
        ),
        (
            json!({"collection": "handbook", "question": "x?", "colour": "red"}),
            400,
            "invalid_json",
        ),
    ] {
        let reply = rig.client.post("/v1/ask", request.clone()).await;
        assert_eq!(
            (reply.status, &reply.body["error"]["code"]),
            (status, &json!(code)),
            "{request}: {}",
            reply.body
        );
    }
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    let reply = rig
        .client
        .post(
            "/v1/ask",
            json!({"collection": "handbook", "question": "x?"}),
        )
        .await;
    assert_eq!(
        (reply.status, &reply.body["error"]["code"]),
        (503, &json!("model_not_installed"))
    );
    assert_eq!(reply.body["error"]["hint"], "run `lore models pull none`");
}
