use super::lore::{Lore, MODEL};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const REPLACEMENTS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn during_a_replacement_a_search_finds_exactly_one_version() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let text = |round: u32| format!("The quarterly nitrate report, edition {round}.");
    lore.ingest(
        "docs",
        "other.md",
        "Something entirely different about holidays.",
    )
    .await;
    lore.ingest("docs", "report.md", &text(0)).await;
    let vector = query_vector(&lore).await;
    let lore = Arc::new(lore);
    let done = Arc::new(AtomicBool::new(false));
    let searching = tokio::spawn(search_until(lore.clone(), done.clone(), vector));
    for round in 1..=REPLACEMENTS {
        lore.ingest("docs", "report.md", &text(round)).await;
    }
    done.store(true, Ordering::Relaxed);
    let (searches, last) = searching.await.expect("one version at any moment");
    assert!(searches > REPLACEMENTS as usize, "only {searches} searches");
    assert_eq!(last, REPLACEMENTS + 1);
    assert_eq!(lore.counts("docs").await, [2, 2, 2]);
}

async fn search_until(lore: Arc<Lore>, done: Arc<AtomicBool>, vector: Vec<f32>) -> (usize, u32) {
    let (mut searches, mut last) = (0, 0);
    loop {
        let over = done.load(Ordering::Relaxed);
        let found = lore
            .search("docs", "quarterly nitrate report", &vector)
            .await;
        let versions: Vec<_> = found
            .iter()
            .filter(|passage| passage.document_name == "report.md")
            .map(|passage| passage.version)
            .collect();
        assert_eq!(
            versions.len(),
            1,
            "search {searches} found versions {versions:?}"
        );
        assert!(
            versions[0] >= last,
            "version {} came back after {last}",
            versions[0]
        );
        (searches, last) = (searches + 1, versions[0]);
        if over {
            return (searches, last);
        }
    }
}

/// The vector of what the searches ask for.
async fn query_vector(lore: &Lore) -> Vec<f32> {
    lore.embedder(MODEL)
        .await
        .embed_query("quarterly nitrate report".to_owned())
        .await
        .expect("a vector")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uploads_of_one_name_the_last_one_stays() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let mut last = None;
    for round in 0..10 {
        last = Some(
            lore.upload(
                "docs",
                "report.md",
                &format!("Edition {round} of the report."),
            )
            .await,
        );
    }
    let last = last.expect("uploads");
    lore.finished(last.job_id).await;
    let jobs = lore
        .catalog
        .jobs(&lore_catalog::JobQuery {
            limit: 100,
            ..Default::default()
        })
        .await
        .expect("jobs");
    for job in jobs.items {
        assert!(lore.finished(job.id).await.status.is_final());
    }
    let report = lore.verify("docs", false).await;
    assert!(report.consistent, "{report:?}");
    assert_eq!(lore.counts("docs").await, [1, 1, 1]);
    let text = lore
        .get(&format!(
            "/v1/collections/docs/documents/{}/text",
            last.document_id
        ))
        .await;
    assert_eq!(text.text().await.expect("text"), "Edition 9 of the report.");
}
