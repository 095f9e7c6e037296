//! Measures passages per second: `throughput MODELS_DIR [THREADS]`.
//!
//! For each embedder, precision and length of passage: passages per second of the wall clock, and seconds of CPU time per
//! passage, which says more on a busy machine.

use anyhow::{Context, Result};
use lore_embed::{EmbedFiles, EmbedSettings, Embedder, Precision, TokenCounter};
use std::{path::PathBuf, time::Instant};

const PASSAGES: usize = 24;
const ROUNDS: usize = 3;
const WORDS: &str = "the pump moves water from the well to the tank while the seal keeps it from leaking and the motor turns the \
                     shaft at a constant speed until the float switch opens ";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let models = PathBuf::from(
        args.next()
            .context("usage: throughput MODELS_DIR [THREADS]")?,
    );
    let threads = args.next().map_or(Ok(2), |n| n.parse())?;
    for name in ["all-minilm-l6-v2", "multilingual-e5-small"] {
        for precision in [Precision::Float32, Precision::Int8] {
            let files = EmbedFiles::find(name, models.join(name))?;
            let mut settings =
                EmbedSettings::new(files, models.join("onnxruntime/libonnxruntime.so"));
            (settings.threads, settings.precision) = (threads, precision);
            let start = Instant::now();
            let mut embedder = Embedder::load(&settings)?;
            println!(
                "{name} {precision:?}: loaded in {:.1} s, {} MB resident",
                start.elapsed().as_secs_f32(),
                resident_mb()?
            );
            for tokens in [128, 256] {
                measure(&mut embedder, tokens)?;
            }
        }
    }
    Ok(())
}

fn measure(embedder: &mut Embedder, tokens: usize) -> Result<()> {
    let texts = vec![text_of(embedder, tokens); PASSAGES];
    embedder.embed_passages(&texts)?;
    let mut best = f64::INFINITY;
    let cpu = cpu_seconds()?;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let embedded = embedder.embed_passages(&texts)?;
        best = best.min(start.elapsed().as_secs_f64());
        assert!(
            embedded.tokens.iter().all(|read| *read == tokens),
            "{:?}",
            embedded.tokens
        );
    }
    let cpu = (cpu_seconds()? - cpu) / (ROUNDS * PASSAGES) as f64;
    println!(
        "  {tokens} tokens: {:.1} passages/s, {:.1} ms of CPU time each",
        PASSAGES as f64 / best,
        cpu * 1000.0
    );
    Ok(())
}

/// A passage that the model reads as exactly `tokens` tokens.
fn text_of(embedder: &Embedder, tokens: usize) -> String {
    let text = WORDS.repeat(tokens / 20 + 1);
    let wanted = tokens - embedder.tokenizer().special_tokens();
    let (_, end) = embedder.tokenizer().token_offsets(&text)[wanted - 1];
    text.chars().take(end).collect() // all of them are ASCII
}

/// User and system time of all threads.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat
        .rsplit_once(')')
        .context("no command in /proc/self/stat")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn resident_mb() -> Result<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident: usize = pages
        .split_whitespace()
        .nth(1)
        .context("no resident size")?
        .parse()?;
    Ok(resident * 4096 / 1_000_000)
}
