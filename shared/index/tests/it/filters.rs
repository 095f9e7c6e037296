//! Random filters over random documents: each engine admits exactly what `Filter::admits` says.

use crate::chunks::{DIMENSIONS, Fields, at, chunk_of, server_url};
use lore_index::{
    DenseIndex, EdgeDense, IndexedChunk, LexicalReader, LexicalWriter, ServerDense, ServerSettings,
    TantivyReader, TantivyWriter,
};
use lore_types::{ChunkId, Comparison, Filter, Scalar};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;

const CASES: u32 = 24;

fn field() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b.c", "作者 \"x\"", "$k[0]\u{1}", ""]).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    let known = [
        "x",
        "X",
        "",
        "李",
        "2024-03-05",
        "2024-03-05T10:00:00Z",
        "2024-03-05T12:00:00+02:00",
        "1969-12-31",
        "2024-13-99",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => Just("y".repeat(70_000)), 1 => "\\PC{0,4}"]
}

fn number() -> impl Strategy<Value = f64> {
    let edges = [
        0.0,
        -0.0,
        2.0,
        -2.0,
        0.1,
        2024.0,
        9_007_199_254_740_992.0,
        1e300,
        -1e-300,
    ];
    prop_oneof![4 => prop::sample::select(edges.to_vec()), 2 => (-5i32..5).prop_map(f64::from), 1 => prop::num::f64::NORMAL]
}

fn time() -> impl Strategy<Value = i64> {
    let known = [
        1_709_596_800_000_000,
        1_709_632_800_000_000,
        -86_400_000_000,
        0,
        i64::MIN,
        i64::MAX,
    ];
    prop_oneof![3 => prop::sample::select(known.to_vec()), 1 => -100_000_000_000_000i64..2_000_000_000_000_000]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        text().prop_map(Scalar::Text),
        number().prop_map(Scalar::Number),
        any::<bool>().prop_map(Scalar::Bool)
    ]
}

fn document() -> impl Strategy<Value = Fields> {
    prop::collection::btree_map(field(), prop::collection::vec(scalar(), 0..4), 0..5)
}

fn border<T: std::fmt::Debug>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<(T, bool)>> {
    prop::option::weighted(0.8, (of, any::<bool>()))
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        prop::collection::vec(scalar(), 0..4).prop_map(Comparison::In),
        (border(number()), border(number()))
            .prop_map(|(from, to)| Comparison::Numbers { from, to }),
        (border(time()), border(time())).prop_map(|(from, to)| Comparison::Times { from, to }),
        any::<bool>().prop_map(Comparison::Exists),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let leaf = (field(), comparison()).prop_map(|(field, is)| Filter::Field { field, is });
    leaf.prop_recursive(5, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

/// Draws documents and filters, and lets `check` compare.
fn drawn(check: impl Fn(&[IndexedChunk], &[Filter])) {
    let strategy = (
        prop::collection::vec(document(), 1..40),
        prop::collection::vec(filter(), 20),
    );
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let result = runner.run(&strategy, |(documents, filters)| {
        let chunks: Vec<_> = (0..)
            .zip(documents)
            .map(|(ordinal, fields)| chunk_of("a", 1, ordinal, "common", fields))
            .collect();
        check(&chunks, &filters);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn admitted(chunks: &[IndexedChunk], filter: &Filter) -> BTreeSet<ChunkId> {
    chunks
        .iter()
        .filter(|chunk| filter.admits(&chunk.fields))
        .map(|chunk| chunk.chunk.id)
        .collect()
}

async fn dense_agrees(dense: &dyn DenseIndex, chunks: &[IndexedChunk], filters: &[Filter]) {
    dense.drop_collection("c").await.unwrap();
    dense.create("c", DIMENSIONS).await.unwrap();
    dense
        .upsert("c", chunks, &vec![at(0.0); chunks.len()])
        .await
        .unwrap();
    for filter in filters {
        let found = dense
            .search("c", &at(0.0), Some(filter), chunks.len())
            .await
            .unwrap();
        let found: BTreeSet<_> = found.iter().map(|candidate| candidate.chunk_id).collect();
        assert_eq!(found, admitted(chunks, filter), "{filter:?}");
    }
}

#[test]
fn the_embedded_engine_admits_what_a_filter_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let dense = EdgeDense::open(root.path()).unwrap();
    drawn(|chunks, filters| runtime.block_on(dense_agrees(&dense, chunks, filters)));
}

#[test]
fn a_server_admits_what_a_filter_says() {
    let Some(url) = server_url("filters on a Qdrant server") else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let prefix = format!("lore_filters_{}_", std::process::id());
    let settings = ServerSettings {
        prefix,
        ..ServerSettings::new(url)
    };
    let dense = runtime.block_on(ServerDense::connect(settings)).unwrap();
    drawn(|chunks, filters| runtime.block_on(dense_agrees(&dense, chunks, filters)));
    runtime.block_on(dense.drop_collection("c")).unwrap();
}

#[test]
fn tantivy_admits_what_a_filter_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let writer = TantivyWriter::open(root.path()).unwrap();
    let reader = TantivyReader::open(root.path());
    let agrees = async |chunks: &[IndexedChunk], filters: &[Filter]| {
        writer.drop_collection("c").await.unwrap();
        writer.create("c").await.unwrap();
        writer.upsert("c", chunks).await.unwrap();
        writer.commit("c").await.unwrap();
        for filter in filters {
            let found = reader
                .search("c", "common", Some(filter), chunks.len())
                .await
                .unwrap();
            let found: BTreeSet<_> = found.iter().map(|candidate| candidate.chunk_id).collect();
            assert_eq!(found, admitted(chunks, filter), "{filter:?}");
        }
    };
    drawn(|chunks, filters| runtime.block_on(agrees(chunks, filters)));
}
