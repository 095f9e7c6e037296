//! Fills both sides with made-up chunks, and prints how long writing and searching take and what the graph finds of what
//! an exact search finds.
//!
//! `cargo run --release -p lore-index --example scale -- [CHUNKS] [DIMENSIONS]` (100,000 and 384 by default)
//!
//! With `QDRANT_URL` set the dense side is that server, otherwise the embedded engine.

use anyhow::Result;
use lore_index::{
    DenseIndex, EdgeDense, IndexedChunk, LexicalReader, LexicalWriter, ServerDense, ServerSettings,
    TantivyReader, TantivyWriter,
};
use lore_types::{Chunk, ChunkId, DocumentId, Filter, Scalar, Span, VersionId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

const BATCH: usize = 500;
const QUESTIONS: usize = 200;
const LIMIT: usize = 50;
const CHUNKS_PER_DOCUMENT: u32 = 20;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<usize>());
    let count = arguments.next().transpose()?.unwrap_or(100_000);
    let dimensions = arguments.next().transpose()?.unwrap_or(384);
    let root = tempfile::tempdir()?;
    let mut made = Made::new(dimensions);
    let chunks: Vec<IndexedChunk> = (0..u32::try_from(count)?)
        .map(|number| made.chunk(number))
        .collect();
    let vectors: Vec<Vec<f32>> = (0..count).map(|_| made.vector()).collect();
    let dense: Box<dyn DenseIndex> = match std::env::var("QDRANT_URL") {
        Ok(url) => Box::new(ServerDense::connect(ServerSettings::new(url)).await?),
        Err(_) => Box::new(EdgeDense::open(root.path().join("dense"))?),
    };
    measure_dense(&*dense, &chunks, &vectors, &mut made).await?;
    measure_lexical(&root.path().join("lexical"), &chunks, &mut made).await
}

async fn measure_dense(
    dense: &dyn DenseIndex,
    chunks: &[IndexedChunk],
    vectors: &[Vec<f32>],
    made: &mut Made,
) -> Result<()> {
    dense.drop_collection("scale").await?;
    dense
        .create("scale", u32::try_from(made.dimensions)?)
        .await?;
    let started = Instant::now();
    let mut slowest = 0.0f64;
    for (chunks, vectors) in chunks.chunks(BATCH).zip(vectors.chunks(BATCH)) {
        let one = Instant::now();
        dense.upsert("scale", chunks, vectors).await?;
        slowest = slowest.max(one.elapsed().as_secs_f64());
    }
    println!(
        "dense: {} chunks written in {:.1?}, slowest batch of {BATCH} {slowest:.2} s",
        chunks.len(),
        started.elapsed()
    );
    let started = Instant::now();
    dense.optimize("scale").await?;
    println!("dense: optimized in {:.1?}", started.elapsed());
    let questions: Vec<Vec<f32>> = (0..QUESTIONS).map(|_| made.vector()).collect();
    for (name, filter) in filters()? {
        let (mut times, mut recall) = (Vec::new(), 0.0);
        for question in &questions {
            let started = Instant::now();
            let found = dense
                .search("scale", question, filter.as_ref(), LIMIT)
                .await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            let exact = exact(question, chunks, vectors, filter.as_ref());
            let hits = found
                .iter()
                .filter(|candidate| exact.contains(&candidate.chunk_id))
                .count();
            recall += hits as f64 / exact.len().max(1) as f64;
        }
        println!(
            "dense: {name:<24} {} recall@{LIMIT} {:.4}",
            quantiles(times),
            recall / QUESTIONS as f64
        );
    }
    let started = Instant::now();
    let version = chunks.first().map(|chunk| chunk.chunk.version_id);
    dense
        .remove_versions("scale", &version.into_iter().collect::<Vec<_>>())
        .await?;
    println!("dense: a version removed in {:.1?}", started.elapsed());
    let started = Instant::now();
    println!(
        "dense: {} chunks listed in {:.1?}",
        dense.chunks("scale").await?.len(),
        started.elapsed()
    );
    dense.drop_collection("scale").await?;
    Ok(())
}

async fn measure_lexical(
    root: &std::path::Path,
    chunks: &[IndexedChunk],
    made: &mut Made,
) -> Result<()> {
    let writer = TantivyWriter::open(root)?;
    writer.create("scale").await?;
    let started = Instant::now();
    for chunks in chunks.chunks(BATCH) {
        writer.upsert("scale", chunks).await?;
        writer.commit("scale").await?;
    }
    println!(
        "lexical: {} chunks written in {:.1?}, committed every {BATCH}",
        chunks.len(),
        started.elapsed()
    );
    let reader = TantivyReader::open(root);
    for (name, filter) in filters()? {
        let mut times = Vec::new();
        for _ in 0..QUESTIONS {
            let question = made.text(8);
            let started = Instant::now();
            reader
                .search("scale", &question, filter.as_ref(), LIMIT)
                .await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        println!("lexical: {name:<22} {}", quantiles(times));
    }
    let started = Instant::now();
    println!(
        "lexical: {} chunks listed in {:.1?}",
        reader.chunks("scale").await?.len(),
        started.elapsed()
    );
    Ok(())
}

fn filters() -> Result<Vec<(&'static str, Option<Filter>)>> {
    let parse = |value| Filter::parse(&value).map(Some);
    Ok(vec![
        ("no filter", None),
        (
            "one document",
            parse(json!({"document.name": "document 77"}))?,
        ),
        ("1 % (share = 7)", parse(json!({"share": 7}))?),
        ("10 % (share < 10)", parse(json!({"share": {"$lt": 10}}))?),
        ("90 % (share >= 10)", parse(json!({"share": {"$gte": 10}}))?),
        ("not a team", parse(json!({"team": {"$ne": "team 3"}}))?),
    ])
}

fn exact(
    question: &[f32],
    chunks: &[IndexedChunk],
    vectors: &[Vec<f32>],
    filter: Option<&Filter>,
) -> HashSet<ChunkId> {
    let admitted = chunks
        .iter()
        .zip(vectors)
        .filter(|(chunk, _)| filter.is_none_or(|filter| filter.admits(&chunk.fields)));
    let mut scored: Vec<(f32, ChunkId)> = admitted
        .map(|(chunk, vector)| (dot(question, vector), chunk.chunk.id))
        .collect();
    scored.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    scored.into_iter().take(LIMIT).map(|(_, id)| id).collect()
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn quantiles(mut times: Vec<f64>) -> String {
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:>6.2} ms  p95 {:>6.2} ms", at(0.5), at(0.95))
}

/// Makes chunks whose vectors lie in clusters and whose words are as unevenly frequent as in prose.
struct Made {
    random: StdRng,
    dimensions: usize,
    centres: Vec<Vec<f32>>,
}

impl Made {
    fn new(dimensions: usize) -> Self {
        let mut made = Self {
            random: StdRng::seed_from_u64(7),
            dimensions,
            centres: Vec::new(),
        };
        made.centres = (0..500).map(|_| made.direction()).collect();
        made
    }

    fn direction(&mut self) -> Vec<f32> {
        (0..self.dimensions)
            .map(|_| self.random.random_range(-1.0..1.0f32))
            .collect()
    }

    fn vector(&mut self) -> Vec<f32> {
        let centre = self.centres[self.random.random_range(0..self.centres.len())].clone();
        let mut vector: Vec<f32> = centre
            .iter()
            .zip(self.direction())
            .map(|(centre, own)| centre + 0.8 * own)
            .collect();
        let length = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|number| *number /= length);
        vector
    }

    fn text(&mut self, words: usize) -> String {
        let word =
            |random: &mut StdRng| format!("w{:x}", (30_000f64.powf(random.random::<f64>())) as u32);
        (0..words)
            .map(|_| word(&mut self.random))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn chunk(&mut self, number: u32) -> IndexedChunk {
        let name = format!("document {}", number / CHUNKS_PER_DOCUMENT);
        let document_id = DocumentId::derive("scale", &name);
        let version_id = VersionId::derive(document_id, 1);
        let ordinal = number % CHUNKS_PER_DOCUMENT;
        let text = self.text(150);
        let document = f64::from(number / CHUNKS_PER_DOCUMENT);
        let fields = BTreeMap::from([
            ("document.name".to_owned(), vec![Scalar::Text(name)]),
            ("share".to_owned(), vec![Scalar::Number(document % 100.0)]),
            (
                "team".to_owned(),
                vec![Scalar::Text(format!("team {}", document % 12.0))],
            ),
            (
                "created".to_owned(),
                vec![Scalar::Text(format!(
                    "20{:02}-03-05T10:00:{:02}Z",
                    document % 25.0,
                    document % 60.0
                ))],
            ),
        ]);
        let id = ChunkId::derive(version_id, ordinal);
        let span = Span::new(0, text.len());
        let chunk = Chunk {
            id,
            document_id,
            version_id,
            ordinal,
            span,
            text,
            heading: Vec::new(),
            page: None,
            tokens: 150,
        };
        IndexedChunk {
            chunk,
            title: "A made-up document".to_owned(),
            fields,
        }
    }
}
