//! Tests against ONNX Runtime: with tiny models of every family always, with the real embedders where they are on the machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batches;
mod edges;
mod export;
mod models;
mod pool;
mod real;
mod rerank;
mod tokens;
