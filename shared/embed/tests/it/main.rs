//! Tests against ONNX Runtime: with tiny models of every family always, with the real embedders where they are on the machine.

mod batches;
mod edges;
mod export;
mod models;
mod pool;
mod real;
mod rerank;
mod tokens;
