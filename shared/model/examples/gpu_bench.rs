//! One model on the GPU, measured: LoRA training with and without recomputing, prefill, decoding. `tests/bench/gpu/run.sh` runs it
//! beside PEFT and transformers on the same weights, adapter and tokens.
//!
//! usage: `gpu_bench MODEL_FOLDER ADAPTER_FOLDER TOKENS.safetensors OUT.json [--batch N] [--warm-up N] [--rate X] [--prompt N] [--new N]`
//!
//! `TOKENS` holds `tokens` (examples, length). Each part is written to `OUT` as soon as it is measured.

use anyhow::{Context, Result, bail};
use lore_model::train::{
    AdamW, AdamWSettings, Example, Parameters, TrainSettings, gradients, targets,
};
use lore_model::{
    Adapter, DType, Decoder, Device, DeviceChoice, Products, Segment, Source, Wanted,
    read_safetensors,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

struct Options {
    paths: Vec<PathBuf>,
    batch: usize,
    warm_up: usize,
    rate: f64,
    prompt: usize,
    new: usize,
}

fn options() -> Result<Options> {
    let mut options = Options {
        paths: Vec::new(),
        batch: 1,
        warm_up: 3,
        rate: 2e-4,
        prompt: 2048,
        new: 128,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("a value is missing");
        match argument.as_str() {
            "--batch" => options.batch = value()?.parse()?,
            "--warm-up" => options.warm_up = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--prompt" => options.prompt = value()?.parse()?,
            "--new" => options.new = value()?.parse()?,
            _ => options.paths.push(argument.into()),
        }
    }
    if options.paths.len() != 4 {
        bail!("usage: gpu_bench MODEL_FOLDER ADAPTER_FOLDER TOKENS.safetensors OUT.json [OPTIONS]");
    }
    Ok(options)
}

fn main() -> Result<()> {
    let options = options()?;
    let chosen = DeviceChoice::Auto.open()?;
    println!("computing on {}", chosen.reason);
    let start = Instant::now();
    let source = Source::open(&options.paths[0])?;
    let context = options.prompt + options.new + 1;
    let decoder = Decoder::load(&source, Some(context.max(2048)), 0, &chosen.device)?;
    wait(&chosen.device)?;
    let mut report = json!({
        "side": "lore", "device": chosen.reason, "load_seconds": start.elapsed().as_secs_f64(),
        "weight_bytes": decoder.size_in_bytes(),
    });
    let examples = examples(&options.paths[2])?;
    for checkpointing in [false, true] {
        let name = if checkpointing {
            "train_recomputing"
        } else {
            "train"
        };
        report[name] = train(&decoder, &options, &examples, checkpointing)
            .unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        write(&options.paths[3], &report)?;
    }
    report["generate"] =
        generate(&decoder, &options).unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
    write(&options.paths[3], &report)
}

fn write(path: &Path, report: &Value) -> Result<()> {
    Ok(std::fs::write(path, format!("{report:#}\n"))?)
}

fn wait(device: &Device) -> Result<()> {
    Ok(device.synchronize()?)
}

fn examples(path: &Path) -> Result<Vec<Example>> {
    let tokens = read_safetensors(path, &Device::Cpu)?
        .remove("tokens")
        .context("no `tokens`")?
        .to_dtype(DType::U32)?
        .to_vec2::<u32>()?;
    let example = |tokens: Vec<u32>| {
        let labels = tokens.iter().map(|token| i64::from(*token)).collect();
        Ok(Example::new(tokens, labels)?)
    };
    tokens.into_iter().map(example).collect()
}

#[cfg(feature = "cuda")]
fn memory(device: &Device, reset: bool) -> Value {
    match lore_model::device_memory(device, reset) {
        Ok(memory) => {
            json!({"used": memory.used, "peak": memory.peak, "reserved": memory.reserved})
        }
        Err(why) => json!({"error": why}),
    }
}

#[cfg(not(feature = "cuda"))]
fn memory(_: &Device, _: bool) -> Value {
    json!({"error": "built without CUDA"})
}

/// One step for each `batch` examples; those after the warm-up are timed together.
fn train(
    decoder: &Decoder,
    options: &Options,
    examples: &[Example],
    checkpointing: bool,
) -> Result<Value> {
    let adapter = Adapter::load(&options.paths[1], decoder, "bench", "bench")?;
    let parameters = Parameters::from_adapter(decoder, &adapter)?;
    let mut optimiser = AdamW::new(&parameters, AdamWSettings::default());
    let settings = TrainSettings {
        dropout: 0.0,
        seed: 0,
        checkpointing,
    };
    memory(decoder.device(), true);
    let (mut losses, mut tokens, mut start) = (Vec::new(), 0, Instant::now());
    for (step, batch) in examples.chunks(options.batch).enumerate() {
        if step == options.warm_up {
            wait(decoder.device())?;
            (start, tokens) = (Instant::now(), 0);
        }
        let (loss, gradients) = gradients(decoder, &parameters, batch, targets(batch), settings)?;
        optimiser.step(&parameters, &gradients, options.rate)?;
        losses.push(loss);
        tokens += batch
            .iter()
            .map(|example| example.tokens.len())
            .sum::<usize>();
    }
    wait(decoder.device())?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = tokens as f64 / seconds;
    println!("training (recomputing: {checkpointing}): {rate:.0} tokens/s");
    Ok(json!({
        "tokens_per_second": rate, "seconds": seconds, "tokens": tokens, "losses": losses,
        "memory": memory(decoder.device(), false),
    }))
}

/// Prefill of a prompt, then greedy decoding one token at a time; each once to warm up and three times for the median.
fn generate(decoder: &Decoder, options: &Options) -> Result<Value> {
    let vocabulary = u32::try_from(decoder.settings().vocab_size)?;
    let prompt: Vec<u32> = (0..u32::try_from(options.prompt)?)
        .map(|index| index * 7919 % vocabulary)
        .collect();
    let (mut prefills, mut decodes) = (Vec::new(), Vec::new());
    memory(decoder.device(), true);
    for _ in 0..4 {
        let mut cache = decoder.new_cache()?;
        let mut next = |tokens: &[u32]| -> Result<u32> {
            let cache = &mut cache;
            let segment = Segment {
                tokens,
                cache,
                adapter: None,
            };
            let logits = decoder.forward(&mut [segment], Wanted::Last, Products::Integers)?;
            Ok(logits.argmax(1)?.to_vec1::<u32>()?[0])
        };
        let start = Instant::now();
        let mut token = next(&prompt)?;
        prefills.push(options.prompt as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        for _ in 0..options.new {
            token = next(&[token])?;
        }
        decodes.push(options.new as f64 / start.elapsed().as_secs_f64());
    }
    let (prefill, decode) = (median(&prefills[1..]), median(&decodes[1..]));
    println!("prefill {prefill:.0} tokens/s, decode {decode:.1} tokens/s");
    Ok(json!({
        "prefill_tokens_per_second": prefill, "decode_tokens_per_second": decode,
        "prefills": prefills, "decodes": decodes, "memory": memory(decoder.device(), false),
    }))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
