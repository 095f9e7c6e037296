//! Here is a conversation, give me an answer, token by token: sampling, stop texts, prefix reuse, continuous batching.

mod engine;
mod local;
mod prefix;
mod running;
mod sampler;
mod stop;

pub use local::{LocalGenerator, LocalSettings};
pub use sampler::Sampler;
