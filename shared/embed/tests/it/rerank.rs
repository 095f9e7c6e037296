use crate::models::{expected, tiny};
use lore_embed::{RerankPool, Reranker};

/// Reference: plain numpy in float64, `tests/reference/tiny_models.py`.
#[test]
fn every_family_of_cross_encoders_reproduces_its_reference() {
    for family in [
        "bert-reranker",
        "xlm-roberta-reranker",
        "distilbert-reranker",
    ] {
        let out = tempfile::tempdir().unwrap();
        let Some(settings) = tiny(family, out.path()) else {
            return;
        };
        let mut reranker = Reranker::load(&settings).unwrap();
        for pair in expected(family).pairs {
            let score = reranker.rerank(&pair.query, &[&pair.passage]).unwrap()[0];
            assert!(
                (score - pair.score).abs() < 1e-4,
                "{family}: {score} instead of {}",
                pair.score
            );
        }
    }
}

#[test]
fn scores_come_in_the_order_of_the_passages_whatever_their_lengths() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert-reranker", out.path()) else {
        return;
    };
    let mut reranker = Reranker::load(&settings).unwrap();
    let passages: Vec<String> = (0..200)
        .map(|i| "water pump seal ".repeat(i % 5) + ["a", "b c", "", "d"][i % 4])
        .collect();
    let scores = reranker
        .rerank("how long is the warranty", &passages)
        .unwrap();
    for (passage, score) in passages.iter().zip(&scores) {
        let alone = reranker
            .rerank("how long is the warranty", &[passage])
            .unwrap()[0];
        assert!((score - alone).abs() < 1e-4, "{passage:?}: {score} {alone}");
    }
    let none: [&str; 0] = [];
    assert!(reranker.rerank("water", &none).unwrap().is_empty());
    assert_eq!(
        reranker
            .rerank("water", &["pump ".repeat(100_000)])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn an_encoder_without_a_score_is_no_reranker() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let error = Reranker::load(&settings).unwrap_err().to_string();
    assert!(error.contains("a reranker gives one score"), "{error}");
}

#[tokio::test]
async fn a_pool_reranks() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert-reranker", out.path()) else {
        return;
    };
    let pool = RerankPool::load(settings).await.unwrap();
    let pair = expected("bert-reranker").pairs.remove(0);
    let scores = pool
        .rerank(pair.query, vec![pair.passage, "water".into()])
        .await
        .unwrap();
    assert!((scores[0] - pair.score).abs() < 1e-4);
    assert_eq!(scores.len(), 2);
}
