//! Passages to vectors.

use crate::protocol::{Round, serve};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lore_embed::{EmbedFiles, EmbedSettings, Embedder, Precision, prepare};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// The numbers that the embedder computes with.
#[derive(Clone, Copy, ValueEnum)]
enum Numbers {
    Float32,
    Int8,
}

/// Passages to vectors.
#[derive(Args)]
pub struct Embed {
    /// The folder of models
    #[arg(long)]
    models: PathBuf,
    #[arg(long, default_value = "multilingual-e5-small")]
    embedder: String,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, value_enum, default_value = "float32")]
    precision: Numbers,
    /// A JSON array of texts
    #[arg(long)]
    texts: PathBuf,
    /// Texts of a round; the next round takes the next ones
    #[arg(long, default_value_t = 400)]
    per_round: usize,
}

impl Embed {
    /// Does rounds.
    pub fn run(self) -> Result<()> {
        let began = Instant::now();
        let texts: Vec<String> = serde_json::from_slice(&std::fs::read(&self.texts)?)?;
        let files = EmbedFiles::find(&self.embedder, self.models.join(&self.embedder))?;
        let runtime = self.models.join("onnxruntime/libonnxruntime.so");
        let mut settings = EmbedSettings::new(files, runtime);
        settings.threads = self.threads;
        settings.precision = match self.precision {
            Numbers::Float32 => Precision::Float32,
            Numbers::Int8 => Precision::Int8,
        };
        let file = prepare(&settings)?.onnx;
        let mut embedder = Embedder::load(&settings)?;
        serve("lore", began, json!({ "file": file }), |round| {
            let rounds = (texts.len() / self.per_round).max(1);
            let mut parts = texts.chunks(self.per_round);
            let texts = parts.nth(round % rounds).context("there are no texts")?;
            let start = Instant::now();
            let embedded = embedder.embed_passages(texts)?;
            let seconds = start.elapsed().as_secs_f64();
            let mut done = Round::new(embedded.vectors.len(), seconds);
            let tokens: usize = embedded.tokens.iter().sum();
            done.extra.insert("tokens".to_owned(), json!(tokens));
            Ok(done)
        })
    }
}
