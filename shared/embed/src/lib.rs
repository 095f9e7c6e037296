//! Here is a text, give me a unit vector; here are a question and passages, give me scores.
//!
//! Embedders and rerankers run in ONNX Runtime through fastembed. Where a model comes as weights (Hugging Face
//! safetensors, or the `E5S1` file), [`prepare`] exports it to ONNX once, beside the weights.
//!
//! - [`EmbedFiles::find`] → [`EmbedSettings`] → [`Embedder::load`]: blocking, on the calling thread.
//! - [`EmbedPool`]: the same for async callers, with a queue in which queries overtake passages.
//! - [`EmbedderRegistry`]: pools by name, loaded at first use.
//! - [`TokenCounter`]: what a chunker needs to know of a model's tokens.
//! - [`Reranker`], [`RerankPool`]: cross-encoders.
//!
//! # Precision
//! [`Precision::Float32`] is the default: it is exact for every model, also for a user's own whose vectors nobody knows, and a
//! batch changes nothing. [`Precision::Int8`] is there for who wants more speed. Milliseconds of CPU time per passage of 128 / 256
//! tokens (`examples/throughput.rs`, 2 threads, a processor with AVX2 and without VNNI, busy with other work), and the lowest
//! cosine to the known vectors of 8 texts:
//!
//! | | float32 | int8 | lowest cosine of int8 | resident memory |
//! |---|---|---|---|---|
//! | all-minilm-l6-v2 | 61 / 118 | 41 / 93 | 0.993 | 165 → 83 MB |
//! | multilingual-e5-small | 95 / 259 | 79 / 191 | 0.994 (0.999 but for the text `A`) | 340 → 320 MB |
//!
//! On processors with VNNI all products of int8 are in 8 bits, weights use all 8, and it is up to twice as fast as float32;
//! `docs/benchmarks.md` has figures.
//!
//! Other ways were slower than float32 there: `MatMulNBits` with 4 or 8 bits (0.6 to 0.8 of its speed), and quantising each row by
//! itself in ONNX's own operators (0.4). With all products in 8 bits and 8-bit weights int8 took 31 / 71 and 67 / 161 ms, but
//! the lowest cosines were 0.980 and 0.988.
//!
//! Useful for encoders with at most a few hundred million parameters on a CPU. Not useful for embedders that are decoders.

mod batch;
mod check;
mod embedder;
mod error;
mod fastembed_files;
mod files;
mod fingerprint;
mod info;
mod model_tokenizer;
mod onnx;
mod pieces;
mod pool;
mod prepare;
mod profile;
mod queue;
mod registry;
mod rerank;
mod runtime;
mod session;
mod settings;
mod tokens;
mod trie;
mod worker;

pub use batch::Embeddings;
pub use embedder::Embedder;
pub use error::EmbedError;
pub use files::EmbedFiles;
pub use info::EmbedderInfo;
pub use pool::EmbedPool;
pub use prepare::{Prepared, prepare};
pub use registry::EmbedderRegistry;
pub use rerank::{RerankPool, Reranker};
pub use runtime::physical_cores;
pub use settings::{EmbedProfile, EmbedSettings, Pooling, Precision};
pub use tokens::{EmbedTokenizer, TokenCounter};
