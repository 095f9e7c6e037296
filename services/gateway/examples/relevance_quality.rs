//! Measures the decision to abstain on labelled questions: `cargo run -p lore-gateway --example relevance_quality [DATA_DIR]`.
//!
//! Questions whose document is in the collection against questions about articles that are not, in English, in Chinese
//! and from Chinese to English. Prints how well the shipped weights tell them apart, and the weights that a logistic
//! regression on these questions would give. Needs `lore models pull multilingual-e5-small onnxruntime`; minutes.

use anyhow::{Context, Result};
use lore_embed::{EmbedFiles, EmbedPool, EmbedSettings};
use lore_index::{IndexedChunk, LexicalReader, LexicalWriter, TantivyReader, TantivyWriter};
use lore_retrieval::{
    BACKGROUND, DenseEvidence, FusionSettings, Relevance, reciprocal_rank_fusion,
};
use lore_types::{Chunk, ChunkId, DocumentId, Metadata, Passage, Span, VersionId};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Passages that the decision looks at.
const SHOWN: usize = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let root = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/work/shared/data".to_owned());
    let root = Path::new(&root);
    let embedder = embedder().await?;
    let english = Set::read(&root.join("qa/squad2_dev"), 4, 600)?;
    let chinese = Set::read(&root.join("retrieval/cmrc2018"), 80, 250)?;
    let across = Set::read_queries(&root.join("retrieval/xquad_zh2en"), 16, 600)?;
    let mut all = Vec::new();
    for (name, set, foreign) in [
        ("English", &english, &chinese),
        ("Chinese", &chinese, &english),
        ("Chinese to English", &across, &chinese),
    ] {
        let collection = Collection::make(set, &embedder).await?;
        let inside = collection.judge(&set.inside, &embedder).await?;
        let mut outside = collection.judge(&set.outside, &embedder).await?;
        if name == "Chinese to English" {
            outside.extend(
                collection
                    .judge(&foreign.inside[..40.min(foreign.inside.len())], &embedder)
                    .await?,
            );
        }
        report(name, &inside, &outside);
        all.extend(inside.into_iter().map(|relevance| (relevance, true)));
        all.extend(outside.into_iter().map(|relevance| (relevance, false)));
    }
    for across in [false, true] {
        let some: Vec<&(Relevance, bool)> = all
            .iter()
            .filter(|(relevance, _)| relevance.across_languages == across)
            .collect();
        println!(
            "fitted, across languages {across} ({} questions): bias, coverage, names missing, z = {:.2?}",
            some.len(),
            fit(&some)
        );
    }
    Ok(())
}

fn report(name: &str, inside: &[Relevance], outside: &[Relevance]) {
    let share = |some: &[Relevance]| {
        some.iter().filter(|one| one.is_relevant()).count() as f64 / some.len().max(1) as f64
    };
    let mean = |some: &[Relevance], of: &dyn Fn(&Relevance) -> f32| {
        some.iter().map(of).sum::<f32>() / some.len().max(1) as f32
    };
    let wins: usize = inside
        .iter()
        .map(|one| {
            outside
                .iter()
                .filter(|other| one.probability > other.probability)
                .count()
        })
        .sum();
    println!(
        "{name}: {} inside, {} outside; AUC {:.3}; answered {:.3} of those inside, {:.3} of those outside",
        inside.len(),
        outside.len(),
        wins as f64 / (inside.len() * outside.len()).max(1) as f64,
        share(inside),
        share(outside)
    );
    for (name, some) in [("inside", inside), ("outside", outside)] {
        println!(
            "  mean {name}: coverage {:.2}, names missing {:.2}, z {:.2}",
            mean(some, &|one| one.coverage),
            mean(some, &|one| one.names_missing),
            mean(some, &|one| one.z_score.unwrap_or_default())
        );
    }
}

/// Logistic regression by plain gradient descent, with a little weight decay.
fn fit(some: &[&(Relevance, bool)]) -> [f64; 4] {
    let mut weights = [0.0; 4];
    let count = |wanted: bool| {
        some.iter()
            .filter(|(_, inside)| *inside == wanted)
            .count()
            .max(1) as f64
    };
    let balance = [count(false), count(true)];
    for _ in 0..20_000 {
        let mut slope = [0.0; 4];
        for (relevance, inside) in some {
            let features = [
                1.0,
                f64::from(relevance.coverage),
                f64::from(relevance.names_missing),
                f64::from(relevance.z_score.unwrap_or_default()),
            ];
            let logit: f64 = weights
                .iter()
                .zip(features)
                .map(|(weight, feature)| weight * feature)
                .sum();
            let error = 1.0 / (1.0 + (-logit).exp()) - f64::from(u8::from(*inside));
            for (slope, feature) in slope.iter_mut().zip(features) {
                *slope += error * feature / balance[usize::from(*inside)];
            }
        }
        for (weight, slope) in weights.iter_mut().zip(slope) {
            *weight -= 0.2 * (slope + 0.002 * *weight);
        }
    }
    weights
}

/// Documents in the collection, questions about them, and questions about others.
struct Set {
    documents: Vec<(String, String, String)>,
    inside: Vec<String>,
    outside: Vec<String>,
}

impl Set {
    /// The first articles (by title) of a set are in the collection, the others are not; one question for each document.
    fn read(folder: &Path, articles: usize, characters: usize) -> Result<Self> {
        let corpus = jsonl(&folder.join("corpus.jsonl"))?;
        let mut titles: Vec<&str> = Vec::new();
        for document in &corpus {
            if !titles.contains(&text(&document["title"])) {
                titles.push(text(&document["title"]));
            }
        }
        let kept: HashSet<&str> = titles.into_iter().take(articles).collect();
        let inside_ids: HashSet<&str> = corpus
            .iter()
            .filter(|one| kept.contains(text(&one["title"])))
            .map(|one| text(&one["_id"]))
            .step_by(2)
            .collect();
        let kept_ids: HashSet<&str> = corpus
            .iter()
            .filter(|one| kept.contains(text(&one["title"])))
            .map(|one| text(&one["_id"]))
            .collect();
        let mut questions: BTreeMap<&str, String> = BTreeMap::new();
        let qa = jsonl(&folder.join("qa.jsonl"))?;
        for item in qa.iter().filter(|item| item["unanswerable"] == false) {
            questions
                .entry(text(&item["doc_ids"][0]))
                .or_insert_with(|| text(&item["question"]).to_owned());
        }
        let of = |wanted: &dyn Fn(&str) -> bool| {
            questions
                .iter()
                .filter(|(id, _)| wanted(id))
                .map(|(_, question)| question.clone())
                .take(70)
                .collect()
        };
        let documents = corpus
            .iter()
            .filter(|one| inside_ids.contains(text(&one["_id"])))
            .map(|one| document(one, characters))
            .take(80)
            .collect();
        Ok(Self {
            documents,
            inside: of(&|id| inside_ids.contains(id)),
            outside: of(&|id| !kept_ids.contains(id)),
        })
    }

    /// As [`Set::read`], from BEIR's files; here a document is kept or not, whatever its title.
    fn read_queries(folder: &Path, documents: usize, characters: usize) -> Result<Self> {
        let corpus = jsonl(&folder.join("corpus.jsonl"))?;
        let queries: HashMap<String, String> = jsonl(&folder.join("queries.jsonl"))?
            .iter()
            .map(|query| {
                (
                    text(&query["_id"]).to_owned(),
                    text(&query["text"]).to_owned(),
                )
            })
            .collect();
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for line in std::fs::read_to_string(folder.join("qrels.tsv"))?
            .lines()
            .skip(1)
        {
            let mut fields = line.split('\t');
            if let (Some(query), Some(id)) = (fields.next(), fields.next())
                && let Some(question) = queries.get(query)
            {
                first
                    .entry(id.to_owned())
                    .or_insert_with(|| question.clone());
            }
        }
        let mut titles: Vec<&str> = Vec::new();
        for one in &corpus {
            if !titles.contains(&text(&one["title"])) {
                titles.push(text(&one["title"]));
            }
        }
        let kept: HashSet<&str> = titles.into_iter().take(documents).collect();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for one in &corpus {
            if let Some(question) = first.get(text(&one["_id"])) {
                if kept.contains(text(&one["title"])) {
                    inside.push(question.clone())
                } else {
                    outside.push(question.clone())
                }
            }
        }
        let documents = corpus
            .iter()
            .filter(|one| kept.contains(text(&one["title"])))
            .map(|one| document(one, characters))
            .take(80)
            .collect();
        inside.truncate(70);
        outside.truncate(70);
        Ok(Self {
            documents,
            inside,
            outside,
        })
    }
}

fn document(one: &Value, characters: usize) -> (String, String, String) {
    let body: String = text(&one["text"]).chars().take(characters).collect();
    (
        text(&one["_id"]).to_owned(),
        text(&one["title"]).to_owned(),
        body,
    )
}

/// A collection in memory: exact cosines, and BM25 in Tantivy.
struct Collection {
    passages: HashMap<ChunkId, Passage>,
    vectors: Vec<(ChunkId, Vec<f32>)>,
    background: Vec<Vec<f32>>,
    lexical: TantivyReader,
    _folder: tempfile::TempDir,
}

impl Collection {
    async fn make(set: &Set, embedder: &EmbedPool) -> Result<Self> {
        let chunks: Vec<IndexedChunk> = set
            .documents
            .iter()
            .map(|(id, title, body)| chunk(id, title, body))
            .collect();
        let texts = chunks.iter().map(|one| one.chunk.text.clone()).collect();
        let vectors = embedder.embed_passages_waiting(texts).await?.vectors;
        let background = embedder
            .embed_passages_waiting(BACKGROUND.iter().map(|text| (*text).to_owned()).collect())
            .await?
            .vectors;
        let folder = tempfile::tempdir()?;
        let writer = TantivyWriter::open(folder.path())?;
        writer.create("c").await?;
        writer.upsert("c", &chunks).await?;
        writer.commit("c").await?;
        let vectors = chunks.iter().map(|one| one.chunk.id).zip(vectors).collect();
        let passages = chunks
            .into_iter()
            .map(|one| (one.chunk.id, passage(one)))
            .collect();
        Ok(Self {
            passages,
            vectors,
            background,
            lexical: TantivyReader::open(folder.path()),
            _folder: folder,
        })
    }

    async fn judge(&self, questions: &[String], embedder: &EmbedPool) -> Result<Vec<Relevance>> {
        let mut out = Vec::new();
        for question in questions {
            let vector = embedder.embed_query(question.clone()).await?;
            let mut dense: Vec<(ChunkId, f32)> = self
                .vectors
                .iter()
                .map(|(id, other)| (*id, dot(&vector, other)))
                .collect();
            dense.sort_by(|a, b| b.1.total_cmp(&a.1));
            dense.truncate(50);
            let lexical = self.lexical.search("c", question, None, 50).await?;
            let lexical: Vec<_> = lexical
                .into_iter()
                .map(|one| (one.chunk_id, one.score))
                .collect();
            let fused = reciprocal_rank_fusion(&dense, &lexical, &FusionSettings::default());
            let found: Vec<Passage> = fused
                .iter()
                .map(|one| self.passages[&one.chunk_id].clone())
                .collect();
            let pool: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
            let background: Vec<f32> = self
                .background
                .iter()
                .map(|other| dot(&vector, other))
                .collect();
            let evidence = dense.first().and_then(|best| {
                DenseEvidence::new(best.1, &self.passages[&best.0].text, &background)
            });
            out.push(Relevance::judge(
                question,
                &found[..SHOWN.min(found.len())],
                &pool,
                evidence,
            ));
        }
        Ok(out)
    }
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn chunk(id: &str, title: &str, body: &str) -> IndexedChunk {
    let document_id = DocumentId::derive("c", id);
    let version_id = VersionId::derive(document_id, 1);
    let chunk = Chunk {
        id: ChunkId::derive(version_id, 0),
        document_id,
        version_id,
        ordinal: 0,
        span: Span::new(0, body.len()),
        text: body.to_owned(),
        heading: vec![title.to_owned()],
        page: None,
        tokens: 200,
    };
    IndexedChunk {
        chunk,
        title: title.to_owned(),
        fields: BTreeMap::new(),
    }
}

fn passage(one: IndexedChunk) -> Passage {
    Passage {
        chunk_id: one.chunk.id,
        document_id: one.chunk.document_id,
        document_name: "document".to_owned(),
        version: 1,
        ordinal: 0,
        text: one.chunk.text,
        span: one.chunk.span,
        heading: one.chunk.heading,
        page: None,
        metadata: Metadata::new(),
        score: 0.0,
        scores: None,
    }
}

async fn embedder() -> Result<EmbedPool> {
    let configured = std::env::var_os("LORE_MODELS_DIR").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/lore/models"));
    let dir = configured
        .or(home)
        .context("LORE_MODELS_DIR or HOME has to be set")?;
    let files = EmbedFiles::find("multilingual-e5-small", dir.join("multilingual-e5-small"))?;
    Ok(EmbedPool::load(EmbedSettings::new(
        files,
        dir.join("onnxruntime/libonnxruntime.so"),
    ))
    .await?)
}

fn jsonl(path: &Path) -> Result<Vec<Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{} is needed", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {}", path.display())))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
