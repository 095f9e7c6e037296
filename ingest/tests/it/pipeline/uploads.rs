use super::lore::{Lore, handbook, part, read};
use lore_ingest::DocumentDetails;
use lore_types::{Accepted, Chunk, Document, DocumentFormat, DocumentStatus, JobStatus, List};
use reqwest::StatusCode;
use reqwest::multipart::Form;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn four_formats_become_findable_and_keep_their_bytes_and_spans() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let files = [
        ("leave.md", DocumentFormat::Markdown),
        ("travel-and-expenses.html", DocumentFormat::Html),
        ("hx-200-service-manual.docx", DocumentFormat::Docx),
        ("onboarding-checklist.txt", DocumentFormat::Text),
    ];
    let mut form = Form::new().text("metadata", r#"{"team": "hr"}"#);
    for (name, _) in files {
        form = form.part("file", part(name, handbook(name)));
    }
    let accepted: List<Accepted> =
        read(lore.send_form("handbook", form).await, StatusCode::ACCEPTED).await;
    assert_eq!(accepted.data.len(), files.len());
    for (one, (name, format)) in accepted.data.iter().zip(files) {
        let job = lore.finished(one.job_id).await;
        assert_eq!(
            (job.status, job.document_name.as_deref()),
            (JobStatus::Succeeded, Some(name)),
            "{:?}",
            job.error
        );
        check_document(&lore, one, name, format).await;
    }
    let collection: lore_types::Collection =
        read(lore.get("/v1/collections/handbook").await, StatusCode::OK).await;
    assert_eq!(collection.documents, files.len() as u64);
    let report = lore.verify("handbook", false).await;
    assert!(report.consistent, "{report:?}");
    assert_eq!(report.collections[0].chunks, collection.chunks);
}

async fn check_document(lore: &Lore, accepted: &Accepted, name: &str, format: DocumentFormat) {
    let path = format!(
        "/v1/collections/handbook/documents/{}",
        accepted.document_id
    );
    let details: DocumentDetails = read(
        lore.get(&format!("{path}?include=chunks")).await,
        StatusCode::OK,
    )
    .await;
    let document = &details.document;
    assert_eq!(
        (document.status, document.format),
        (DocumentStatus::Ready, Some(format))
    );
    assert_eq!(document.metadata["team"], "hr");
    let chunks = details.chunk_list.expect("chunks were asked for");
    assert_eq!(chunks.len(), document.chunks as usize);
    let text = lore
        .get(&format!("{path}/text"))
        .await
        .text()
        .await
        .expect("text");
    for chunk in &chunks {
        assert_eq!(
            chunk.span.of(&text),
            Some(chunk.text.as_str()),
            "chunk {} of {name}",
            chunk.ordinal
        );
        assert!(
            chunk.tokens <= 256,
            "chunk {} of {name} has {} tokens",
            chunk.ordinal,
            chunk.tokens
        );
    }
    let content = lore.get(&format!("{path}/content")).await;
    let disposition = content.headers()["content-disposition"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        disposition.starts_with(&format!("attachment; filename=\"{name}\"")),
        "{disposition}"
    );
    assert_eq!(content.bytes().await.expect("bytes"), handbook(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_are_unchanged_and_other_metadata_is_a_new_version() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let first = lore
        .ingest("docs", "a.md", "# Nitrate\n\nThe station measured nitrate.")
        .await;
    let again = lore
        .upload("docs", "a.md", "# Nitrate\n\nThe station measured nitrate.")
        .await;
    assert_eq!(
        (again.unchanged, again.job_id, again.version),
        (true, first.job_id, 1)
    );
    let body = json!({"name": "a.md", "text": "# Nitrate\n\nThe station measured nitrate.", "metadata": {"year": 2024}});
    let changed = lore.upload_json("docs", &body).await;
    assert_eq!((changed.unchanged, changed.version), (false, 2));
    lore.finished(changed.job_id).await;
    let path = format!("/v1/collections/docs/documents/{}", first.document_id);
    let document: Document = read(lore.get(&path).await, StatusCode::OK).await;
    assert_eq!(
        (document.version, &document.metadata["year"]),
        (2, &json!(2024))
    );
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_come_in_pages() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let text: String = (0..16)
        .map(|section| format!("# Section {section}\n\n{}\n\n", "Some words. ".repeat(40)))
        .collect();
    let accepted = lore.ingest("docs", "long.md", &text).await;
    let path = format!(
        "/v1/collections/docs/documents/{}/chunks",
        accepted.document_id
    );
    let mut all: Vec<Chunk> = Vec::new();
    let mut after = String::new();
    loop {
        let page: List<Chunk> = read(
            lore.get(&format!("{path}?limit=3{after}")).await,
            StatusCode::OK,
        )
        .await;
        all.extend(page.data);
        if !page.has_more {
            break;
        }
        after = format!("&after={}", page.last_id.expect("a last id"));
    }
    assert!(all.len() > 6, "{} chunks", all.len());
    assert!(
        all.iter()
            .zip(0..)
            .all(|(chunk, ordinal)| chunk.ordinal == ordinal)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_fails_with_a_reason_and_the_others_go_on() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let form = Form::new()
        .part(
            "file",
            part("broken.pdf", &b"%PDF-1.7 and then nothing"[..]),
        )
        .part(
            "file",
            part(
                "picture.png",
                &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01"[..],
            ),
        )
        .part("file", part("empty.txt", &b"   \n "[..]))
        .part("file", part("good.txt", &b"The good one can be found."[..]));
    let accepted: List<Accepted> =
        read(lore.send_form("docs", form).await, StatusCode::ACCEPTED).await;
    for one in &accepted.data {
        let job = lore.finished(one.job_id).await;
        let good = one.name == "good.txt";
        assert_eq!(
            job.status == JobStatus::Succeeded,
            good,
            "{}: {:?}",
            one.name,
            job.error
        );
        if !good {
            let error = job.error.expect("a reason");
            assert!(
                !error.message.is_empty() && error.hint.is_some(),
                "{error:?}"
            );
        }
    }
    let failed = "/v1/collections/docs/documents?status=failed";
    let failed: List<Document> = read(lore.get(failed).await, StatusCode::OK).await;
    assert_eq!(failed.data.len(), 3);
    assert!(failed.data.iter().all(|document| document.error.is_some()));
    let path = format!("/v1/collections/docs/documents/{}/text", failed.data[0].id);
    assert_eq!(lore.get(&path).await.status(), StatusCode::CONFLICT);
    let again = lore
        .upload("docs", "good.txt", "The good one can be found.")
        .await;
    assert!(again.unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_leaves_catalog_and_indexes_and_can_come_back() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.ingest("docs", "stays.md", "This one stays where it is.")
        .await;
    let accepted = lore
        .ingest("docs", "goes.md", "This one goes away soon.")
        .await;
    let path = format!("/v1/collections/docs/documents/{}", accepted.document_id);
    let deleted: lore_types::Deleted = read(lore.delete(&path).await, StatusCode::OK).await;
    assert!(deleted.deleted);
    assert_eq!(lore.get(&path).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(lore.delete(&path).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
    let files = lore.folder.path().join("files");
    let originals = lore_catalog::Originals::open(lore.folder.path().join("files"))
        .await
        .expect("originals");
    assert_eq!(
        originals.all().await.expect("listed").len(),
        1,
        "{}",
        files.display()
    );
    lore.ingest("docs", "goes.md", "This one goes away soon.")
        .await;
    assert_eq!(lore.counts("docs").await, [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_collection_leaves_everything_and_its_name_is_free() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.ingest("docs", "a.md", "One document of the collection.")
        .await;
    let waiting = lore
        .upload("docs", "b.md", "Another document of the collection.")
        .await;
    let deleted = lore.delete("/v1/collections/docs").await;
    assert_eq!(deleted.status(), StatusCode::OK);
    assert!(lore.finished(waiting.job_id).await.status.is_final());
    assert_eq!(
        lore.get("/v1/collections/docs").await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(lore.counts("docs").await, [0, 0, 0]);
    let accepted = lore.ingest("docs", "a.md", "A new beginning.").await;
    assert_eq!(accepted.version, 1);
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
}
