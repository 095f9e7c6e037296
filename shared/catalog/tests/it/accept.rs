use crate::{Fixture, collection, metadata};
use lore_catalog::{CatalogError, DocumentQuery, JobQuery};
use lore_types::{ApiError, DocumentStatus, JobStatus, Metadata};
use serde_json::json;

#[tokio::test]
async fn the_same_bytes_again_change_nothing() {
    let fixture = Fixture::new().await;
    let first = fixture.upload("a.md", "one").await;
    let waiting = fixture.upload("a.md", "one").await;
    fixture.index_next().await;
    let ready = fixture.upload("a.md", "one").await;
    for again in [&waiting, &ready] {
        assert!(again.unchanged);
        assert_eq!((again.job_id, again.version), (first.job_id, 1));
    }
    assert_eq!(
        fixture.catalog.job_counts().await.expect("counts").queued,
        0
    );
}

#[tokio::test]
async fn changed_metadata_is_a_new_version_and_its_order_is_no_change() {
    let fixture = Fixture::new().await;
    fixture
        .upload_with("a.md", "one", metadata(json!({"x": 1, "y": 2})))
        .await;
    let reordered = fixture
        .upload_with("a.md", "one", metadata(json!({"y": 2, "x": 1})))
        .await;
    assert!(reordered.unchanged);
    let changed = fixture
        .upload_with("a.md", "one", metadata(json!({"x": 1, "y": 3})))
        .await;
    assert_eq!((changed.unchanged, changed.version), (false, 2));
}

#[tokio::test]
async fn a_failed_upload_repeated_is_queued_again_under_its_job() {
    let fixture = Fixture::new().await;
    let first = fixture.upload("a.md", "one").await;
    let task = fixture.claim().await.expect("a job");
    let reason = ApiError {
        code: "no_text".to_owned(),
        message: "it holds no text".to_owned(),
        ..ApiError::default()
    };
    assert!(
        fixture
            .catalog
            .fail(&fixture.lease, task.job.id, &reason)
            .await
            .expect("failed")
    );
    let document = fixture
        .catalog
        .document("docs", first.document_id)
        .await
        .expect("the document");
    assert_eq!(
        (document.status, document.error.as_deref()),
        (DocumentStatus::Failed, Some("it holds no text"))
    );
    let again = fixture.upload("a.md", "one").await;
    assert_eq!(
        (again.unchanged, again.job_id, again.version),
        (false, first.job_id, 1)
    );
    let job = fixture.catalog.job(first.job_id).await.expect("the job");
    assert_eq!((job.status, job.error), (JobStatus::Queued, None));
    fixture.index_next().await;
    let document = fixture
        .catalog
        .document("docs", first.document_id)
        .await
        .expect("the document");
    assert_eq!(
        (document.status, document.error),
        (DocumentStatus::Ready, None)
    );
}

#[tokio::test]
async fn a_newer_upload_cancels_an_older_one_that_waits() {
    let fixture = Fixture::new().await;
    let old = fixture.upload("a.md", "one").await;
    let new = fixture.upload("a.md", "two").await;
    let job = fixture.catalog.job(old.job_id).await.expect("the old job");
    assert_eq!(job.status, JobStatus::Cancelled);
    assert_eq!(job.error.expect("a reason").code, "superseded");
    fixture.index_next().await;
    assert!(fixture.claim().await.is_none());
    assert_eq!(fixture.found(&[&old, &new]).await, ["a.md v2"]);
}

#[tokio::test]
async fn one_request_with_one_name_twice_keeps_the_last() {
    let fixture = Fixture::new().await;
    let both = [
        fixture.new_version("a.md", "one", Metadata::new()).await,
        fixture.new_version("a.md", "two", Metadata::new()).await,
    ];
    let accepted = fixture
        .catalog
        .accept("docs", &both, 100)
        .await
        .expect("accepted");
    assert_eq!(accepted[1].version, 2);
    fixture.index_next().await;
    assert_eq!(
        fixture.found(&[&accepted[0], &accepted[1]]).await,
        ["a.md v2"]
    );
}

#[tokio::test]
async fn a_full_queue_accepts_all_of_a_request_or_nothing() {
    let fixture = Fixture::new().await;
    fixture.upload("a.md", "one").await;
    let two = [
        fixture.new_version("b.md", "two", Metadata::new()).await,
        fixture.new_version("c.md", "three", Metadata::new()).await,
    ];
    let refused = fixture
        .catalog
        .accept("docs", &two, 2)
        .await
        .expect_err("a full queue");
    assert!(
        matches!(
            refused,
            CatalogError::QueueFull {
                waiting: 1,
                more: 2,
                limit: 2
            }
        ),
        "{refused}"
    );
    let documents = fixture
        .catalog
        .documents("docs", &all())
        .await
        .expect("documents");
    assert_eq!(documents.items.len(), 1);
    fixture.catalog.accept("docs", &two, 3).await.expect("room");
}

#[tokio::test]
async fn pages_join_to_the_whole_list() {
    let fixture = Fixture::new().await;
    for name in ["e", "b", "d", "a", "c"] {
        fixture.upload(name, name).await;
    }
    let mut names = Vec::new();
    let mut query = DocumentQuery {
        limit: 2,
        ..DocumentQuery::default()
    };
    loop {
        let page = fixture
            .catalog
            .documents("docs", &query)
            .await
            .expect("a page");
        query.after = page.items.last().map(|document| document.id);
        names.extend(page.items.into_iter().map(|document| document.name));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let jobs = fixture
        .catalog
        .jobs(&JobQuery {
            limit: 3,
            ..JobQuery::default()
        })
        .await
        .expect("jobs");
    let newest: Vec<_> = jobs
        .items
        .iter()
        .filter_map(|job| job.document_name.as_deref())
        .collect();
    assert_eq!((newest, jobs.has_more), (vec!["c", "a", "d"], true));
}

#[tokio::test]
async fn documents_are_filtered_by_name_and_status() {
    let fixture = Fixture::new().await;
    fixture.upload("a", "a").await;
    fixture.upload("b", "b").await;
    fixture.index_next().await;
    let ready = DocumentQuery {
        status: Some(DocumentStatus::Ready),
        ..all()
    };
    let named = DocumentQuery {
        name: Some("b".to_owned()),
        ..all()
    };
    for (query, name) in [(ready, "a"), (named, "b")] {
        let found = fixture
            .catalog
            .documents("docs", &query)
            .await
            .expect("documents")
            .items;
        assert_eq!(
            found
                .iter()
                .map(|document| document.name.as_str())
                .collect::<Vec<_>>(),
            [name]
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_by_name() {
    let fixture = Fixture::new().await;
    let exists = fixture
        .catalog
        .create_collection(&collection("docs"))
        .await
        .expect_err("a second one");
    assert!(matches!(exists, CatalogError::CollectionExists(name) if name == "docs"));
    let missing = fixture
        .catalog
        .documents("nope", &all())
        .await
        .expect_err("no collection");
    assert_eq!(missing.to_string(), "no collection `nope`");
    let upload = [fixture.new_version("a", "a", Metadata::new()).await];
    let nowhere = fixture
        .catalog
        .accept("nope", &upload, 9)
        .await
        .expect_err("no collection");
    assert!(matches!(nowhere, CatalogError::NoCollection(_)));
}

fn all() -> DocumentQuery {
    DocumentQuery {
        limit: 100,
        ..DocumentQuery::default()
    }
}
