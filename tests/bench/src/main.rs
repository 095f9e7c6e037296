//! Lore's contestants in `tests/bench/run`: each loads once, says that it is ready, and does a round for every line it reads.

mod adapter;
mod decode;
mod embed;
mod fill;
mod limit;
mod protocol;
mod search;
mod together;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// A worker of `tests/bench/run`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    work: Work,
}

/// What a round is.
#[derive(Subcommand)]
enum Work {
    /// Tokens one by one after a short prompt
    Decode(decode::Decode),
    /// A prompt as a whole
    Prefill(decode::Prefill),
    /// Several requests at the server's generator, at once or one by one
    Together(together::Together),
    /// Passages to vectors
    Embed(embed::Embed),
    /// Questions to a collection of many chunks
    Search(search::Search),
    /// What the machine's memory and arithmetic can do
    Limit(limit::Limit),
}

fn main() -> Result<()> {
    match Arguments::parse().work {
        Work::Decode(work) => work.run(),
        Work::Prefill(work) => work.run(),
        Work::Together(work) => work.run(),
        Work::Embed(work) => work.run(),
        Work::Search(work) => work.run(),
        Work::Limit(work) => work.run(),
    }
}
