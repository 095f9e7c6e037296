//! Files, fine-tuning jobs and adapters.

use crate::{Fixture, lease};
use lore_catalog::{Catalog, CatalogError, FineTuningQuery, NewAdapterVersion};
use lore_types::{
    AdapterKind, AdapterMetrics, AdapterVersion, AutoOr, AutoWord, BadLinePolicy, FilePurpose,
    FineTuningHyperparameters, FineTuningId, FineTuningJob, FineTuningMethod, FineTuningStatus,
    LoreTuning, Progress, Provenance, TrainingSettings,
};
use serde_json::Map;
use time::OffsetDateTime;

async fn job(fixture: &Fixture, name: &str) -> FineTuningJob {
    let original = fixture.originals.keep(b"{}").await.expect("kept bytes");
    let file = fixture
        .catalog
        .add_file("a.jsonl", FilePurpose::FineTune, &original)
        .await
        .expect("a file");
    let auto = AutoOr::Auto(AutoWord::Auto);
    let job = FineTuningJob {
        id: FineTuningId::new(),
        object: "fine_tuning.job".to_owned(),
        model: "base".to_owned(),
        fine_tuned_model: None,
        status: FineTuningStatus::Queued,
        created_at: 0,
        finished_at: None,
        estimated_finish: None,
        training_file: file.file.id,
        validation_file: None,
        result_files: Vec::new(),
        trained_tokens: None,
        error: None,
        seed: 1,
        method: FineTuningMethod::default(),
        hyperparameters: FineTuningHyperparameters {
            n_epochs: auto,
            batch_size: auto,
            learning_rate_multiplier: auto,
        },
        metadata: None,
        organization_id: String::new(),
        integrations: Vec::new(),
        lore: LoreTuning {
            name: name.to_owned(),
            version: None,
            continue_from: None,
            on_bad_line: BadLinePolicy::Refuse,
            settings: TrainingSettings::default(),
            datasets: Vec::new(),
            estimate: None,
            progress: None,
            attempts: 0,
        },
    };
    fixture
        .catalog
        .add_fine_tuning_job(&job, 10)
        .await
        .expect("a job")
}

fn version(adapter: &str, number: u32) -> NewAdapterVersion {
    NewAdapterVersion {
        version: AdapterVersion {
            adapter: adapter.to_owned(),
            version: number,
            kind: AdapterKind::Lora,
            base: "base".to_owned(),
            base_fingerprint: String::new(),
            path: format!("adapters/{adapter}/{number}"),
            sha256: String::new(),
            bytes: 0,
            job: None,
            parent: None,
            stale: false,
            metrics: AdapterMetrics::default(),
            provenance: Provenance::default(),
            parity: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
        },
    }
}

async fn with_versions(catalog: &Catalog, name: &str, count: u32) {
    for _ in 0..count {
        let number = catalog.next_adapter_version(name).await.expect("a number");
        catalog
            .register_adapter(&version(name, number))
            .await
            .expect("a version");
    }
}

#[tokio::test]
async fn a_job_goes_from_one_worker_to_the_next_until_it_crashed_too_often() {
    let fixture = Fixture::new().await;
    let (catalog, id) = (&fixture.catalog, job(&fixture, "a").await.id);
    let status = async || catalog.fine_tuning_job(id).await.expect("a job").status;
    for attempt in 1..=2 {
        let claimed = catalog
            .claim_fine_tuning(&lease("dead"))
            .await
            .expect("a claim")
            .expect("a job");
        assert_eq!((claimed.id, claimed.lore.attempts), (id, attempt));
        assert!(
            catalog
                .claim_fine_tuning(&lease("other"))
                .await
                .expect("a claim")
                .is_none()
        );
        assert!(
            catalog
                .take_over_fine_tuning(&lease("next"), 3)
                .await
                .expect("taken over")
                .is_empty()
        );
        assert_eq!(status().await, FineTuningStatus::Queued);
    }
    // A checkpoint shows that the job gets on.
    catalog
        .add_checkpoint(id, 5, false, &Map::new(), &[])
        .await
        .expect("a checkpoint");
    for _ in 0..2 {
        catalog
            .claim_fine_tuning(&lease("dead"))
            .await
            .expect("a claim")
            .expect("a job");
        assert!(
            catalog
                .take_over_fine_tuning(&lease("next"), 3)
                .await
                .expect("taken over")
                .is_empty()
        );
    }
    catalog
        .claim_fine_tuning(&lease("dead"))
        .await
        .expect("a claim")
        .expect("a job");
    assert_eq!(
        catalog
            .take_over_fine_tuning(&lease("next"), 3)
            .await
            .expect("taken over"),
        [id]
    );
    let failed = catalog.fine_tuning_job(id).await.expect("a job");
    assert_eq!(failed.status, FineTuningStatus::Failed);
    assert_eq!(
        failed.error.map(|error| error.code).as_deref(),
        Some("crashed_repeatedly")
    );
    assert_eq!(
        catalog.resume_fine_tuning(id).await.expect("resumed").error,
        None
    );
}

#[tokio::test]
async fn a_worker_whose_job_was_taken_away_changes_nothing_any_more() {
    let fixture = Fixture::new().await;
    let (catalog, id) = (&fixture.catalog, job(&fixture, "a").await.id);
    let own = lease("own");
    catalog
        .claim_fine_tuning(&own)
        .await
        .expect("a claim")
        .expect("a job");
    let progress = Progress {
        step: 3,
        tokens: 30,
        seconds_left: Some(5.0),
        ..Progress::default()
    };
    assert!(
        catalog
            .note_progress(&own, id, &progress)
            .await
            .expect("noted")
    );
    let running = catalog.fine_tuning_job(id).await.expect("a job");
    assert_eq!(
        (running.trained_tokens, running.estimated_finish.is_some()),
        (Some(30), true)
    );
    catalog.pause_fine_tuning(id).await.expect("paused");
    assert!(
        !catalog
            .note_progress(&own, id, &Progress::default())
            .await
            .expect("noted")
    );
    let error = lore_types::FineTuningError {
        code: "x".to_owned(),
        message: String::new(),
        param: None,
    };
    assert!(
        !catalog
            .fail_fine_tuning(&own, id, &error)
            .await
            .expect("failed")
    );
    assert_eq!(
        catalog
            .hand_back_fine_tuning(&own)
            .await
            .expect("handed back"),
        0
    );
    let paused = catalog.fine_tuning_job(id).await.expect("a job");
    assert_eq!(
        (paused.status, paused.lore.progress),
        (FineTuningStatus::Paused, Some(progress))
    );
    let again = catalog
        .pause_fine_tuning(id)
        .await
        .expect_err("it is paused");
    assert!(matches!(
        again,
        CatalogError::WrongStatus {
            status: FineTuningStatus::Paused,
            ..
        }
    ));
    let query = FineTuningQuery {
        status: Some(FineTuningStatus::Paused),
        limit: 5,
        ..FineTuningQuery::default()
    };
    assert_eq!(
        catalog
            .fine_tuning_jobs(&query)
            .await
            .expect("jobs")
            .items
            .len(),
        1
    );
}

#[tokio::test]
async fn a_file_and_its_bytes_stay_while_a_job_needs_them() {
    let fixture = Fixture::new().await;
    let job = job(&fixture, "a").await;
    let file = fixture
        .catalog
        .file(job.training_file)
        .await
        .expect("a file");
    let refused = fixture
        .catalog
        .delete_file(file.file.id)
        .await
        .expect_err("it is needed");
    assert!(matches!(refused, CatalogError::FileInUse { job: by, .. } if by == job.id));
    let hashes = std::slice::from_ref(&file.hash);
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, hashes)
            .await
            .expect("collected"),
        0
    );
    fixture
        .catalog
        .cancel_fine_tuning(job.id)
        .await
        .expect("cancelled");
    fixture
        .catalog
        .delete_file(file.file.id)
        .await
        .expect("deleted");
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, hashes)
            .await
            .expect("collected"),
        1
    );
}

#[tokio::test]
async fn rollbacks_undo_promotions_in_order() {
    let fixture = Fixture::new().await;
    let catalog = &fixture.catalog;
    with_versions(catalog, "a", 3).await;
    let back = async || {
        let earlier = catalog.earlier_promotion("a").await.ok()?;
        let adapter = catalog
            .promote_adapter("a", earlier, true)
            .await
            .expect("promoted");
        adapter.promoted
    };
    assert_eq!(back().await, None, "nothing was promoted");
    for number in [1, 2, 1, 3] {
        catalog
            .promote_adapter("a", number, false)
            .await
            .expect("promoted");
    }
    assert_eq!(back().await, Some(1), "3 is undone");
    assert_eq!(back().await, Some(2), "the second promotion of 1 is undone");
    catalog
        .promote_adapter("a", 3, false)
        .await
        .expect("promoted");
    assert_eq!(back().await, Some(2));
    assert_eq!(back().await, Some(1));
    assert_eq!(back().await, None, "1 was the first");
    let adapter = catalog.adapter("a").await.expect("an adapter");
    assert_eq!((adapter.promoted, adapter.promotions.len()), (Some(1), 9));
}

#[tokio::test]
async fn a_number_is_taken_once_and_a_needed_version_is_not_deleted() {
    let fixture = Fixture::new().await;
    let catalog = &fixture.catalog;
    with_versions(catalog, "a", 2).await;
    let taken = catalog
        .register_adapter(&version("a", 2))
        .await
        .expect_err("it is there");
    assert!(matches!(
        taken,
        CatalogError::VersionTaken { number: 2, .. }
    ));
    catalog
        .promote_adapter("a", 2, false)
        .await
        .expect("promoted");
    assert!(matches!(
        catalog.delete_adapter("a", Some(2)).await,
        Err(CatalogError::AdapterInUse { .. })
    ));
    catalog
        .set_default_adapter("docs", Some("a"))
        .await
        .expect("set");
    assert!(matches!(
        catalog.delete_adapter("a", None).await,
        Err(CatalogError::AdapterInUse { .. })
    ));
    assert!(matches!(
        catalog.set_default_adapter("docs", Some("b")).await,
        Err(CatalogError::NoAdapter(_))
    ));
    let collection = catalog
        .set_default_adapter("docs", None)
        .await
        .expect("set");
    assert_eq!(collection.default_adapter, None);
    assert_eq!(
        catalog
            .delete_adapter("a", None)
            .await
            .expect("deleted")
            .len(),
        2
    );
    assert!(catalog.adapters().await.expect("adapters").is_empty());
    assert_eq!(
        catalog.next_adapter_version("a").await.expect("a number"),
        3
    );
}
