use crate::chunks::{DIMENSIONS, at, chunk};
use crate::dense;
use lore_index::{DenseIndex, EdgeDense, IndexError};
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_conforms() {
    let root = tempfile::tempdir().unwrap();
    dense::conforms(&EdgeDense::open(root.path()).unwrap(), "").await;
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let root = tempfile::tempdir().unwrap();
    let first = EdgeDense::open(root.path()).unwrap();
    first.create("c", DIMENSIONS).await.unwrap();
    first.create("gone", DIMENSIONS).await.unwrap();
    first
        .upsert(
            "c",
            &[chunk("a", 0, ""), chunk("b", 0, "")],
            &[at(0.0), at(50.0)],
        )
        .await
        .unwrap();
    first.drop_collection("gone").await.unwrap();
    drop(first);
    let second = EdgeDense::open(root.path()).unwrap();
    assert_eq!(second.collections().await.unwrap(), ["c"]);
    let found = second.search("c", &at(50.0), None, 1).await.unwrap();
    assert_eq!(found[0].chunk_id, chunk("b", 0, "").chunk.id);
    assert!(matches!(
        second.search("gone", &at(0.0), None, 1).await.unwrap_err(),
        IndexError::NoCollection { .. }
    ));
}

#[tokio::test]
async fn a_second_owner_of_the_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let first = EdgeDense::open(root.path()).unwrap();
    let error = EdgeDense::open(root.path()).err().unwrap();
    assert!(
        matches!(&error, IndexError::Locked { path } if path == root.path()),
        "{error}"
    );
    drop(first);
    EdgeDense::open(root.path()).unwrap();
}

#[tokio::test]
async fn a_damaged_folder_is_named_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    let dense = EdgeDense::open(root.path()).unwrap();
    dense.create("c", DIMENSIONS).await.unwrap();
    dense
        .upsert("c", &[chunk("a", 0, "")], &[at(0.0)])
        .await
        .unwrap();
    drop(dense);
    for segment in fs::read_dir(root.path().join("c/segments")).unwrap() {
        let state = segment.unwrap().path().join("segment.json");
        fs::write(&state, "{").unwrap();
    }
    let dense = EdgeDense::open(root.path()).unwrap();
    let error = dense.search("c", &at(0.0), None, 1).await.unwrap_err();
    assert!(
        matches!(&error, IndexError::Damaged { path, .. } if *path == root.path().join("c")),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("lore index verify --repair"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_without_lores_mark_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("c")).unwrap();
    let dense = EdgeDense::open(root.path()).unwrap();
    for result in [
        dense.create("c", DIMENSIONS).await,
        dense.chunks("c").await.map(|_| ()),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(&error, IndexError::Damaged { .. }), "{error}");
    }
    dense.drop_collection("c").await.unwrap();
    dense.create("c", DIMENSIONS).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_process_left_half_made_is_cleared() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join(".new-c/segments")).unwrap();
    fs::create_dir_all(root.path().join(".old-d")).unwrap();
    let dense = EdgeDense::open(root.path()).unwrap();
    assert!(!root.path().join(".new-c").exists() && !root.path().join(".old-d").exists());
    dense.create("c", DIMENSIONS).await.unwrap();
    assert_eq!(dense.collections().await.unwrap(), ["c"]);
}
