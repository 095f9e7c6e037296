//! The gateway: here is a question, give me an answer with cited sources.
//!
//! It finds passages in both indexes, decides whether they are about the question, asks a language model through the one
//! prompt renderer, checks each sentence of the answer against the passages, and speaks both Lore's own API and OpenAI's.
//!
//! *Useful for* everything that reads: [`router`] over a [`GatewayState`], [`OpenAiGenerator`] to answer with another
//! server's model, [`proxy`] to stand before services that run apart. *Not useful for* writing documents (`lore-ingest`).

mod absent;
mod adapters;
mod answer;
mod ask;
mod background;
mod chat;
mod embeddings;
mod error;
mod generation;
mod measure;
mod models;
mod openai;
mod proxy;
mod retrieve;
mod routes;
mod search;
mod state;

pub use adapters::{AdapterError, AdapterParts, Adapters};
pub use ask::AskRequest;
pub use chat::{
    Alternative, AssistantMessage, ChatChunk, ChatCompletion, ChatMessage, ChatRequest, ChatUsage,
    Choice, ChunkChoice, Content, Delta, Logprobs, LoreDetails, Part, PromptTokens, Stop,
    StreamOptions, TokenProbability,
};
pub use embeddings::{
    Embedding, EmbeddingsRequest, EmbeddingsResponse, EmbeddingsUsage, Encoding, Input, InputType,
    Vector,
};
pub use error::GatewayError;
pub use models::{Lineage, Model};
pub use openai::{OpenAiGenerator, OpenAiSettings};
pub use proxy::proxy;
pub use routes::{openapi, router};
pub use search::SearchRequest;
pub use state::{GatewayParts, GatewaySettings, GatewayState, NoGenerator};
