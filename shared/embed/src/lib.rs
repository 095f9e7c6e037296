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
//! Useful for encoders with at most a few hundred million parameters on a CPU. Not useful for embedders that are decoders.

mod batch;
mod check;
mod embedder;
mod error;
mod fastembed_files;
mod files;
mod fingerprint;
mod info;
mod onnx;
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
