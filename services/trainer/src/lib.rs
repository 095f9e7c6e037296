//! The trainer service: here is a domain, give me an adapter.
//!
//! A job is on disk before it is acknowledged. One worker trains one job at a time on a thread of its own, writes
//! checkpoints from which a later process goes on, and registers the result with where it comes from; only a version whose
//! served logits are the trained ones is promoted.
//!
//! *Useful for* LoRA, QLoRA and full fine-tuning, and for keeping adapters in versions. *Not useful for* answering: the
//! gateway reads the same catalog and loads what was promoted.

mod base;
mod card;
pub mod dataset;
mod error;
mod estimate;
mod http;
mod job;
mod material;
mod memory;
mod parity;
mod problem;
mod registry;
pub mod run;
mod service;
mod settings;
mod state;
mod submit;
mod worker;

pub use error::TrainerError;
pub use http::{PromoteAdapter, openapi};
pub use problem::Problem;
pub use service::{FindModel, TrainerParts, TrainerService, TrainerSettings, device};
pub use settings::settings;
