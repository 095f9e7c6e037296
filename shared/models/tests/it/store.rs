use std::sync::Arc;

use lore_models::{
    ModelError, Presence, PullEvent, Role, SourceError, Store, StoreSettings, silent,
};

use crate::support::{catalogue, listening, local, store, tree};

const CONTENT: &[u8] = b"GGUF and what follows";

#[tokio::test]
async fn a_pulled_model_is_found_by_its_role() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, CONTENT).unwrap();
    let store = store(
        &dir.path().join("models"),
        catalogue(CONTENT, &local(&origin)),
    );
    assert_eq!(store.list()[0].presence, Presence::Absent);
    let pulled = store.pull("m", &silent()).await.unwrap();
    assert_eq!(
        std::fs::read(pulled.file(Role::Gguf).unwrap()).unwrap(),
        CONTENT
    );
    assert_eq!(store.path("m").unwrap(), pulled);
    assert_eq!(store.list()[0].presence, Presence::Whole);
    assert_eq!(tree(store.dir()), ["m/model.gguf"]);
}

#[tokio::test]
async fn a_wrong_hash_is_refused_with_both_hashes_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    let mut bent = CONTENT.to_vec();
    bent[7] ^= 1;
    std::fs::write(&origin, &bent).unwrap();
    let store = store(
        &dir.path().join("models"),
        catalogue(CONTENT, &local(&origin)),
    );
    let error = store.pull("m", &silent()).await.unwrap_err();
    let text = error.to_string();
    let (expected, actual) = (
        crate::support::sha256(CONTENT),
        crate::support::sha256(&bent),
    );
    assert!(
        text.contains(&expected) && text.contains(&actual) && text.contains("origin"),
        "{text}"
    );
    assert!(tree(store.dir()).is_empty());
    assert!(matches!(store.path("m"), Err(ModelError::NotPulled { .. })));
}

#[tokio::test]
async fn a_wrong_length_is_refused_with_both_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, b"GGUF").unwrap();
    let store = store(
        &dir.path().join("models"),
        catalogue(CONTENT, &local(&origin)),
    );
    let ModelError::Pull { attempts, .. } = store.pull("m", &silent()).await.unwrap_err() else {
        panic!("other error")
    };
    assert!(
        matches!(
            attempts[0].error,
            SourceError::WrongSize {
                expected: 21,
                actual: 4
            }
        ),
        "{attempts:?}"
    );
}

#[tokio::test]
async fn sources_are_tried_in_order_and_each_failure_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, CONTENT).unwrap();
    let absent = dir.path().join("absent");
    let sources = format!("{}, {}", local(&absent), local(&origin));
    let store = store(&dir.path().join("models"), catalogue(CONTENT, &sources));
    let (progress, heard) = listening();
    store.pull("m", &progress).await.unwrap();
    let heard = heard.lock().unwrap();
    let failed = heard.iter().position(
        |event| matches!(event, PullEvent::Failed { source, .. } if source.contains("absent")),
    );
    let finished = heard
        .iter()
        .position(|event| matches!(event, PullEvent::Finished { bytes: 21, .. }));
    assert!(failed.unwrap() < finished.unwrap(), "{heard:?}");
}

#[tokio::test]
async fn with_every_file_here_no_source_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    std::fs::create_dir_all(models.join("m")).unwrap();
    std::fs::write(models.join("m/model.gguf"), CONTENT).unwrap();
    let store = store(
        &models,
        catalogue(CONTENT, &local(&dir.path().join("absent"))),
    );
    let (progress, heard) = listening();
    store.pull("m", &progress).await.unwrap();
    assert!(heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn offline_a_full_cache_serves_and_a_missing_model_names_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, CONTENT).unwrap();
    let models = dir.path().join("models");
    let settings = StoreSettings {
        offline: true,
        ..StoreSettings::default()
    };
    let offline = Store::new(&models, catalogue(CONTENT, &local(&origin)), settings);
    let error = offline.pull("m", &silent()).await.unwrap_err();
    assert!(
        error.to_string().contains("models.offline = false"),
        "{error}"
    );
    store(&models, catalogue(CONTENT, &local(&origin)))
        .pull("m", &silent())
        .await
        .unwrap();
    offline.pull("m", &silent()).await.unwrap();
    offline.path("m").unwrap();
}

#[tokio::test]
async fn an_unknown_name_suggests_the_nearest_and_a_missing_model_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), lore_models::Catalogue::load(None).unwrap());
    let unknown = store
        .pull("multilingual-e5-smal", &silent())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("did you mean `multilingual-e5-small`?"),
        "{unknown}"
    );
    let missing = store.path("smollm2-135m-instruct").unwrap_err().to_string();
    assert!(
        missing.contains("lore models pull smollm2-135m-instruct"),
        "{missing}"
    );
}

/// Many pullers at once, each with a store of its own as processes have.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pullers_at_the_same_time_take_turns_and_all_find_it_whole() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, &content).unwrap();
    let models = dir.path().join("models");
    let (progress, heard) = listening();
    let pulls = (0..6).map(|_| {
        let store = store(&models, catalogue(&content, &local(&origin)));
        let progress = Arc::clone(&progress);
        tokio::spawn(async move { store.pull("m", &progress).await.map(|files| files.dir) })
    });
    for pull in pulls.collect::<Vec<_>>() {
        pull.await.unwrap().unwrap();
    }
    let finished = heard
        .lock()
        .unwrap()
        .iter()
        .filter(|event| matches!(event, PullEvent::Finished { .. }))
        .count();
    assert_eq!(finished, 1, "only the first one fetches");
    assert_eq!(tree(&models), ["m/model.gguf"]);
    assert_eq!(std::fs::read(models.join("m/model.gguf")).unwrap(), content);
}

#[tokio::test]
async fn a_second_puller_waits_for_the_first_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, CONTENT).unwrap();
    let models = dir.path().join("models");
    std::fs::create_dir_all(models.join(".locks")).unwrap();
    let lock = std::fs::File::create(models.join(".locks/m.lock")).unwrap();
    lock.lock().unwrap();
    let store = store(&models, catalogue(CONTENT, &local(&origin)));
    let (progress, heard) = listening();
    let pull = tokio::spawn(async move { store.pull("m", &progress).await.map(|_| ()) });
    while heard.lock().unwrap().is_empty() {
        assert!(!pull.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
    assert_eq!(
        heard.lock().unwrap()[0],
        PullEvent::Waiting {
            model: "m".to_owned()
        }
    );
    drop(lock);
    pull.await.unwrap().unwrap();
}
