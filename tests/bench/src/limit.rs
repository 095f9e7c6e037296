//! What the machine can do: how fast its memory is read, and how fast it multiplies matrices of float32.

use crate::protocol::{Round, serve};
use anyhow::Result;
use clap::Args;
use lore_model::{Device, Tensor};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

/// Bytes that a round reads, more than any cache holds.
const BYTES: usize = 1 << 30;
/// Rows and columns of the matrices.
const SIDE: usize = 2048;

/// Reads memory and multiplies matrices.
#[derive(Args)]
pub struct Limit {
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl Limit {
    /// Does rounds.
    pub fn run(self) -> Result<()> {
        let began = Instant::now();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()?;
        let numbers = vec![1u64; BYTES / 8];
        let matrix = Tensor::rand(-1f32, 1f32, (SIDE, SIDE), &Device::Cpu)?;
        serve("lore", began, json!({}), |_| {
            let start = Instant::now();
            let part = numbers.len() / self.threads;
            pool.scope(|scope| {
                for part in numbers.chunks(part) {
                    scope.spawn(move |_| {
                        let _ = black_box(sum(part));
                    });
                }
            });
            let reading = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let _ = black_box(pool.install(|| matrix.matmul(&matrix))?);
            let multiplying = start.elapsed().as_secs_f64();
            let mut round = Round::new(1, reading + multiplying);
            let bandwidth = BYTES as f64 / reading / 1e9;
            let rate = 2.0 * (SIDE as f64).powi(3) / multiplying / 1e9;
            round
                .extra
                .insert("gigabytes_per_second".to_owned(), json!(bandwidth));
            round.extra.insert("gigaflops".to_owned(), json!(rate));
            Ok(round)
        })
    }
}

/// Eight sums beside each other, so that the addition never waits.
fn sum(numbers: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    for some in numbers.chunks_exact(sums.len()) {
        for (sum, number) in sums.iter_mut().zip(some) {
            *sum = sum.wrapping_add(*number);
        }
    }
    sums.iter().fold(0, |sum, one| sum.wrapping_add(*one))
}
