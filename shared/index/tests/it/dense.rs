//! The conformance suite of the dense side: every engine gives the same answers.

use crate::chunks::{DIMENSIONS, at, chunk, chunk_of, fields, version};
use lore_index::{Candidate, DenseIndex, IndexError, IndexedId};
use lore_types::{ChunkId, Filter, VersionId};
use serde_json::json;

/// Runs the whole suite. Every part uses collections of its own, whose names start with `prefix`.
pub async fn conforms(dense: &dyn DenseIndex, prefix: &str) {
    let name = |part: &str| format!("{prefix}{part}");
    creating_twice_changes_nothing(dense, &name("create")).await;
    another_length_is_refused(dense, &name("length")).await;
    writing_twice_leaves_one(dense, &name("twice")).await;
    the_nearest_come_first_with_their_cosine(dense, &name("order")).await;
    equal_scores_are_ordered_by_chunk_id(dense, &name("ties")).await;
    filters_are_pushed_down(dense, &name("filter")).await;
    removed_versions_are_gone(dense, &name("remove")).await;
    a_dropped_collection_starts_anew(dense, &name("drop")).await;
    missing_collections_are_named(dense, &name("missing")).await;
    bad_vectors_are_refused_before_anything_is_written(dense, &name("bad")).await;
    an_empty_collection_finds_nothing(dense, &name("empty")).await;
    chunks_are_listed_by_id(dense, &name("list")).await;
    any_text_survives(dense, &name("Unicode.1-x")).await;
    searches_run_beside_writes(dense, &name("beside")).await;
}

async fn creating_twice_changes_nothing(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    dense
        .upsert(name, &[chunk("a", 0, "")], &[at(0.0)])
        .await
        .unwrap();
    dense.create(name, DIMENSIONS).await.unwrap();
    assert_eq!(dense.chunks(name).await.unwrap().len(), 1);
    assert!(
        dense
            .collections()
            .await
            .unwrap()
            .contains(&name.to_owned())
    );
}

async fn another_length_is_refused(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let is_wrong = |error: IndexError, given: u32| matches!(error, IndexError::Dimensions { collection, expected: DIMENSIONS, actual } if collection == name && actual == given);
    assert!(is_wrong(dense.create(name, 4).await.unwrap_err(), 4));
    assert!(is_wrong(
        dense
            .upsert(name, &[chunk("a", 0, "")], &[vec![1.0; 3]])
            .await
            .unwrap_err(),
        3
    ));
    assert!(is_wrong(
        dense.search(name, &[1.0, 0.0], None, 1).await.unwrap_err(),
        2
    ));
    assert!(matches!(
        dense.create(&format!("{name}0"), 0).await.unwrap_err(),
        IndexError::Vectors(_)
    ));
}

async fn writing_twice_leaves_one(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    for degrees in [10.0, 80.0] {
        dense
            .upsert(
                name,
                &[chunk("a", 0, ""), chunk("a", 1, "")],
                &[at(degrees), at(0.0)],
            )
            .await
            .unwrap();
    }
    let found = dense.search(name, &at(80.0), None, 10).await.unwrap();
    assert_eq!(
        ids(&found),
        [chunk("a", 0, "").chunk.id, chunk("a", 1, "").chunk.id]
    );
    assert!(
        (found[0].score - 1.0).abs() < 1e-5,
        "the second vector replaced the first: {found:?}"
    );
}

async fn the_nearest_come_first_with_their_cosine(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let degrees = [60.0, 0.0, 90.0, 30.0, 170.0];
    let chunks: Vec<_> = (0..5).map(|ordinal| chunk("a", ordinal, "")).collect();
    let vectors: Vec<_> = degrees.map(at).to_vec();
    dense.upsert(name, &chunks, &vectors).await.unwrap();
    dense.optimize(name).await.unwrap();
    let found = dense.search(name, &at(0.0), None, 4).await.unwrap();
    assert_eq!(
        ids(&found),
        [1, 3, 0, 2].map(|ordinal: usize| chunks[ordinal].chunk.id)
    );
    for (candidate, degrees) in found.iter().zip([0.0f32, 30.0, 60.0, 90.0]) {
        assert!(
            (candidate.score - degrees.to_radians().cos()).abs() < 1e-5,
            "{candidate:?}"
        );
        assert_eq!(candidate.version_id, version("a", 1));
    }
}

async fn equal_scores_are_ordered_by_chunk_id(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let chunks: Vec<_> = (0..100).map(|ordinal| chunk("a", ordinal, "")).collect();
    dense
        .upsert(name, &chunks, &vec![at(20.0); 100])
        .await
        .unwrap();
    let mut expected: Vec<_> = chunks.iter().map(|chunk| chunk.chunk.id).collect();
    expected.sort_unstable();
    for limit in [1, 7, 100, 1000] {
        let found = dense.search(name, &at(0.0), None, limit).await.unwrap();
        assert_eq!(ids(&found), expected[..limit.min(100)]);
    }
}

async fn filters_are_pushed_down(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let mut chunks: Vec<_> = (0..50)
        .map(|ordinal| chunk_of("a", 1, ordinal, "", fields(json!({"team": "it"}))))
        .collect();
    chunks.push(chunk_of(
        "b",
        1,
        0,
        "",
        fields(json!({"team": "hr", "year": 2024})),
    ));
    let mut vectors = vec![at(0.0); 50];
    vectors.push(at(90.0));
    dense.upsert(name, &chunks, &vectors).await.unwrap();
    let filter = Filter::parse(&json!({"team": "hr", "year": {"$gte": 2020}})).unwrap();
    let found = dense
        .search(name, &at(0.0), Some(&filter), 1)
        .await
        .unwrap();
    assert_eq!(
        ids(&found),
        [chunks[50].chunk.id],
        "the farthest chunk is the only one admitted"
    );
    let nothing = Filter::parse(&json!({"$or": []})).unwrap();
    assert_eq!(
        dense
            .search(name, &at(0.0), Some(&nothing), 1)
            .await
            .unwrap(),
        []
    );
}

async fn removed_versions_are_gone(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let chunks = [
        chunk_of("a", 1, 0, "", fields(json!({}))),
        chunk_of("a", 2, 0, "", fields(json!({}))),
        chunk("b", 0, ""),
    ];
    dense
        .upsert(name, &chunks, &[at(0.0), at(10.0), at(20.0)])
        .await
        .unwrap();
    dense
        .remove_versions(name, &[version("a", 1), version("z", 9)])
        .await
        .unwrap();
    assert_eq!(
        versions(&dense.chunks(name).await.unwrap()),
        sorted([version("a", 2), version("b", 1)])
    );
    let found = dense.search(name, &at(0.0), None, 10).await.unwrap();
    assert_eq!(ids(&found), [chunks[1].chunk.id, chunks[2].chunk.id]);
    dense
        .remove_versions(name, &[version("a", 1)])
        .await
        .unwrap();
    dense.remove_versions(name, &[]).await.unwrap();
    assert_eq!(dense.chunks(name).await.unwrap().len(), 2);
}

async fn a_dropped_collection_starts_anew(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    dense
        .upsert(name, &[chunk("a", 0, "")], &[at(0.0)])
        .await
        .unwrap();
    dense.drop_collection(name).await.unwrap();
    assert!(matches!(
        dense.search(name, &at(0.0), None, 1).await.unwrap_err(),
        IndexError::NoCollection { .. }
    ));
    assert!(
        !dense
            .collections()
            .await
            .unwrap()
            .contains(&name.to_owned())
    );
    dense.drop_collection(name).await.unwrap();
    dense.create(name, 3).await.unwrap();
    assert_eq!(
        dense.search(name, &[1.0, 0.0, 0.0], None, 1).await.unwrap(),
        []
    );
}

async fn missing_collections_are_named(dense: &dyn DenseIndex, name: &str) {
    let is_missing = |error| matches!(error, IndexError::NoCollection { collection, side: "dense" } if collection == name);
    assert!(is_missing(
        dense.search(name, &at(0.0), None, 1).await.unwrap_err()
    ));
    assert!(is_missing(
        dense
            .upsert(name, &[chunk("a", 0, "")], &[at(0.0)])
            .await
            .unwrap_err()
    ));
    assert!(is_missing(dense.upsert(name, &[], &[]).await.unwrap_err()));
    assert!(is_missing(dense.chunks(name).await.unwrap_err()));
    assert!(is_missing(dense.optimize(name).await.unwrap_err()));
    dense
        .remove_versions(name, &[version("a", 1)])
        .await
        .unwrap();
    for bad in ["", ".hidden", "a/b", "..", "ü", &"x".repeat(65)] {
        assert!(
            matches!(dense.create(bad, DIMENSIONS).await.unwrap_err(), IndexError::CollectionName(named) if named == bad)
        );
    }
}

async fn bad_vectors_are_refused_before_anything_is_written(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let chunks = [chunk("a", 0, ""), chunk("a", 1, "")];
    let mut infinite = at(0.0);
    infinite[3] = f32::INFINITY;
    for vectors in [
        vec![at(0.0)],
        vec![at(0.0), vec![1.0]],
        vec![at(0.0), infinite.clone()],
    ] {
        assert!(matches!(
            dense.upsert(name, &chunks, &vectors).await.unwrap_err(),
            IndexError::Vectors(_)
        ));
    }
    assert!(matches!(
        dense.search(name, &infinite, None, 1).await.unwrap_err(),
        IndexError::Vectors(_)
    ));
    assert_eq!(dense.chunks(name).await.unwrap(), []);
}

async fn an_empty_collection_finds_nothing(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    dense.upsert(name, &[], &[]).await.unwrap();
    assert_eq!(dense.search(name, &at(0.0), None, 10).await.unwrap(), []);
    dense.optimize(name).await.unwrap();
    dense
        .upsert(name, &[chunk("a", 0, "")], &[at(0.0)])
        .await
        .unwrap();
    assert_eq!(dense.search(name, &at(0.0), None, 0).await.unwrap(), []);
    assert_eq!(
        dense
            .search(name, &at(0.0), None, usize::MAX)
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn chunks_are_listed_by_id(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let chunks: Vec<_> = (0..10_000).map(|ordinal| chunk("a", ordinal, "")).collect();
    let vectors: Vec<_> = (0..10_000u16)
        .map(|ordinal| at(f32::from(ordinal) / 100.0))
        .collect();
    for (chunks, vectors) in chunks.chunks(5000).zip(vectors.chunks(5000)) {
        dense.upsert(name, chunks, vectors).await.unwrap();
    }
    let listed = dense.chunks(name).await.unwrap();
    assert!(listed.is_sorted(), "the order is that of chunk ids");
    let mut expected: Vec<_> = chunks.iter().map(|chunk| chunk.chunk.id).collect();
    expected.sort_unstable();
    assert_eq!(
        listed.iter().map(|id| id.chunk_id).collect::<Vec<_>>(),
        expected
    );
    assert!(listed.iter().all(
        |id| id.document_id == chunks[0].chunk.document_id && id.version_id == version("a", 1)
    ));
}

async fn any_text_survives(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let odd = json!({"作者.名 \"x\"": "李\u{0}\u{1F600}", "": "empty", "a[0].b": ["'; --", "\\"], "long": "x".repeat(70_000)});
    dense
        .upsert(
            name,
            &[chunk_of("名前", 1, 0, "文", fields(odd.clone()))],
            &[at(0.0)],
        )
        .await
        .unwrap();
    for (field, value) in odd.as_object().unwrap() {
        let filter = Filter::parse(&json!({field: value})).unwrap();
        assert_eq!(
            dense
                .search(name, &at(0.0), Some(&filter), 5)
                .await
                .unwrap()
                .len(),
            1,
            "{field}"
        );
    }
}

async fn searches_run_beside_writes(dense: &dyn DenseIndex, name: &str) {
    dense.create(name, DIMENSIONS).await.unwrap();
    let write = async |first: u32| {
        for ordinal in first..first + 20 {
            dense
                .upsert(name, &[chunk("a", ordinal, "")], &[at(45.0)])
                .await
                .unwrap();
        }
    };
    let search = async || {
        for _ in 0..40 {
            let found = dense.search(name, &at(45.0), None, 100).await.unwrap();
            assert!(
                found
                    .iter()
                    .all(|candidate| (candidate.score - 1.0).abs() < 1e-5)
            );
        }
    };
    tokio::join!(write(0), write(20), search(), search());
    assert_eq!(
        dense
            .search(name, &at(45.0), None, 100)
            .await
            .unwrap()
            .len(),
        40
    );
}

fn ids(found: &[Candidate]) -> Vec<ChunkId> {
    found.iter().map(|candidate| candidate.chunk_id).collect()
}

fn versions(listed: &[IndexedId]) -> Vec<VersionId> {
    let mut versions: Vec<_> = listed.iter().map(|id| id.version_id).collect();
    versions.sort_unstable();
    versions
}

fn sorted<const N: usize>(mut versions: [VersionId; N]) -> Vec<VersionId> {
    versions.sort_unstable();
    versions.to_vec()
}
