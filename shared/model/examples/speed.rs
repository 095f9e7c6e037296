//! How fast a model is here: `cargo run --release -p lore-model --example speed -- MODEL [PROMPT_TOKENS] [NEW_TOKENS]`.
//!
//! Prints the time to load, tokens a second of prefill and decode, the memory of the weights, and a short answer.

use anyhow::{Context, Result};
use candle_core::Device;
use lore_model::{
    Decoder, GenerateEvent, GenerateRequest, Generator, LocalGenerator, LocalSettings, Products,
    Segment, Source, Tokenizer, Wanted,
};
use lore_types::{Message, Role, Sampling};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .context("usage: speed MODEL [PROMPT_TOKENS] [NEW_TOKENS]")?;
    let prompt: usize = arguments.next().map_or(Ok(512), |count| count.parse())?;
    let new: usize = arguments.next().map_or(Ok(64), |count| count.parse())?;
    let start = Instant::now();
    let source = Source::open(Path::new(&path))?;
    println!("open      {:.2} s", start.elapsed().as_secs_f32());
    let tokenizer = Tokenizer::load(&source)?;
    println!("tokenizer {:.2} s", start.elapsed().as_secs_f32());
    let decoder = Decoder::load(&source, Some(8192), 0, &Device::Cpu)?;
    println!(
        "load      {:.2} s, weights {} MB",
        start.elapsed().as_secs_f32(),
        decoder.size_in_bytes() >> 20
    );
    drop(source);
    measure(&decoder, prompt, new)?;
    measure(&decoder, prompt, new)?;
    memory();
    tokio::runtime::Runtime::new()?.block_on(talk(decoder, tokenizer))?;
    memory();
    Ok(())
}

fn measure(decoder: &Decoder, prompt: usize, new: usize) -> Result<()> {
    let vocabulary = u32::try_from(decoder.settings().vocab_size)?;
    let tokens: Vec<u32> = (0..u32::try_from(prompt)?)
        .map(|index| index * 7919 % vocabulary)
        .collect();
    let mut cache = decoder.new_cache()?;
    let (start, processor) = (Instant::now(), processor_seconds());
    for piece in tokens.chunks(512) {
        decoder.forward(
            &mut [Segment {
                tokens: piece,
                cache: &mut cache,
                adapter: None,
            }],
            Wanted::Last,
            Products::Integers,
        )?;
    }
    report("prefill", prompt, start, processor);
    let (start, processor) = (Instant::now(), processor_seconds());
    for index in 0..new {
        let token = [u32::try_from(index)? * 31 % vocabulary];
        decoder.forward(
            &mut [Segment {
                tokens: &token,
                cache: &mut cache,
                adapter: None,
            }],
            Wanted::Last,
            Products::Integers,
        )?;
    }
    report("decode", new, start, processor);
    Ok(())
}

/// Tokens a second, and for machines that are busy with other things: tokens a second of processor time.
fn report(phase: &str, tokens: usize, start: Instant, processor: f32) {
    let (seconds, busy) = (
        start.elapsed().as_secs_f32(),
        processor_seconds() - processor,
    );
    println!(
        "{phase:9} {:.1} tokens/s ({tokens} tokens), {:.1} tokens a processor second",
        tokens as f32 / seconds,
        tokens as f32 / busy
    );
}

/// Processor time of this process; Linux counts it in hundredths of a second.
fn processor_seconds() -> f32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f32>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
        .for_each(|line| println!("{line}"));
}

async fn talk(decoder: Decoder, tokenizer: Tokenizer) -> Result<()> {
    let generator = LocalGenerator::start(decoder, tokenizer, LocalSettings::default())?;
    for question in [
        "What is the capital of France? Answer in one sentence.",
        "Write a Python function that adds two numbers.",
        "用一句话介绍北京。",
    ] {
        let request = GenerateRequest {
            messages: vec![Message::new(Role::User, question)],
            sampling: Sampling {
                max_new_tokens: 48,
                ..Sampling::default()
            },
            adapter: None,
        };
        let mut events = generator.generate(request).await?;
        let mut answer = String::new();
        while let Some(event) = events.recv().await {
            match event? {
                GenerateEvent::Token { text, .. } => answer.push_str(&text),
                GenerateEvent::Done {
                    finish_reason,
                    usage,
                } => println!("{question}\n  {answer:?} {finish_reason:?} {usage:?}"),
            }
        }
    }
    Ok(())
}
