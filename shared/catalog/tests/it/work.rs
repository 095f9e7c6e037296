use crate::{Fixture, lease};
use lore_catalog::Lease;
use lore_types::{JobStage, JobStatus};
use std::time::Duration;

#[tokio::test]
async fn a_dead_workers_jobs_are_taken_over_at_once_by_one_who_is_alone() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    fixture.claim().await.expect("a job");
    let successor = lease("worker-2");
    let patient = fixture
        .catalog
        .take_over(&successor, false, 3)
        .await
        .expect("looked");
    assert!(patient.queued.is_empty(), "the lease still runs");
    let taken = fixture
        .catalog
        .take_over(&successor, true, 3)
        .await
        .expect("taken");
    assert_eq!(taken.queued, [accepted.job_id]);
    let late = fixture
        .catalog
        .advance(&fixture.lease, accepted.job_id, JobStage::Parsing, 0.5)
        .await
        .expect("asked");
    assert!(!late, "the dead worker's word no longer counts");
    let task = fixture
        .catalog
        .claim(&successor)
        .await
        .expect("claimed")
        .expect("the job");
    assert_eq!((task.job.id, task.job.attempts), (accepted.job_id, 2));
}

#[tokio::test]
async fn a_lease_that_passed_can_be_taken_by_anyone() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    let short = Lease {
        owner: "worker-0".to_owned(),
        length: Duration::ZERO,
    };
    fixture
        .catalog
        .claim(&short)
        .await
        .expect("claimed")
        .expect("the job");
    let taken = fixture
        .catalog
        .take_over(&fixture.lease, false, 3)
        .await
        .expect("taken");
    assert_eq!(taken.queued, [accepted.job_id]);
}

#[tokio::test]
async fn a_job_that_kills_its_process_is_given_up_and_never_holds_up_the_others() {
    let fixture = Fixture::new().await;
    let poison = fixture.upload("poison", "p").await;
    let good = fixture.upload("good", "g").await;
    for crash in 1..=3 {
        let owner = lease(&format!("life-{crash}"));
        let task = fixture
            .catalog
            .claim(&owner)
            .await
            .expect("claimed")
            .expect("a job");
        let expected = if crash == 2 {
            good.job_id
        } else {
            poison.job_id
        };
        assert_eq!(task.job.id, expected, "after a crash the others come first");
        let stage = if crash == 2 {
            JobStage::Parsing
        } else {
            JobStage::Embedding
        };
        fixture
            .catalog
            .advance(&owner, task.job.id, stage, 0.5)
            .await
            .expect("advanced");
        let next = lease("next");
        let taken = fixture
            .catalog
            .take_over(&next, true, 2)
            .await
            .expect("taken");
        assert_eq!(taken.failed.is_empty(), crash < 3);
        if crash == 2 {
            fixture
                .catalog
                .claim(&fixture.lease)
                .await
                .expect("claimed")
                .expect("good again");
            fixture
                .catalog
                .finish(&fixture.lease, &[(good.job_id, &[])])
                .await
                .expect("finished");
        }
    }
    let job = fixture.catalog.job(poison.job_id).await.expect("the job");
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.error.expect("a reason").code, "crashed_repeatedly");
}

#[tokio::test]
async fn jobs_handed_back_wait_again_without_a_mark() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    fixture.claim().await.expect("a job");
    fixture
        .catalog
        .advance(&fixture.lease, accepted.job_id, JobStage::Embedding, 0.4)
        .await
        .expect("advanced");
    assert_eq!(
        fixture
            .catalog
            .hand_back(&fixture.lease)
            .await
            .expect("handed back"),
        1
    );
    let job = fixture.catalog.job(accepted.job_id).await.expect("the job");
    assert_eq!(
        (job.status, job.stage, job.progress),
        (JobStatus::Queued, JobStage::Queued, 0.0)
    );
}

#[tokio::test]
async fn stage_progress_and_warnings_can_be_read() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    fixture.claim().await.expect("a job");
    fixture
        .catalog
        .advance(&fixture.lease, accepted.job_id, JobStage::Embedding, 0.5)
        .await
        .expect("advanced");
    fixture
        .catalog
        .warn(
            &fixture.lease,
            accepted.job_id,
            &["page 3 holds no text".to_owned()],
        )
        .await
        .expect("warned");
    let job = fixture.catalog.job(accepted.job_id).await.expect("the job");
    assert_eq!(
        (job.status, job.stage, job.progress),
        (JobStatus::Running, JobStage::Embedding, 0.5)
    );
    assert_eq!(job.warnings, ["page 3 holds no text"]);
}

#[tokio::test]
async fn a_claimed_job_knows_what_it_is_about() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    let task = fixture.claim().await.expect("a job");
    assert_eq!(
        (
            task.version.number,
            task.version.dimensions,
            task.version.parsed
        ),
        (1, 384, false)
    );
    assert_eq!(task.version.embedder, "all-minilm-l6-v2");
    assert_eq!(task.version.document_id, accepted.document_id);
    let original = fixture.originals.path(&task.version.content_hash);
    assert_eq!(std::fs::read(original).expect("the original"), b"one");
}

#[tokio::test]
async fn finished_jobs_are_forgotten_but_for_those_of_versions_that_are_there() {
    let fixture = Fixture::new().await;
    let replaced = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    let present = fixture.upload("a.md", "two").await;
    fixture.index_next().await;
    let failed = fixture.upload("b.md", "three").await;
    let task = fixture.claim().await.expect("the job");
    let error = lore_types::ApiError::default();
    let failing = fixture.catalog.fail(&fixture.lease, task.job.id, &error);
    assert!(failing.await.expect("failed"));
    let waiting = fixture.upload("c.md", "four").await;
    fixture.remove_all().await;

    let long = Duration::from_secs(3_600);
    assert_eq!(fixture.catalog.forget_jobs(long).await.expect("looked"), 0);
    let none = Duration::ZERO;
    assert_eq!(fixture.catalog.forget_jobs(none).await.expect("forgot"), 1);
    let gone = fixture.catalog.job(replaced.job_id).await;
    assert!(
        matches!(gone, Err(lore_catalog::CatalogError::NoJob(_))),
        "{gone:?}"
    );
    for kept in [&present, &failed, &waiting] {
        fixture.catalog.job(kept.job_id).await.expect("kept");
    }
    // What is answered with a job is one that can be asked for, and what failed can be tried again.
    let again = fixture.upload("a.md", "two").await;
    assert_eq!((again.unchanged, again.job_id), (true, present.job_id));
    let retried = fixture.upload("b.md", "three").await;
    assert_eq!((retried.unchanged, retried.job_id), (false, failed.job_id));
    let job = fixture.catalog.job(failed.job_id).await.expect("the job");
    assert_eq!(job.status, JobStatus::Queued);
}
