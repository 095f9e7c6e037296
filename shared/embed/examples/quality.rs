//! Measures dense retrieval: `quality MODELS_DIR NAME float32|int8 SET [QUERIES] [DOCUMENTS]`.
//!
//! SET is a folder in BEIR form (`corpus.jsonl`, `queries.jsonl`, `qrels.tsv`). The first QUERIES queries with a judgement are asked against
//! their own documents and as many others as make DOCUMENTS. Prints nDCG@10, exhaustive cosine search.

use anyhow::{Context, Result, bail};
use lore_embed::{EmbedFiles, EmbedSettings, Embedder, Precision};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

/// Judged documents of each query.
type Judgements = HashMap<String, HashMap<String, f64>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [models, name, precision, set, limits @ ..] = args.as_slice() else {
        bail!("usage: quality MODELS_DIR NAME float32|int8 SET [QUERIES] [DOCUMENTS]")
    };
    let limit = |at: usize, default: usize| limits.get(at).map_or(Ok(default), |n| n.parse());
    let (queries, documents) = (limit(0, 100)?, limit(1, 1000)?);
    let models = PathBuf::from(models);
    let files = EmbedFiles::find(name, models.join(name))?;
    let mut settings = EmbedSettings::new(files, models.join("onnxruntime/libonnxruntime.so"));
    settings.precision = if precision == "int8" {
        Precision::Int8
    } else {
        Precision::Float32
    };
    let mut embedder = Embedder::load(&settings)?;
    let set = Path::new(set);
    let judgements = read_judgements(&set.join("qrels.tsv"))?;
    let asked: Vec<(String, String)> = read_texts(&set.join("queries.jsonl"))?
        .into_iter()
        .filter(|(id, _)| judgements.contains_key(id))
        .take(queries)
        .collect();
    let corpus = choose(
        read_texts(&set.join("corpus.jsonl"))?,
        &asked,
        &judgements,
        documents,
    );
    let ndcg = measure(&mut embedder, &asked, &corpus, &judgements)?;
    println!(
        "{name} {precision} {}: nDCG@10 {ndcg:.4} ({} queries, {} documents)",
        set.display(),
        asked.len(),
        corpus.len()
    );
    Ok(())
}

/// Documents that are judged for the queries, and the first others.
fn choose(
    corpus: Vec<(String, String)>,
    asked: &[(String, String)],
    judgements: &Judgements,
    documents: usize,
) -> Vec<(String, String)> {
    let needed: HashSet<&String> = asked
        .iter()
        .flat_map(|(id, _)| judgements[id].keys())
        .collect();
    let (mut chosen, others): (Vec<_>, Vec<_>) =
        corpus.into_iter().partition(|(id, _)| needed.contains(id));
    let room = documents.saturating_sub(chosen.len());
    chosen.extend(others.into_iter().take(room));
    chosen
}

fn measure(
    embedder: &mut Embedder,
    asked: &[(String, String)],
    corpus: &[(String, String)],
    judgements: &Judgements,
) -> Result<f64> {
    let texts: Vec<&str> = corpus.iter().map(|(_, text)| text.as_str()).collect();
    let documents = embedder.embed_passages(&texts)?;
    eprintln!(
        "{} of {} documents are longer than the model reads",
        documents.truncated.len(),
        texts.len()
    );
    let mut sum = 0.0;
    for (id, query) in asked {
        let query = embedder.embed_query(query)?;
        let score = |v: &Vec<f32>| v.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
        let mut ranked: Vec<(f32, &String)> = documents
            .vectors
            .iter()
            .map(score)
            .zip(corpus.iter().map(|(id, _)| id))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let gains: Vec<f64> = ranked
            .iter()
            .take(10)
            .map(|(_, d)| judgements[id].get(*d).copied().unwrap_or(0.0))
            .collect();
        let mut best: Vec<f64> = judgements[id].values().copied().collect();
        best.sort_by(|a, b| b.total_cmp(a));
        best.truncate(10);
        sum += discounted(&gains) / discounted(&best);
    }
    Ok(sum / asked.len() as f64)
}

fn discounted(gains: &[f64]) -> f64 {
    gains
        .iter()
        .enumerate()
        .map(|(rank, gain)| gain / (rank as f64 + 2.0).log2())
        .sum()
}

fn read_judgements(path: &Path) -> Result<Judgements> {
    let mut judgements = Judgements::new();
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [query, document, score] = fields.as_slice() else {
            bail!("{}: {line:?}", path.display())
        };
        let score: f64 = score.parse()?;
        if score > 0.0 {
            judgements
                .entry(query.to_string())
                .or_default()
                .insert(document.to_string(), score);
        }
    }
    Ok(judgements)
}

/// Ids and texts; a title goes before its text.
fn read_texts(path: &Path) -> Result<Vec<(String, String)>> {
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line)?;
        let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let text = format!("{} {}", field("title"), field("text"));
        Ok((
            value
                .get("_id")
                .and_then(Value::as_str)
                .context("no _id")?
                .to_string(),
            text.trim().to_string(),
        ))
    };
    std::fs::read_to_string(path)?.lines().map(parse).collect()
}
