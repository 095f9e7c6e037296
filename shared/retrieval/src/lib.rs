//! Ranking and evidence, pure: candidates in, passages, prompts and true citations out. No I/O, no clock, no randomness.
//!
//! *Useful for* whatever has to happen between the indexes and the language model, and between the model and the reader:
//! fusion ([`reciprocal_rank_fusion`]), cutting ([`without_repetition`], [`pack`]), the prompt ([`Prompt`]), follow-up
//! questions ([`FollowUp`]), citations ([`resolve`]) and the decision to abstain ([`Relevance`]). *Not useful for* finding
//! candidates (`lore-index`) or writing text (`lore-model`).

mod background;
mod citations;
mod draft;
mod followup;
mod fusion;
mod language;
mod markers;
mod numbers;
mod phrases;
mod prompt;
mod relevance;
mod selection;
mod sentences;
mod support;
mod terms;
mod words;

pub use background::BACKGROUND;
pub use citations::{CitationSettings, Resolved, resolve};
pub use draft::Draft;
pub use followup::FollowUp;
pub use fusion::{Fused, FusionSettings, dense_only, lexical_only, reciprocal_rank_fusion};
pub use language::Language;
pub use prompt::{Prompt, passage_block};
pub use relevance::{DenseEvidence, Relevance, declines};
pub use selection::{Packed, pack, without_repetition};
pub use sentences::sentences;
