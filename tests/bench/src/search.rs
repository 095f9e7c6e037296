//! Questions whose vectors are known to a collection of many chunks, through the gateway's own search.

use crate::fill::{COLLECTION, Folder, fill, read_vectors};
use crate::protocol::{Round, serve};
use anyhow::{Context, Result};
use clap::Args;
use lore_config::{Config, LoadOptions};
use lore_embed::{EmbedError, EmbedderRegistry};
use lore_gateway::{Adapters, GatewayParts, GatewaySettings, GatewayState, NoGenerator};
use lore_index::{DenseIndex, LexicalReader, TantivyReader};
use lore_types::ChunkId;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Passages of an answer.
const LIMIT: usize = 10;
/// Candidates of each side, as the settings have them by default.
const CANDIDATES: usize = 50;

/// Questions.
#[derive(Args)]
pub struct Search {
    /// Holds `texts.json`, `vectors.f32`, `questions.json`, `questions.f32` and `truth.json`; the collection is made in `lore/`
    #[arg(long)]
    data: PathBuf,
    /// Questions asked at the same time in the second half of a round
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// A question and its vector.
struct Question {
    text: String,
    vector: Vec<f32>,
}

impl Search {
    /// Does rounds.
    pub fn run(self) -> Result<()> {
        let began = Instant::now();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(self.threads).enable_all().build()?;
        let folder = Folder(self.data.join("lore"));
        let ids = match folder.chunk_ids()? {
            Some(ids) => ids,
            None => runtime.block_on(fill(
                &folder,
                &self.data.join("texts.json"),
                &self.data.join("vectors.f32"),
            ))?,
        };
        let questions = Arc::new(self.questions()?);
        let dense = Arc::new(folder.dense()?);
        let recall = runtime.block_on(self.recall(&*dense, &questions, &ids))?;
        let parts = runtime.block_on(parts(&folder, &*dense, &questions))?;
        let state = runtime.block_on(gateway(&folder, dense))?;
        let facts = json!({ "recall_at_10": recall, "chunks": ids.len(), "parts_ms": parts });
        serve("lore", began, facts, |_| {
            let mut times = runtime.block_on(one_by_one(&state, &questions))?;
            let seconds: f64 = times.iter().sum();
            times.sort_unstable_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1e3;
            let together = runtime.block_on(at_once(&state, &questions, self.clients))?;
            let mut round = Round::new(questions.len(), seconds);
            round.extra.insert("p50_ms".to_owned(), json!(at(0.5)));
            round.extra.insert("p99_ms".to_owned(), json!(at(0.99)));
            let rate = questions.len() as f64 / together;
            round
                .extra
                .insert("clients_per_second".to_owned(), json!(rate));
            Ok(round)
        })
    }

    fn questions(&self) -> Result<Vec<Question>> {
        let texts: Vec<String> =
            serde_json::from_slice(&std::fs::read(self.data.join("questions.json"))?)?;
        let vectors = read_vectors(&self.data.join("questions.f32"))?;
        let both = texts.into_iter().zip(vectors);
        Ok(both
            .map(|(text, vector)| Question { text, vector })
            .collect())
    }

    /// The share of the truly nearest chunks that the vector side finds.
    async fn recall(
        &self,
        dense: &dyn DenseIndex,
        questions: &[Question],
        ids: &[ChunkId],
    ) -> Result<f64> {
        let truth: Vec<Vec<usize>> =
            serde_json::from_slice(&std::fs::read(self.data.join("truth.json"))?)?;
        let places: HashMap<ChunkId, usize> = ids.iter().copied().zip(0..).collect();
        let (mut found, mut all) = (0, 0);
        for (question, truth) in questions.iter().zip(&truth) {
            let vector = &question.vector;
            let nearest = dense.search(COLLECTION, vector, None, LIMIT).await?;
            let place = |id: &ChunkId| places.get(id).copied();
            found += nearest
                .iter()
                .filter_map(|one| place(&one.chunk_id))
                .filter(|place| truth.contains(place))
                .count();
            all += truth.len();
        }
        Ok(found as f64 / all as f64)
    }
}

/// A gateway as `lore serve` makes it, without embedder and language model.
async fn gateway(folder: &Folder, dense: Arc<dyn DenseIndex>) -> Result<GatewayState> {
    let config = Config::load(LoadOptions::default().process_env())?;
    let absent = |name: &str| {
        Err(EmbedError::unavailable(
            name,
            std::io::Error::other("not asked for"),
        ))
    };
    Ok(GatewayState::new(GatewayParts {
        catalog: folder.catalog().await?,
        dense,
        lexical: Arc::new(TantivyReader::open(folder.lexical())),
        embedders: EmbedderRegistry::new(absent),
        generator: Err(NoGenerator {
            model: "none".to_owned(),
            reason: "not asked for".to_owned(),
            hint: String::new(),
        }),
        adapters: Adapters::none(),
        settings: GatewaySettings::from(&config),
    }))
}

/// The median milliseconds of what a search is made of, each alone.
async fn parts(
    folder: &Folder,
    dense: &dyn DenseIndex,
    questions: &[Question],
) -> Result<BTreeMap<&'static str, f64>> {
    let catalog = folder.catalog().await?;
    let lexical = TantivyReader::open(folder.lexical());
    let mut times: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for Question { text, vector } in questions.iter().take(100) {
        let mut start = Instant::now();
        let mut note = |part, start: &mut Instant| {
            let times = times.entry(part).or_default();
            times.push(start.elapsed().as_secs_f64() * 1e3);
            *start = Instant::now();
        };
        catalog.collection(COLLECTION).await?;
        note("collection", &mut start);
        let near = dense.search(COLLECTION, vector, None, CANDIDATES).await?;
        note("dense", &mut start);
        let said = lexical.search(COLLECTION, text, None, CANDIDATES).await?;
        note("lexical", &mut start);
        let ids: Vec<ChunkId> = near.iter().chain(&said).map(|one| one.chunk_id).collect();
        catalog.passages(COLLECTION, &ids).await?;
        note("passages", &mut start);
    }
    let median = |mut times: Vec<f64>| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok(times
        .into_iter()
        .map(|(part, times)| (part, median(times)))
        .collect())
}

async fn ask(state: &GatewayState, question: &Question) -> Result<()> {
    let Question { text, vector } = question;
    let passages = state
        .search_by_vector(COLLECTION, text, vector, LIMIT)
        .await?;
    let texts: usize = passages.iter().map(|passage| passage.text.len()).sum();
    (texts > 0).then_some(()).context("nothing was found")
}

/// The seconds that each question takes.
async fn one_by_one(state: &GatewayState, questions: &[Question]) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(questions.len());
    for question in questions {
        let start = Instant::now();
        ask(state, question).await?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// The seconds that all questions take, of which `clients` are under way at any time.
async fn at_once(
    state: &GatewayState,
    questions: &Arc<Vec<Question>>,
    clients: usize,
) -> Result<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut asking = Vec::new();
    for _ in 0..clients {
        let (state, questions, next) = (state.clone(), Arc::clone(questions), Arc::clone(&next));
        asking.push(tokio::spawn(async move {
            while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
                ask(&state, question).await?;
            }
            Ok::<_, anyhow::Error>(())
        }));
    }
    for one in asking {
        one.await??;
    }
    Ok(start.elapsed().as_secs_f64())
}
