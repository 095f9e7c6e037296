use crate::{Fixture, lease};
use lore_catalog::Catalog;
use std::collections::HashSet;
use tempfile::TempDir;

#[tokio::test]
async fn many_may_open_a_new_catalog_at_the_same_time() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("deep/catalog.db");
    let opened = (0..8).map(|_| tokio::spawn(Catalog::open(path.clone())));
    for one in opened.collect::<Vec<_>>() {
        one.await
            .expect("no panic")
            .expect("opened")
            .check()
            .await
            .expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_goes_to_one_worker() {
    let fixture = Fixture::new().await;
    for number in 0..40 {
        fixture.upload(&format!("{number}"), "x").await;
    }
    // Two catalogs stand for two processes.
    let other = Catalog::open(fixture.folder.path().join("catalog.db"))
        .await
        .expect("opened again");
    let workers = (0..6).map(|worker| {
        let catalog = if worker % 2 == 0 {
            fixture.catalog.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(task) = catalog
                .claim(&lease(&format!("w{worker}")))
                .await
                .expect("claimed")
            {
                claimed.push(task.job.id);
            }
            claimed
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.expect("no panic"));
    }
    assert_eq!(all.len(), 40);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_always_sees_exactly_one_version() {
    let fixture = Fixture::new().await;
    let mut versions = vec![fixture.upload("a", "0").await];
    fixture.index_next().await;
    for round in 1..30 {
        versions.push(fixture.upload("a", &round.to_string()).await);
    }
    // Only the newest of those is not cancelled: replace it again and again while another connection reads.
    let reader = Catalog::open(fixture.folder.path().join("catalog.db"))
        .await
        .expect("opened again");
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = std::sync::Arc::clone(&done);
    let document = versions[0].document_id;
    let reading = tokio::spawn(async move {
        let mut reads = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) || reads == 0 {
            let ids: Vec<_> = (1..=60)
                .map(|number| {
                    lore_types::ChunkId::derive(lore_types::VersionId::derive(document, number), 0)
                })
                .collect();
            let hydrated = reader.passages("docs", &ids).await.expect("passages");
            assert_eq!(
                hydrated.passages.len(),
                1,
                "exactly one version at any moment"
            );
            reads += 1;
        }
    });
    for round in 30..50 {
        fixture.index_next().await;
        fixture.remove_all().await;
        fixture.upload("a", &round.to_string()).await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    reading.await.expect("one version at any moment");
}
