//! The gateway over HTTP, on real indexes, a real embedder and a real language model. Tests that need models say so and
//! pass where `lore models pull` was not run; `LORE_REQUIRE_MODELS=1` makes that a failure.

mod adapters;
mod answers;
mod chat;
mod client;
mod defaults;
mod embeddings;
mod generators;
mod proxies;
mod rig;
mod searches;
mod tiny;
