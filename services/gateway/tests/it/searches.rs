use crate::rig::{HANDBOOK, Rig};
use lore_types::{Document, DocumentFormat, Filter, Scalar};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn names(body: &Value) -> Vec<String> {
    let passages = body["data"].as_array().expect("a list");
    passages
        .iter()
        .map(|passage| {
            passage["document_name"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect()
}

async fn search(rig: &Rig, request: Value) -> Value {
    let reply = rig.client.post("/v1/search", request).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

/// What a filter sees of a document of the handbook.
fn fields(name: &str, metadata: &str) -> BTreeMap<String, Vec<Scalar>> {
    let document = json!({
        "id": lore_types::DocumentId::derive("handbook", name), "collection": "handbook", "name": name, "status": "ready", "version": 1,
        "version_id": lore_types::VersionId::derive(lore_types::DocumentId::derive("handbook", name), 1), "content_hash": "", "bytes": 1,
        "format": DocumentFormat::Markdown, "chunks": 1, "metadata": serde_json::from_str::<Value>(metadata).expect("JSON"),
        "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
    });
    serde_json::from_value::<Document>(document)
        .expect("a document")
        .fields()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_admit_what_the_filter_means() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    for filter in [
        json!({}),
        json!({"team": "hr"}),
        json!({"team": ["hr", "财务"]}),
        json!({"team": {"$ne": "hr"}}),
        json!({"year": {"$gte": 2023, "$lt": 2025}}),
        json!({"year": 2024.0}),
        json!({"tags": "time"}),
        json!({"tags": {"$nin": ["customers"]}}),
        json!({"tags": {"$exists": false}}),
        json!({"public": true}),
        json!({"public": {"$ne": true}}),
        json!({"site.city": "Berlin"}),
        json!({"site": {"city": "Berlin"}}),
        json!({"valid": {"$gt": "2023-12-31"}}),
        json!({"document.name": "报销.md"}),
        json!({"document.format": "markdown"}),
        json!({"$or": [{"team": "it"}, {"$and": [{"team": "hr"}, {"year": {"$lte": 2022}}]}]}),
        json!({"$not": {"team": "hr"}}),
        json!({"$or": []}),
        json!({"nothing": 1}),
    ] {
        let meaning = Filter::parse(&filter).expect("a filter");
        let expected: BTreeSet<String> = HANDBOOK
            .iter()
            .filter(|(name, metadata, _)| meaning.admits(&fields(name, metadata)))
            .map(|(name, ..)| (*name).to_owned())
            .collect();
        for mode in ["dense", "lexical", "hybrid"] {
            let body = search(&rig, json!({"collection": "handbook", "query": "handbook", "mode": mode, "limit": 50, "filter": filter})).await;
            assert_eq!(
                names(&body).into_iter().collect::<BTreeSet<_>>(),
                expected,
                "{mode} with {filter}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explained_scores_add_up_to_the_order() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    let body = search(&rig, json!({"collection": "handbook", "query": "How many days of leave may be carried over?", "explain": true})).await;
    assert_eq!(names(&body)[0], "leave.md");
    let passages = body["data"].as_array().expect("a list");
    for (passage, rank) in passages.iter().zip(1..) {
        let scores = &passage["scores"];
        let side = |name: &str| {
            scores[name]["rank"]
                .as_f64()
                .map_or(0.0, |rank| 1.0 / (60.0 + rank))
        };
        let fused = scores["fused"]["score"].as_f64().expect("a fused score");
        assert!(
            (fused - side("dense") - side("lexical")).abs() < 1e-6,
            "{scores}"
        );
        assert_eq!(scores["fused"]["rank"], rank);
        assert_eq!(passage["score"], scores["fused"]["score"]);
    }
    let plain = search(&rig, json!({"collection": "handbook", "query": "leave"})).await;
    assert!(plain["data"][0].get("scores").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_in_one_language_finds_the_document_in_the_other() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    let body = search(
        &rig,
        json!({"collection": "handbook", "query": "谁是柏林办公室的消防负责人？", "mode": "dense"}),
    )
    .await;
    assert_eq!(names(&body)[0], "fire.md");
    let body = search(
        &rig,
        json!({"collection": "handbook", "query": "住宿报销上限"}),
    )
    .await;
    assert_eq!(names(&body)[0], "报销.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_active_version_of_a_document_is_found() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    let query = json!({"collection": "handbook", "query": "handbook office hours", "limit": 50});
    rig.index(
        "handbook",
        "hours.md",
        "{}",
        "# Hours\n\nThe handbook says that the office opens at 7.",
    )
    .await;
    assert!(
        !names(&search(&rig, query.clone()).await).contains(&"hours.md".to_owned()),
        "it is not active yet"
    );
    for limit in [1, 2] {
        let nearest = json!({"collection": "handbook", "query": "The handbook says that the office opens at 7.", "limit": limit});
        let body = search(&rig, nearest).await;
        let found = names(&body);
        assert_eq!(found.len(), limit, "the next best take its place: {body}");
        assert!(!found.contains(&"hours.md".to_owned()), "{body}");
    }
    rig.add(
        "handbook",
        "hours.md",
        "{}",
        "# Hours\n\nThe handbook says that the office opens at 8.",
    )
    .await;
    rig.add(
        "handbook",
        "hours.md",
        "{}",
        "# Hours\n\nThe handbook says that the office opens at 9.",
    )
    .await;
    let body = search(&rig, query.clone()).await;
    let found: Vec<&Value> = body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|passage| passage["document_name"] == "hours.md")
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["version"], 3);
    assert!(
        found[0]["text"]
            .as_str()
            .is_some_and(|text| text.ends_with("opens at 9."))
    );
    rig.catalog
        .delete_document(
            "handbook",
            lore_types::DocumentId::derive("handbook", "hours.md"),
        )
        .await
        .expect("deleted");
    assert!(
        !names(&search(&rig, query).await).contains(&"hours.md".to_owned()),
        "it was deleted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_by_name() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    let refused = |request: Value, status: u16, code: &'static str, param: &'static str| {
        let client = rig.client.clone();
        async move {
            let reply = client.post("/v1/search", request.clone()).await;
            assert_eq!(
                (reply.status, &reply.body["error"]["code"]),
                (status, &json!(code)),
                "{request}: {}",
                reply.body
            );
            assert_eq!(reply.body["error"]["param"], param, "{}", reply.body);
            reply.body["error"].clone()
        }
    };
    refused(
        json!({"collection": "handbook", "query": "  "}),
        400,
        "invalid_request",
        "query",
    )
    .await;
    refused(
        json!({"collection": "handbook", "query": "x".repeat(9_000)}),
        400,
        "invalid_request",
        "query",
    )
    .await;
    refused(
        json!({"collection": "handbook", "query": "x", "limit": 0}),
        400,
        "invalid_request",
        "limit",
    )
    .await;
    refused(
        json!({"collection": "handbook", "query": "x", "limit": 100_000}),
        400,
        "invalid_request",
        "limit",
    )
    .await;
    refused(
        json!({"collection": "handbook", "query": "x", "filter": {"year": {"$near": 1}}}),
        400,
        "invalid_filter",
        "filter",
    )
    .await;
    refused(
        json!({"collection": "handbook", "query": "x", "filter": [1]}),
        400,
        "invalid_filter",
        "filter",
    )
    .await;
    let error = refused(
        json!({"collection": "handbok", "query": "x"}),
        404,
        "collection_not_found",
        "collection",
    )
    .await;
    assert!(
        error["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("handbook") && hint.contains("lore ingest")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_collection_has_no_passages() {
    let Some(rig) = Rig::with(None).await else {
        return;
    };
    rig.create("empty").await;
    let body = search(&rig, json!({"collection": "empty", "query": "anything"})).await;
    assert_eq!(body["data"], json!([]));
}
