//! Prints nDCG@10 and recall@50 of the lexical side alone on retrieval sets in BEIR form.
//!
//! `cargo run --release -p lore-index --example lexical_quality -- ../shared/data/retrieval/scifact …`
//!
//! Documents of more than 200 words are cut into overlapping pieces, as ingesting would; a document counts as its best
//! piece. Published for BM25 on SciFact: 0.679 (Pyserini, one field), 0.665 (BEIR).

use anyhow::{Context, Result};
use lore_index::{IndexedChunk, LexicalReader, LexicalWriter, TantivyReader, TantivyWriter};
use lore_types::{Chunk, ChunkId, DocumentId, Span, VersionId};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

const PIECE_WORDS: usize = 200;
const STEP_WORDS: usize = 170;
/// Chinese text is cut by characters.
const PIECE_CHARACTERS: usize = 600;

type Relevant = HashMap<String, HashMap<String, f64>>;

#[tokio::main]
async fn main() -> Result<()> {
    println!(
        "{:<16} {:>9} {:>8} {:>8} {:>10} {:>9} {:>9}",
        "set", "documents", "chunks", "queries", "index s", "nDCG@10", "R@50"
    );
    for folder in std::env::args().skip(1) {
        measure(Path::new(&folder)).await?;
    }
    Ok(())
}

async fn measure(folder: &Path) -> Result<()> {
    let root = tempfile::tempdir()?;
    let writer = TantivyWriter::open(root.path())?;
    writer.create("set").await?;
    let started = Instant::now();
    let mut names = HashMap::new();
    let mut chunks = 0;
    for batch in lines(&folder.join("corpus.jsonl"))?.chunks(256) {
        let batch: Vec<IndexedChunk> = batch
            .iter()
            .flat_map(|document| pieces(document, &mut names))
            .collect();
        chunks += batch.len();
        writer.upsert("set", &batch).await?;
    }
    writer.commit("set").await?;
    let seconds = started.elapsed().as_secs_f64();
    let (ndcg, recall, queries) = score(folder, &TantivyReader::open(root.path()), &names).await?;
    let set = folder.file_name().unwrap_or_default().to_string_lossy();
    println!(
        "{set:<16} {:>9} {chunks:>8} {queries:>8} {seconds:>10.1} {ndcg:>9.4} {recall:>9.4}",
        names.len()
    );
    Ok(())
}

/// Mean nDCG@10 and recall@50 over the queries that have a relevant document.
async fn score(
    folder: &Path,
    reader: &TantivyReader,
    names: &HashMap<DocumentVersion, String>,
) -> Result<(f64, f64, usize)> {
    let relevant = relevant(&folder.join("qrels.tsv"))?;
    let (mut ndcg, mut recall, mut count) = (0.0, 0.0, 0);
    for query in lines(&folder.join("queries.jsonl"))? {
        let Some(wanted) = relevant.get(text(&query, "_id")) else {
            continue;
        };
        let found = reader
            .search("set", text(&query, "text"), None, 200)
            .await?;
        let mut seen = HashSet::new();
        let ranked: Vec<&String> = found
            .iter()
            .filter_map(|c| names.get(&c.version_id.0))
            .filter(|n| seen.insert(*n))
            .collect();
        ndcg += gain(
            ranked
                .iter()
                .take(10)
                .map(|name| wanted.get(*name).copied().unwrap_or(0.0)),
        ) / ideal(wanted);
        let hits = ranked
            .iter()
            .take(50)
            .filter(|name| wanted.contains_key(**name))
            .count();
        recall += hits as f64 / wanted.len() as f64;
        count += 1;
    }
    Ok((
        ndcg / f64::from(count),
        recall / f64::from(count),
        usize::try_from(count)?,
    ))
}

type DocumentVersion = uuid::Uuid;

fn pieces(document: &Value, names: &mut HashMap<DocumentVersion, String>) -> Vec<IndexedChunk> {
    let (name, title) = (
        text(document, "_id").to_owned(),
        text(document, "title").to_owned(),
    );
    let document_id = DocumentId::derive("set", &name);
    let version_id = VersionId::derive(document_id, 1);
    names.insert(version_id.0, name);
    let texts = cut(text(document, "text"));
    let chunk = |(ordinal, text): (u32, String)| Chunk {
        id: ChunkId::derive(version_id, ordinal),
        document_id,
        version_id,
        ordinal,
        span: Span::new(0, text.len()),
        text,
        heading: Vec::new(),
        page: None,
        tokens: 0,
    };
    let indexed = |chunk| IndexedChunk {
        chunk,
        title: title.clone(),
        fields: BTreeMap::new(),
    };
    (0..).zip(texts).map(chunk).map(indexed).collect()
}

fn cut(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() <= PIECE_WORDS {
        let characters: Vec<char> = text.chars().collect();
        if words.len() * 20 > characters.len() || characters.len() <= PIECE_CHARACTERS {
            return vec![text.to_owned()];
        }
        return characters
            .chunks(PIECE_CHARACTERS)
            .map(|piece| piece.iter().collect())
            .collect();
    }
    let starts = (0..words.len()).step_by(STEP_WORDS);
    starts
        .map(|start| words[start..words.len().min(start + PIECE_WORDS)].join(" "))
        .collect()
}

fn gain(relevance: impl Iterator<Item = f64>) -> f64 {
    relevance
        .zip(2u32..)
        .map(|(relevance, rank)| relevance / f64::from(rank).log2())
        .sum()
}

fn ideal(wanted: &HashMap<String, f64>) -> f64 {
    let mut best: Vec<f64> = wanted.values().copied().collect();
    best.sort_by(|one, other| other.total_cmp(one));
    gain(best.into_iter().take(10))
}

fn relevant(path: &Path) -> Result<Relevant> {
    let mut relevant = Relevant::new();
    let content = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    for line in content.lines().skip(1) {
        let mut columns = line.split('\t');
        if let (Some(query), Some(document), Some(score)) =
            (columns.next(), columns.next(), columns.next())
        {
            let score: f64 = score.parse()?;
            if score > 0.0 {
                relevant
                    .entry(query.to_owned())
                    .or_default()
                    .insert(document.to_owned(), score);
            }
        }
    }
    Ok(relevant)
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let content = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    content
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
