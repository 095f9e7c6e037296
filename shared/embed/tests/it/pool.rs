use crate::models::{cosine, tiny, tiny_dir};
use lore_embed::{EmbedError, EmbedFiles, EmbedPool, EmbedSettings, Embedder, EmbedderRegistry};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;

/// So many texts that embedding them takes far longer than anything else here.
fn endless() -> Vec<String> {
    vec!["water pump seal the of warranty is months two how long a b c d".to_string(); 50_000]
}

const DEADLINE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_pool_gives_the_embedders_vectors() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("xlm-roberta", out.path()) else {
        return;
    };
    let mut embedder = Embedder::load(&settings).unwrap();
    let pool = EmbedPool::load(settings).await.unwrap();
    assert_eq!(pool.info(), embedder.info());
    let texts = vec!["water".to_string(), "how long is the seal".to_string()];
    let expected = embedder.embed_passages(&texts).unwrap();
    let embedded = pool.embed_passages(texts).await.unwrap();
    assert_eq!(embedded.tokens, expected.tokens);
    assert!(
        embedded
            .vectors
            .iter()
            .zip(&expected.vectors)
            .all(|(a, b)| cosine(a, b) > 0.9999)
    );
}

#[tokio::test]
async fn a_query_overtakes_a_running_batch_of_passages() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let pool = EmbedPool::load(settings).await.unwrap();
    let bulk = tokio::spawn({
        let pool = pool.clone();
        async move { pool.embed_passages(endless()).await }
    });
    let queries = async {
        for _ in 0..20 {
            pool.embed_query("water".into()).await.unwrap();
        }
    };
    timeout(DEADLINE, queries).await.unwrap();
    assert!(
        !bulk.is_finished(),
        "20 queries were answered while the passages were under way"
    );
    bulk.abort();
}

#[tokio::test]
async fn a_dropped_request_frees_the_embedder_and_its_place() {
    let out = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("bert", out.path()) else {
        return;
    };
    settings.queue = 1;
    let pool = EmbedPool::load(settings).await.unwrap();
    let bulk = tokio::spawn({
        let pool = pool.clone();
        async move { pool.embed_passages(endless()).await }
    });
    let busy = async {
        while !matches!(
            pool.embed_passages(vec!["pump".into()]).await,
            Err(EmbedError::Busy { waiting: 1, .. })
        ) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, busy).await.expect("the queue fills");
    bulk.abort();
    let embedded = timeout(DEADLINE, pool.embed_passages_waiting(vec!["pump".into()]))
        .await
        .unwrap();
    assert_eq!(embedded.unwrap().vectors.len(), 1);
}

#[tokio::test]
async fn a_failed_request_does_not_end_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("bert", dir.path()) else {
        return;
    };
    let tokenizer = std::fs::read(&settings.files.tokenizer).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer).unwrap();
    tokenizer["post_processor"] = serde_json::Value::Null; // no special tokens: an empty text has no token at all
    settings.files.tokenizer = dir.path().join("tokenizer.json");
    std::fs::write(&settings.files.tokenizer, tokenizer.to_string()).unwrap();
    let pool = EmbedPool::load(settings).await.unwrap();
    let texts = vec!["water".to_string(), String::new()];
    let error = pool.embed_passages(texts).await.unwrap_err();
    assert!(
        matches!(error, EmbedError::NoVector { index: 1, .. }),
        "{error}"
    );
    assert!(
        pool.embed_passages(Vec::new())
            .await
            .unwrap()
            .vectors
            .is_empty()
    );
    let queries = pool.embed_queries(vec!["water".into(); 50]).await.unwrap();
    assert_eq!(queries.vectors.len(), 50);
    assert!(!pool.is_stopped());
}

#[tokio::test]
async fn a_registry_loads_each_embedder_once_and_tries_failures_again() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let registry = EmbedderRegistry::new(move |name: &str| -> Result<EmbedSettings, EmbedError> {
        counter.fetch_add(1, Ordering::SeqCst);
        let mut found = settings.clone();
        found.files = EmbedFiles {
            export_dir: settings.files.export_dir.clone(),
            ..EmbedFiles::find(name, tiny_dir(name))?
        };
        Ok(found)
    });
    let (a, b) = tokio::join!(registry.get("bert"), registry.get("bert"));
    assert_eq!(a.unwrap().info(), b.unwrap().info());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    registry.get("mpnet").await.unwrap();
    let names: Vec<String> = registry
        .loaded()
        .into_iter()
        .map(|info| info.name)
        .collect();
    assert_eq!(names, ["bert", "mpnet"]);
    for _ in 0..2 {
        let error = registry.get("nowhere").await.unwrap_err();
        assert!(error.is_missing_model(), "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}
