//! Tests of the decoder against numbers from elsewhere, and of what it promises.

mod adapters;
mod batches;
mod export;
mod folders;
mod formats;
mod full;
mod generation;
mod learned;
mod llama_cpp;
mod parity;
mod prompts;
mod refusals;
mod tiny;
mod training;
