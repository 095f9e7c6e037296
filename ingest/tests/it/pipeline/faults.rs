use super::lore::{Lore, eventually, settings};
use lore_ingest::{IngestError, IngestParts, IngestService, IngestSettings};
use lore_types::{Accepted, JobStage, JobStatus};
use std::time::Duration;

const DOCUMENTS: usize = 24;

fn text(number: usize) -> String {
    format!(
        "# Report {number}\n\n{}",
        format!("Station {number} replaced its filter. ").repeat(1 + number % 7)
    )
}

async fn upload_all(lore: &Lore) -> Vec<Accepted> {
    let mut all = Vec::with_capacity(DOCUMENTS);
    for number in 0..DOCUMENTS {
        all.push(
            lore.upload("reports", &format!("report-{number}.md"), &text(number))
                .await,
        );
    }
    all
}

async fn check_all(lore: &Lore, all: &[Accepted]) {
    for one in all {
        let job = lore.finished(one.job_id).await;
        assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
    }
    let report = lore.verify("reports", false).await;
    assert!(report.consistent, "{report:?}");
    let [catalog, dense, lexical] = lore.counts("reports").await;
    assert_eq!((catalog, catalog), (dense, lexical));
    assert!(catalog >= all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_crashes_every_accepted_document_is_finished_once() {
    let Some(mut lore) = Lore::start().await else {
        return;
    };
    let all = upload_all(&lore).await;
    for crash in 1..=4 {
        let enough = crash * DOCUMENTS / 8;
        eventually("some documents are done", async || {
            let done = lore
                .catalog
                .collection("reports")
                .await
                .expect("the collection")
                .documents;
            (done as usize >= enough).then_some(())
        })
        .await;
        lore = lore.crash_and_start().await;
    }
    check_all(&lore, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_a_new_version_is_written_leaves_one_version() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.ingest("docs", "a.md", "The first edition of this text.")
        .await;
    lore.dense.close();
    let second = lore
        .upload("docs", "a.md", "The second edition of this text.")
        .await;
    lore.until_it_waits(second.job_id).await;
    let lore = lore.crash_and_start().await;
    let job = lore.finished(second.job_id).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Succeeded, 2));
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_hands_unfinished_work_back() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let all = upload_all(&lore).await;
    let lore = lore.stop_and_start(Duration::ZERO).await;
    check_all(&lore, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_reached_delays_a_job_and_says_so() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.dense.fail(2);
    let accepted = lore
        .upload("docs", "a.md", "It takes a little longer today.")
        .await;
    let warned = eventually("the job says what it waits for", async || {
        let job = lore.job(accepted.job_id).await;
        (!job.warnings.is_empty() || job.status.is_final()).then_some(job)
    })
    .await;
    assert_eq!(warned.stage, JobStage::Indexing);
    assert!(
        warned.warnings[0].contains("http://qdrant:6334"),
        "{:?}",
        warned.warnings
    );
    let job = lore.finished(accepted.job_id).await;
    assert_eq!((job.status, job.warnings.len()), (JobStatus::Succeeded, 0));
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_deleted_while_it_is_written_is_gone_afterwards() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.dense.close();
    let accepted = lore.upload("docs", "a.md", "Soon regretted.").await;
    lore.until_it_waits(accepted.job_id).await;
    let url = format!("/v1/collections/docs/documents/{}", accepted.document_id);
    let (answer, ()) = tokio::join!(lore.delete(&url), async {
        eventually("the job is cancelled", async || {
            (lore.job(accepted.job_id).await.status == JobStatus::Cancelled).then_some(())
        })
        .await;
        lore.dense.open();
    });
    assert_eq!(answer.status(), reqwest::StatusCode::OK);
    assert_eq!(lore.counts("docs").await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_folder_is_refused() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let other = Lore::start_in(std::sync::Arc::new(folder), settings())
        .await
        .expect("models are there");
    let parts = IngestParts {
        data_dir: lore.folder.path().to_owned(),
        ..other.parts()
    };
    let refused = IngestService::start(parts)
        .await
        .err()
        .expect("the folder is taken");
    assert!(matches!(refused, IngestError::Locked { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_with_429_and_keeps_nothing() {
    let Some(lore) = Lore::start_with(IngestSettings {
        max_queue: 2,
        ..settings()
    })
    .await
    else {
        return;
    };
    let mut form = reqwest::multipart::Form::new();
    for number in 0..3 {
        form = form.part(
            "file",
            super::lore::part(&format!("{number}.txt"), text(number)),
        );
    }
    let answer = lore.send_form("docs", form).await;
    assert!(answer.headers().contains_key("retry-after"));
    let error = super::lore::refused(answer, reqwest::StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(error.code, "queue_full");
    assert_eq!(
        lore.catalog
            .collection("docs")
            .await
            .expect("made")
            .documents,
        0
    );
    lore.ingest("docs", "0.txt", &text(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_document_is_indexed_ends_its_job_and_not_the_indexer() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.dense.panic(1);
    let unlucky = lore.upload("docs", "a.md", "Nobody is to blame.").await;
    let job = lore.finished(unlucky.job_id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.error.expect("a reason").code, "internal");
    lore.ingest("docs", "b.md", "The next one goes in.").await;
    // The same bytes again are tried again, and leave nothing behind but themselves.
    lore.ingest("docs", "a.md", "Nobody is to blame.").await;
    assert_eq!(lore.counts("docs").await, [2, 2, 2]);
    assert!(lore.verify("docs", false).await.consistent);
}
