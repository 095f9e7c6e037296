//! Several requests with several adapters at the generator that the server uses.

use crate::adapter;
use crate::protocol::{Round, serve};
use anyhow::{Context, Result};
use clap::Args;
use lore_model::{GenerateEvent, GenerateRequest, Generator, LocalGenerator, LocalSettings};
use lore_types::{Message, Role, Sampling};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Subjects to write about, one a request.
const SUBJECTS: [&str; 8] = [
    "a lighthouse",
    "a railway",
    "the sea",
    "a garden",
    "a bridge",
    "the moon",
    "a market",
    "a library",
];
/// Adapters in use; one request in five asks the base model.
const ADAPTERS: usize = 4;

/// Eight requests.
#[derive(Args)]
pub struct Together {
    /// A GGUF file or a folder of safetensors
    #[arg(long)]
    model: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Each waits for the one before it
    #[arg(long)]
    one_by_one: bool,
    /// Tokens of each answer
    #[arg(long, default_value_t = 32)]
    new: usize,
    /// Requests answered together; the server's default where absent
    #[arg(long)]
    max_batch: Option<usize>,
}

impl Together {
    /// Does rounds.
    pub fn run(self) -> Result<()> {
        let began = Instant::now();
        let defaults = LocalSettings::default();
        let settings = LocalSettings {
            threads: self.threads,
            max_batch: self.max_batch.unwrap_or(defaults.max_batch),
            ..defaults
        };
        let batch = settings.max_batch;
        let generator = LocalGenerator::load(&self.model, settings)?;
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(load_adapters(&generator))?;
        serve("lore", began, json!({ "max_batch": batch }), |round| {
            let start = Instant::now();
            let tokens = runtime.block_on(self.answers(&generator, round))?;
            Ok(Round::new(tokens, start.elapsed().as_secs_f64()))
        })
    }

    /// The tokens of all answers.
    async fn answers(&self, generator: &LocalGenerator, round: usize) -> Result<usize> {
        let mut tokens = 0;
        let mut under_way = Vec::new();
        for number in 0..SUBJECTS.len() {
            let answer = answer(generator.clone(), request(number, round, self.new));
            if self.one_by_one {
                tokens += answer.await?;
            } else {
                under_way.push(tokio::spawn(answer));
            }
        }
        for answer in under_way {
            tokens += answer.await??;
        }
        Ok(tokens)
    }
}

async fn load_adapters(generator: &LocalGenerator) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for number in 0..ADAPTERS {
        let (name, seed) = (format!("adapter-{number}"), number as u64);
        let path = folder.path().join(&name);
        adapter::write(&path, generator.decoder(), 16, seed)?;
        generator.load_adapter(&name, &path).await?;
    }
    Ok(())
}

/// The round's number makes each prompt new, so that no kept prefix shortens it.
fn request(number: usize, round: usize, new: usize) -> GenerateRequest {
    let subject = SUBJECTS[number % SUBJECTS.len()];
    let text = format!("{round}. Write a long story about {subject}, with many details.");
    let adapter = number % (ADAPTERS + 1);
    GenerateRequest {
        messages: vec![Message::new(Role::User, text)],
        adapter: (adapter < ADAPTERS).then(|| format!("adapter-{adapter}")),
        sampling: Sampling {
            max_new_tokens: new,
            ..Sampling::default()
        },
    }
}

async fn answer(generator: LocalGenerator, request: GenerateRequest) -> Result<usize> {
    let mut events = generator.generate(request).await?;
    while let Some(event) = events.recv().await {
        if let GenerateEvent::Done { usage, .. } = event? {
            return Ok(usage.completion_tokens);
        }
    }
    None.context("the answer has no end")
}
