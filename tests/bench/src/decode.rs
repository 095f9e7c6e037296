//! Decode and prefill of Lore's own decoder, as its server calls it.

use crate::adapter;
use crate::protocol::{Round, serve};
use anyhow::Result;
use clap::Args;
use lore_model::{Adapter, Decoder, Device, KvCache, Products, Segment, Source, Wanted};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Tokens of a prompt that are computed at once, as llama.cpp's `n_batch`.
const PIECE: usize = 512;

/// Tokens one by one.
#[derive(Args)]
pub struct Decode {
    /// A GGUF file or a folder of safetensors
    #[arg(long)]
    model: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Tokens before the measured ones
    #[arg(long, default_value_t = 32)]
    prompt: usize,
    /// Measured tokens
    #[arg(long, default_value_t = 96)]
    new: usize,
    /// Rank of an unmerged adapter with random values on all linear layers; 0 for none
    #[arg(long, default_value_t = 0)]
    adapter_rank: usize,
}

impl Decode {
    /// Does rounds.
    pub fn run(self) -> Result<()> {
        let began = Instant::now();
        let decoder = load(&self.model, self.threads)?;
        let rank = self.adapter_rank;
        let adapter = (rank > 0).then(|| adapter::random(&decoder, rank, 1));
        let adapter = adapter.transpose()?;
        let facts = facts(&decoder, 0)?;
        serve("lore", began, facts, |_| {
            let mut cache = decoder.new_cache()?;
            let prompt = prompt(&decoder, self.prompt)?;
            feed(&decoder, &mut cache, &prompt, adapter.as_ref())?;
            let start = Instant::now();
            for index in 0..self.new {
                let token = [u32::try_from(index * 31 % decoder.settings().vocab_size)?];
                step(&decoder, &mut cache, &token, adapter.as_ref())?;
            }
            Ok(Round::new(self.new, start.elapsed().as_secs_f64()))
        })
    }
}

/// A prompt as a whole.
#[derive(Args)]
pub struct Prefill {
    /// A GGUF file or a folder of safetensors
    #[arg(long)]
    model: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 1024)]
    tokens: usize,
}

impl Prefill {
    /// Does rounds.
    pub fn run(self) -> Result<()> {
        let began = Instant::now();
        let decoder = load(&self.model, self.threads)?;
        let tokens = prompt(&decoder, self.tokens)?;
        let facts = facts(&decoder, self.tokens)?;
        serve("lore", began, facts, |_| {
            let mut cache = decoder.new_cache()?;
            let start = Instant::now();
            feed(&decoder, &mut cache, &tokens, None)?;
            Ok(Round::new(tokens.len(), start.elapsed().as_secs_f64()))
        })
    }
}

fn load(model: &Path, threads: usize) -> Result<Decoder> {
    let source = Source::open(model)?;
    Ok(Decoder::load(&source, Some(4096), threads, &Device::Cpu)?)
}

/// Token ids that every contestant computes.
fn prompt(decoder: &Decoder, count: usize) -> Result<Vec<u32>> {
    let vocabulary = decoder.settings().vocab_size;
    let ids = (0..count).map(|index| u32::try_from(index * 7919 % vocabulary));
    Ok(ids.collect::<Result<_, _>>()?)
}

fn feed(
    decoder: &Decoder,
    cache: &mut KvCache,
    tokens: &[u32],
    adapter: Option<&Adapter>,
) -> Result<()> {
    let mut pieces = tokens.chunks(PIECE);
    pieces.try_for_each(|piece| step(decoder, cache, piece, adapter))
}

fn step(
    decoder: &Decoder,
    cache: &mut KvCache,
    tokens: &[u32],
    adapter: Option<&Adapter>,
) -> Result<()> {
    let mut segment = [Segment {
        tokens,
        cache,
        adapter,
    }];
    decoder.forward(&mut segment, Wanted::Last, Products::Integers)?;
    Ok(())
}

/// What the limits are computed from: bytes of weights that each decoded token reads, and operations of one prompt token.
fn facts(decoder: &Decoder, tokens: usize) -> Result<Value> {
    let (mut bytes, mut multiplications) = (0usize, 0usize);
    for linear in decoder.linears() {
        bytes += linear.weight.size_in_bytes();
        if linear.name != "lm_head" {
            let (outputs, inputs) = linear.weight.dims()?;
            multiplications += outputs * inputs;
        }
    }
    let settings = decoder.settings();
    let width = settings.num_attention_heads * settings.head_dim;
    // Query · key and share · value, each over the half of the prompt that a token sees on average.
    let attention = 2 * settings.layers.len() * width * tokens / 2;
    Ok(json!({
        "bytes_per_unit": bytes,
        "flops_per_unit": 2 * (multiplications + attention),
        "weight_bytes": decoder.size_in_bytes(),
    }))
}
