use super::lore::{Lore, eventually, part, read, refused, settings};
use lore_catalog::NewAdapterVersion;
use lore_ingest::IngestSettings;
use lore_types::{Accepted, Collection, Document, JobStatus, List, Uploaded};
use reqwest::StatusCode;
use reqwest::multipart::Form;
use serde_json::json;
use std::time::Duration;

fn form(name: &str) -> Form {
    Form::new().part("file", part(name, &b"some text"[..]))
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_are_wrong_are_refused_by_part() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let long = "x".repeat(1_025);
    for (form, code) in [
        (Form::new().text("name", "a"), "invalid_request"),
        (form("a").text("colour", "red"), "invalid_request"),
        (form("a").text("metadata", "[1]"), "invalid_metadata"),
        (
            form("a").text("metadata", r#"{"document.id": "x"}"#),
            "invalid_metadata",
        ),
        (
            form("a").text("metadata", r#"{"a": [[1]]}"#),
            "invalid_metadata",
        ),
        (
            form("a").text(
                "metadata",
                format!(r#"{{"a": "{}"}}"#, "y".repeat(17 << 10)),
            ),
            "invalid_metadata",
        ),
        (form("a").text("format", "sculpture"), "invalid_request"),
        (form("a\tb"), "invalid_name"),
        (form(" "), "invalid_name"),
        (form(&long), "invalid_name"),
        (
            form("a").part("file", part("b", "x")).text("name", "c"),
            "invalid_request",
        ),
    ] {
        let error = refused(lore.send_form("docs", form).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(error.code, code, "{error:?}");
    }
    assert_eq!(
        lore.get("/v1/collections/docs").await.status(),
        StatusCode::NOT_FOUND,
        "nothing was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_with_413() {
    let small = IngestSettings {
        max_document: 1_000,
        max_body: 20_000,
        max_files: 2,
        ..settings()
    };
    let Some(lore) = Lore::start_with(small).await else {
        return;
    };
    let many = form("a")
        .part("file", part("b", "x"))
        .part("file", part("c", "x"));
    let error = refused(
        lore.send_form("docs", many).await,
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    assert_eq!(error.code, "too_many_files");
    for bytes in [1_001, 19_000, 30_000] {
        let large = Form::new().part("file", part("large", vec![b'x'; bytes]));
        let error = refused(
            lore.send_form("docs", large).await,
            StatusCode::PAYLOAD_TOO_LARGE,
        )
        .await;
        assert_eq!(error.code, "body_too_large", "{bytes}");
    }
    // A body that does not say how long it is.
    let piece = || Ok::<_, std::convert::Infallible>(vec![b'x'; 10_000]);
    let pieces = futures::stream::iter(std::iter::repeat_with(piece).take(100));
    let endless = reqwest::Body::wrap_stream(pieces);
    let endless = reqwest::multipart::Part::stream(endless).file_name("endless");
    let form = Form::new().part("file", endless);
    let answer = lore.send_form("docs", form).await;
    let error = refused(answer, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(error.code, "body_too_large");
    let text = json!({"name": "large", "text": "x".repeat(1_001)});
    let answer = lore.post("/v1/collections/docs/documents", &text).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let fits = Form::new().part("file", part("fits", vec![b'x'; 1_000]));
    assert_eq!(
        lore.send_form("docs", fits).await.status(),
        StatusCode::ACCEPTED
    );
    let partial = lore.folder.path().join("files/partial");
    assert_eq!(
        std::fs::read_dir(partial).expect("the folder").count(),
        0,
        "nothing is left of refused uploads"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_is_named_and_the_others_go_in() {
    let small = IngestSettings {
        max_document: 1_000,
        ..settings()
    };
    let Some(lore) = Lore::start_with(small).await else {
        return;
    };
    let large = || part("large.txt", vec![b'x'; 1_001]);
    let form = Form::new()
        .part("file", part("first.txt", "The first one."))
        .part("file", large())
        .part("file", part("a\tb", "This one has no usable name."))
        .part("file", part("last.txt", "The last one."));
    let answer = lore.send_form("docs", form).await;
    let uploaded: Uploaded = read(answer, StatusCode::ACCEPTED).await;
    let accepted = uploaded.data.iter().map(|one| one.name.as_str());
    assert_eq!(accepted.collect::<Vec<_>>(), ["first.txt", "last.txt"]);
    let refusals = uploaded.refused.iter();
    let refusals = refusals.map(|one| (one.name.as_str(), one.error.code.as_str()));
    assert_eq!(
        refusals.collect::<Vec<_>>(),
        [("large.txt", "body_too_large"), ("a\tb", "invalid_name")]
    );
    let told = &uploaded.refused[0].error;
    assert!(
        told.message
            .contains("`large.txt` has more than 1000 bytes"),
        "{told:?}"
    );
    assert!(
        told.hint
            .as_ref()
            .is_some_and(|hint| hint.contains("ingest.max_document")),
        "{told:?}"
    );
    for one in &uploaded.data {
        assert_eq!(lore.finished(one.job_id).await.status, JobStatus::Succeeded);
    }
    let documents = lore.get("/v1/collections/docs/documents").await;
    let documents: List<Document> = read(documents, StatusCode::OK).await;
    assert_eq!(documents.data.len(), 2);
    // Where nothing is left to accept, the first refusal is the answer.
    let form = Form::new()
        .part("file", large())
        .part("file", part("\t", "x"));
    let answer = lore.send_form("docs", form).await;
    let error = refused(answer, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert!(error.message.contains("`large.txt`"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_looks_like_a_path_is_only_a_name() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let name = "../../etc/员工 \"手册\".txt";
    let body = json!({"name": name, "text": "Nothing outside the folder is touched."});
    let accepted = lore.upload_json("docs", &body).await;
    lore.finished(accepted.job_id).await;
    let found: List<Document> = read(
        lore.http
            .get(format!("{}/v1/collections/docs/documents", lore.url))
            .query(&[("name", name)])
            .send()
            .await
            .expect("an answer"),
        StatusCode::OK,
    )
    .await;
    assert_eq!(found.data[0].name, name);
    let content = lore
        .get(&format!(
            "/v1/collections/docs/documents/{}/content",
            accepted.document_id
        ))
        .await;
    let disposition = content.headers()["content-disposition"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        disposition.contains("filename=\"__ ____.txt\""),
        "{disposition}"
    );
    assert!(
        disposition.contains("filename*=UTF-8''%E5%91%98"),
        "{disposition}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_made_listed_and_refused() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let made: Collection = read(
        lore.post("/v1/collections", &json!({"name": "b", "description": "x"}))
            .await,
        StatusCode::CREATED,
    )
    .await;
    assert_eq!(
        (made.embedder.as_str(), made.dimensions, made.documents),
        (super::lore::MODEL, 384, 0)
    );
    lore.post("/v1/collections", &json!({"name": "a"})).await;
    let twice = refused(
        lore.post("/v1/collections", &json!({"name": "a"})).await,
        StatusCode::CONFLICT,
    )
    .await;
    assert_eq!(twice.code, "conflict");
    for name in ["", "a b", ".hidden", "ä", "a/b", &"x".repeat(65)] {
        let error = refused(
            lore.post("/v1/collections", &json!({"name": name})).await,
            StatusCode::BAD_REQUEST,
        )
        .await;
        assert_eq!(error.code, "invalid_name", "{name}");
    }
    let missing = json!({"name": "c", "embedder": super::lore::NOT_PULLED});
    let missing = refused(
        lore.post("/v1/collections", &missing).await,
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await;
    assert_eq!(missing.code, "model_not_installed");
    let hint = missing.hint.expect("a hint");
    assert!(hint.contains("lore models pull not-pulled"), "{hint}");
    // A path is answered like any other unknown name, whether it exists or not.
    for name in ["no-such-model", "/etc", "/nowhere", "../x"] {
        let unknown = json!({"name": "c", "embedder": name});
        let unknown = lore.post("/v1/collections", &unknown).await;
        let unknown = refused(unknown, StatusCode::BAD_REQUEST).await;
        assert_eq!(unknown.message, format!("no embedder `{name}`"));
        let hint = unknown.hint.expect("a hint");
        assert!(hint.contains(super::lore::MODEL), "{hint}");
    }
    let first: List<Collection> =
        read(lore.get("/v1/collections?limit=1").await, StatusCode::OK).await;
    assert_eq!((first.data[0].name.as_str(), first.has_more), ("a", true));
    let rest: List<Collection> = read(
        lore.get("/v1/collections?limit=1&after=a").await,
        StatusCode::OK,
    )
    .await;
    assert_eq!((rest.data[0].name.as_str(), rest.has_more), ("b", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_has_a_default_adapter_or_none() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.post("/v1/collections", &json!({"name": "docs"})).await;
    let one = "/v1/collections/docs";
    let wrong = lore.patch(one, &json!({"default_adapter": "absent"})).await;
    let error = refused(wrong, StatusCode::NOT_FOUND).await;
    assert_eq!(error.param.as_deref(), Some("default_adapter"), "{error:?}");
    let typo = lore.patch(one, &json!({"defaultadapter": "x"})).await;
    refused(typo, StatusCode::BAD_REQUEST).await;
    let nowhere = lore.patch("/v1/collections/none", &json!({})).await;
    refused(nowhere, StatusCode::NOT_FOUND).await;

    lore.catalog
        .register_adapter(&adapter("tuned"))
        .await
        .expect("registered");
    for (body, expected) in [
        (json!({"default_adapter": "tuned"}), Some("tuned")),
        (json!({}), Some("tuned")),
        (json!({"default_adapter": null}), None),
    ] {
        let changed: Collection = read(lore.patch(one, &body).await, StatusCode::OK).await;
        assert_eq!(changed.default_adapter.as_deref(), expected, "{body}");
    }
}

/// A version whose files nobody looks at here.
fn adapter(name: &str) -> NewAdapterVersion {
    let version = json!({
        "adapter": name, "version": 1, "kind": "lora", "base": "base", "base_fingerprint": "", "path": "x", "sha256": "", "bytes": 0,
        "stale": false, "metrics": {}, "provenance": {}, "created_at": "2026-01-01T00:00:00Z",
    });
    NewAdapterVersion {
        version: serde_json::from_value(version).expect("a version"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_get_clear_answers() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.post("/v1/collections", &json!({"name": "docs"})).await;
    let missing = lore_types::DocumentId::derive("docs", "missing");
    for (path, status, code) in [
        (
            "/v1/collections/docs/documents?limit=0".to_owned(),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            "/v1/collections/docs/documents?status=lost".to_owned(),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            "/v1/collections/docs/documents/not-an-id".to_owned(),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            format!("/v1/collections/docs/documents/{missing}"),
            StatusCode::NOT_FOUND,
            "document_not_found",
        ),
        (
            format!("/v1/collections/nope/documents/{missing}"),
            StatusCode::NOT_FOUND,
            "collection_not_found",
        ),
        (
            "/v1/collections/nope/documents".to_owned(),
            StatusCode::NOT_FOUND,
            "collection_not_found",
        ),
        (
            format!("/v1/collections/docs/documents?after={missing}"),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
        (
            "/v1/jobs?status=asleep".to_owned(),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
    ] {
        let error = refused(lore.get(&path).await, status).await;
        assert_eq!(error.code, code, "{path}");
        assert!(error.request_id.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_part_renames_one_file() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let accepted: List<Accepted> = read(
        lore.send_form("docs", form("upload.tmp").text("name", "real name.txt"))
            .await,
        StatusCode::ACCEPTED,
    )
    .await;
    assert_eq!(accepted.data[0].name, "real name.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_ended_long_ago_are_forgotten_but_for_those_of_present_versions() {
    let forgetful = IngestSettings {
        keep_finished_jobs: Duration::ZERO,
        ..settings()
    };
    let Some(lore) = Lore::start_with(forgetful).await else {
        return;
    };
    let replaced = lore.ingest("docs", "a.md", "The first edition.").await;
    let present = lore.ingest("docs", "a.md", "The second edition.").await;
    let lore = lore.crash_and_start().await;
    let gone = eventually("the old job is forgotten", async || {
        let answer = lore.get(&format!("/v1/jobs/{}", replaced.job_id)).await;
        (answer.status() != StatusCode::OK).then_some(answer)
    })
    .await;
    let error = refused(gone, StatusCode::NOT_FOUND).await;
    assert_eq!(error.code, "job_not_found");
    assert_eq!(lore.job(present.job_id).await.status, JobStatus::Succeeded);
    let again = lore.upload("docs", "a.md", "The second edition.").await;
    assert_eq!((again.unchanged, again.job_id), (true, present.job_id));
}

#[test]
fn the_defaults_are_those_of_the_configuration() {
    let options = lore_config::LoadOptions::default().env([("HOME", "/nowhere")]);
    let config = lore_config::Config::load(options).expect("the defaults");
    assert_eq!(IngestSettings::from(&config), IngestSettings::default());
}
