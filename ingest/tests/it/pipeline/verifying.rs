use super::lore::{Lore, eventually, read, refused, settings};
use lore_index::{DenseIndex, IndexedChunk, LexicalWriter};
use lore_ingest::IngestSettings;
use lore_types::{Chunk, ChunkId, DocumentId, IndexReport, JobStatus, Span, VersionId};
use reqwest::StatusCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// A chunk of a version that the catalog never saw.
fn stray() -> IndexedChunk {
    let document = DocumentId::derive("docs", "never uploaded");
    let version = VersionId::derive(document, 1);
    let chunk = Chunk {
        id: ChunkId::derive(version, 0),
        document_id: document,
        version_id: version,
        ordinal: 0,
        span: Span::new(0, 5),
        text: "stray".to_owned(),
        heading: Vec::new(),
        page: None,
        tokens: 3,
    };
    IndexedChunk {
        chunk,
        title: String::new(),
        fields: BTreeMap::new(),
    }
}

async fn repaired(lore: &Lore) -> IndexReport {
    let report = lore.verify("docs", true).await;
    for job in &report.collections[0].jobs {
        assert_eq!(lore.finished(*job).await.status, JobStatus::Succeeded);
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_lost_by_the_dense_side_are_found_and_written_again() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let kept = lore
        .ingest("docs", "kept.md", "This document is whole on both sides.")
        .await;
    let lost = lore
        .ingest("docs", "lost.md", "This document is lost on one side.")
        .await;
    let version = VersionId::derive(lost.document_id, lost.version);
    lore.dense
        .remove_versions("docs", &[version])
        .await
        .expect("tampered");
    let found = lore.verify("docs", false).await;
    let docs = &found.collections[0];
    assert_eq!(
        (found.consistent, docs.dense.missing, docs.lexical.missing),
        (false, 1, 0)
    );
    assert_eq!(docs.dense.examples, [ChunkId::derive(version, 0)]);
    let report = repaired(&lore).await;
    assert_eq!(report.collections[0].jobs.len(), 1);
    assert!(lore.verify("docs", false).await.consistent);
    assert_eq!(lore.counts("docs").await, [2, 2, 2]);
    assert_eq!(kept.version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_on_either_side_are_found_and_removed() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.ingest("docs", "a.md", "The only document there is.")
        .await;
    let mut vector = vec![0.0; 384];
    vector[0] = 1.0;
    lore.dense
        .upsert("docs", &[stray()], &[vector])
        .await
        .expect("tampered");
    lore.lexical
        .upsert("docs", &[stray()])
        .await
        .expect("tampered");
    lore.lexical.commit("docs").await.expect("tampered");
    let found = lore.verify("docs", false).await;
    let docs = &found.collections[0];
    assert_eq!(
        (found.consistent, docs.dense.extra, docs.lexical.extra),
        (false, 1, 1)
    );
    assert!(
        repaired(&lore).await.collections[0].jobs.is_empty(),
        "nothing has to be written"
    );
    assert!(lore.verify("docs", false).await.consistent);
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_was_emptied_is_filled_from_the_catalog() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.ingest("docs", "a.md", "One of two documents.").await;
    lore.ingest("docs", "b.md", "The other of two documents.")
        .await;
    lore.lexical
        .drop_collection("docs")
        .await
        .expect("tampered");
    assert_eq!(
        lore.verify("docs", false).await.collections[0]
            .lexical
            .missing,
        2
    );
    assert_eq!(repaired(&lore).await.collections[0].jobs.len(), 2);
    assert_eq!(lore.counts("docs").await, [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_that_no_one_knows_are_found_and_dropped() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.ingest("docs", "a.md", "The only document there is.")
        .await;
    lore.dense.create("unknown", 8).await.expect("tampered");
    let all = |repair: bool| json!({ "repair": repair });
    let found: IndexReport = read(
        lore.post("/v1/index/verify", &all(false)).await,
        StatusCode::OK,
    )
    .await;
    assert_eq!(
        (found.consistent, found.orphans[0].collection.as_str()),
        (false, "unknown")
    );
    let _: IndexReport = read(
        lore.post("/v1/index/verify", &all(true)).await,
        StatusCode::OK,
    )
    .await;
    let after: IndexReport = read(
        lore.post("/v1/index/verify", &all(false)).await,
        StatusCode::OK,
    )
    .await;
    assert!(after.consistent, "{after:?}");
    assert_eq!(
        lore.dense.collections().await.expect("collections"),
        ["docs"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_does_not_get_its_turn_says_when_to_come_back() {
    let hasty = IngestSettings {
        verify_turn: Duration::from_millis(50),
        ..settings()
    };
    let Some(lore) = Lore::start_with(hasty).await else {
        return;
    };
    lore.dense.close();
    let accepted = lore
        .upload("docs", "a.md", "This one holds up the indexer.")
        .await;
    lore.until_it_waits(accepted.job_id).await;
    let answer = lore.post("/v1/index/verify", &json!({})).await;
    assert_eq!(answer.headers()["retry-after"], "30");
    let error = refused(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(error.code, "not_ready");
    lore.dense.open();
    let job = lore.finished(accepted.job_id).await;
    assert_eq!(job.status, JobStatus::Succeeded);
    let report = eventually("the indexer is free", async || {
        let answer = lore.post("/v1/index/verify", &json!({})).await;
        (answer.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    let report: IndexReport = read(report, StatusCode::OK).await;
    assert!(report.consistent, "{report:?}");
}
