use crate::{Fixture, collection, parsed};
use lore_catalog::{CatalogError, VersionState};
use lore_types::{DocumentStatus, JobStatus};

#[tokio::test]
async fn a_new_version_replaces_the_old_in_one_step() {
    let fixture = Fixture::new().await;
    let old = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    let new = fixture.upload("a.md", "two").await;
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v1"]);
    let (_, activation) = fixture.prepare().await;
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v1"]);
    fixture
        .catalog
        .activate(&fixture.lease, &[activation])
        .await
        .expect("flipped");
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v2"]);
    let removals = fixture.catalog.removals(10).await.expect("removals");
    assert_eq!(removals.len(), 1);
    assert!(removals[0].touched);
    fixture.remove_all().await;
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v2"]);
    let live = fixture
        .catalog
        .live_chunks("docs")
        .await
        .expect("live chunks");
    assert_eq!(live.len(), 1);
}

#[tokio::test]
async fn a_deleted_document_is_gone_at_once_and_then_entirely() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    fixture
        .catalog
        .delete_document("docs", accepted.document_id)
        .await
        .expect("deleted");
    assert!(fixture.found(&[&accepted]).await.is_empty());
    let gone = fixture
        .catalog
        .document("docs", accepted.document_id)
        .await
        .expect_err("deleted");
    assert!(matches!(gone, CatalogError::NoDocument { .. }));
    let twice = fixture
        .catalog
        .delete_document("docs", accepted.document_id)
        .await
        .expect_err("deleted");
    assert!(matches!(twice, CatalogError::NoDocument { .. }));
    let hashes: Vec<_> = fixture
        .catalog
        .removals(9)
        .await
        .expect("removals")
        .into_iter()
        .map(|one| one.content_hash)
        .collect();
    fixture.remove_all().await;
    assert!(
        fixture
            .catalog
            .version_states("docs")
            .await
            .expect("states")
            .is_empty()
    );
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, &hashes)
            .await
            .expect("collected"),
        1
    );
    assert!(fixture.originals.all().await.expect("originals").is_empty());
}

#[tokio::test]
async fn a_delete_stops_a_running_job() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    let (task, activation) = fixture.prepare().await;
    fixture
        .catalog
        .delete_document("docs", accepted.document_id)
        .await
        .expect("deleted");
    assert!(
        fixture
            .catalog
            .activate(&fixture.lease, &[activation])
            .await
            .expect("asked")
            .is_empty()
    );
    assert!(
        fixture
            .catalog
            .finish(&fixture.lease, &[(task.job.id, &[])])
            .await
            .expect("asked")
            .is_empty()
    );
    let (text, chunks) = parsed(&task);
    let (job, version) = (task.job.id, task.version.id);
    assert!(
        !fixture
            .catalog
            .store_parsed(&fixture.lease, job, version, &text, &chunks)
            .await
            .expect("asked")
    );
    assert_eq!(
        fixture.catalog.job(job).await.expect("the job").status,
        JobStatus::Cancelled
    );
}

#[tokio::test]
async fn an_upload_after_a_delete_never_takes_an_id_that_still_has_to_leave_the_indexes() {
    let fixture = Fixture::new().await;
    let old = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    fixture
        .catalog
        .delete_document("docs", old.document_id)
        .await
        .expect("deleted");
    let new = fixture.upload("a.md", "one").await;
    assert_eq!(
        (new.unchanged, new.version, new.document_id),
        (false, 2, old.document_id)
    );
    fixture.index_next().await;
    fixture.remove_all().await;
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v2"]);
}

#[tokio::test]
async fn a_failed_version_leaves_the_active_one_in_place() {
    let fixture = Fixture::new().await;
    let old = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    let new = fixture.upload("a.md", "two").await;
    let (task, _) = fixture.prepare().await;
    let reason = lore_types::ApiError {
        code: "x".into(),
        message: "broken".into(),
        ..Default::default()
    };
    fixture
        .catalog
        .fail(&fixture.lease, task.job.id, &reason)
        .await
        .expect("failed");
    let document = fixture
        .catalog
        .document("docs", old.document_id)
        .await
        .expect("the document");
    assert_eq!(
        (document.status, document.version, document.error.as_deref()),
        (DocumentStatus::Ready, 1, Some("broken"))
    );
    assert_eq!(
        fixture.catalog.removals(9).await.expect("removals").len(),
        1,
        "its traces have to go"
    );
    fixture.remove_all().await;
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v1"]);
    let states = fixture
        .catalog
        .version_states("docs")
        .await
        .expect("states");
    assert_eq!(states[&task.version.id], VersionState::Failed);
}

#[tokio::test]
async fn a_deleted_collection_keeps_its_name_until_it_has_left_the_indexes() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    let waiting = fixture.upload("b.md", "two").await;
    fixture
        .catalog
        .delete_collection("docs")
        .await
        .expect("deleted");
    assert!(fixture.found(&[&accepted]).await.is_empty());
    assert_eq!(
        fixture
            .catalog
            .job(waiting.job_id)
            .await
            .expect("a job")
            .status,
        JobStatus::Cancelled
    );
    let again = fixture
        .catalog
        .create_collection(&collection("docs"))
        .await
        .expect_err("still leaving");
    assert!(matches!(again, CatalogError::CollectionRemoving(_)));
    assert_eq!(
        fixture.catalog.doomed_collections().await.expect("doomed"),
        ["docs"]
    );
    let originals = fixture
        .catalog
        .purge_collection("docs")
        .await
        .expect("purged");
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, &originals)
            .await
            .expect("collected"),
        2
    );
    fixture
        .catalog
        .create_collection(&collection("docs"))
        .await
        .expect("a new one");
    let fresh = fixture.upload("a.md", "one").await;
    assert_eq!((fresh.version, fresh.unchanged), (1, false));
}

#[tokio::test]
async fn an_active_version_can_be_indexed_again() {
    let fixture = Fixture::new().await;
    let accepted = fixture.upload("a.md", "one").await;
    let version = fixture.index_next().await.version.id;
    let job = fixture
        .catalog
        .index_again(version)
        .await
        .expect("queued")
        .expect("an active version");
    assert_eq!(
        fixture.catalog.index_again(version).await.expect("queued"),
        Some(job)
    );
    let task = fixture.index_next().await;
    assert_eq!((task.job.id, task.version.parsed), (job, true));
    assert_eq!(fixture.found(&[&accepted]).await, ["a.md v1"]);
}

#[tokio::test]
async fn a_repair_ends_when_its_version_is_replaced() {
    let fixture = Fixture::new().await;
    let old = fixture.upload("a.md", "one").await;
    let version = fixture.index_next().await.version.id;
    let new = fixture.upload("a.md", "two").await;
    let repair = fixture
        .catalog
        .index_again(version)
        .await
        .expect("queued")
        .expect("an active version");
    let (_, newer) = fixture.prepare().await;
    let (_, older) = fixture.prepare().await;
    let active = fixture
        .catalog
        .activate(&fixture.lease, &[newer, older])
        .await
        .expect("flipped");
    assert_eq!(active, [newer]);
    assert_eq!(
        fixture
            .catalog
            .job(repair)
            .await
            .expect("the repair")
            .status,
        JobStatus::Cancelled
    );
    fixture.remove_all().await;
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v2"]);
    assert!(fixture.claim().await.is_none());
}

#[tokio::test]
async fn a_collection_counts_what_can_be_found() {
    let fixture = Fixture::new().await;
    fixture.upload("a.md", "one").await;
    fixture.upload("b.md", "two").await;
    fixture.index_next().await;
    let docs = fixture
        .catalog
        .collection("docs")
        .await
        .expect("the collection");
    assert_eq!((docs.documents, docs.chunks, docs.dimensions), (1, 1, 384));
}
