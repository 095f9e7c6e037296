//! Lore's LoRA step as a process of the benchmark: `lora_step MODEL [BATCH] [TOKENS] [RANK] [THREADS] [STEPS]`.
//!
//! Says `{"ready": true, …}` when the model is loaded; for each line `go` on its standard input it does STEPS steps and
//! prints `{"units": tokens, "seconds": …, "peak_bytes": …, "loss": …}`. `tests/bench/peers/peft_step.py` is its twin.
//!
//! One step: forward, backward, clipping, `AdamW`; adapters on all linear layers of the blocks, nothing recomputed.

use anyhow::{Context, Result};
use candle_core::Device;
use lore_model::train::{
    AdamW, AdamWSettings, Example, InitB, Parameters, TrainSettings, gradients, targets,
};
use lore_model::{Decoder, LoraConfig, Source};
use serde_json::json;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

const LEARNING_RATE: f64 = 2e-4;
const MOST_NORM: f64 = 1.0;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: lora_step MODEL [BATCH] [TOKENS] [RANK] [THREADS] [STEPS]";
    let model = arguments.next().context(usage)?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (batch, tokens, rank) = (number(4)?, number(256)?, number(16)?);
    let (threads, steps) = (number(2)?, number(1)?);

    let source = Source::open(Path::new(&model))?;
    let decoder = Decoder::load(&source, Some(tokens), threads, &Device::Cpu)?;
    drop(source);
    let config = LoraConfig {
        r: rank,
        lora_alpha: 2.0 * rank as f64,
        ..LoraConfig::default()
    };
    let parameters = Parameters::new(&decoder, config, InitB::Zero, 1)?;
    let mut optimiser = AdamW::new(&parameters, AdamWSettings::default());
    let examples = examples(batch, tokens, decoder.settings().vocab_size)?;
    println!("{}", json!({"ready": true, "name": "lore"}));
    for line in std::io::stdin().lock().lines() {
        if line?.trim() != "go" {
            continue;
        }
        let started = Instant::now();
        let mut loss = 0.0;
        for _ in 0..steps {
            loss = step(&decoder, &parameters, &mut optimiser, &examples)?;
        }
        println!(
            "{}",
            json!({
                "units": batch * tokens * steps,
                "seconds": started.elapsed().as_secs_f64(),
                "peak_bytes": peak(),
                "loss": loss,
            })
        );
    }
    Ok(())
}

/// The same tokens as in the twin; every token predicts the next one.
fn examples(batch: usize, tokens: usize, vocabulary: usize) -> Result<Vec<Example>> {
    let token = |index: usize| u32::try_from((index * 7919 + 17) % vocabulary);
    (0..batch)
        .map(|row| {
            let ids = (row * tokens..(row + 1) * tokens)
                .map(token)
                .collect::<Result<Vec<_>, _>>()?;
            let labels = ids.iter().map(|id| i64::from(*id)).collect();
            Ok(Example::new(ids, labels)?)
        })
        .collect()
}

fn step(
    decoder: &Decoder,
    parameters: &Parameters,
    optimiser: &mut AdamW,
    examples: &[Example],
) -> Result<f64> {
    let settings = TrainSettings {
        dropout: 0.0,
        seed: 0,
        checkpointing: false,
    };
    let (loss, mut gradients) =
        gradients(decoder, parameters, examples, targets(examples), settings)?;
    gradients.clip(parameters, MOST_NORM)?;
    optimiser.step(parameters, &gradients, LEARNING_RATE)?;
    Ok(loss)
}

/// Most memory that this process has held, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
