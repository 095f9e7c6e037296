//! Here are a decoder and examples, give me an adapter: the training loop, its checkpoints and what it measures.
//!
//! Nothing here knows of jobs, catalogs or HTTP; a run is a function of its [`Setup`] and of what its folder holds.

mod checkpoint;
mod data;
mod error;
pub(crate) mod files;
mod learning_rate;
mod looping;
pub(crate) mod metrics;
mod state;

pub(crate) use checkpoint::MODEL;
pub use checkpoint::{Checkpoints, State};
pub use data::Data;
pub use error::RunError;
pub(crate) use error::{chain, file};
pub use learning_rate::LearningRate;
pub(crate) use looping::lora_config;
pub use looping::train;

use lore_model::{Adapter, Decoder};
use lore_types::{Progress, StepMetrics, TrainingSettings};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a run works on.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The base model.
    pub decoder: &'a Decoder,
    /// Its name.
    pub base: &'a str,
    /// How to train.
    pub settings: &'a TrainingSettings,
    /// The examples.
    pub data: &'a Data,
    /// An adapter whose values are the first ones.
    pub start: Option<&'a Adapter>,
    /// The job's own folder: `checkpoints/` and `metrics.jsonl`. A run whose folder holds a checkpoint goes on from it.
    pub folder: &'a Path,
    /// Most bytes of memory that the process may hold.
    pub memory_limit: Option<u64>,
}

impl Setup<'_> {
    /// Its checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.folder.join("checkpoints"))
    }

    pub(crate) fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }
}

/// What the owner of a run wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Go on.
    Go,
    /// Write a checkpoint and end.
    Halt,
    /// End at once.
    Drop,
}

/// What a run tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// It begins, or goes on after a step.
    Begun {
        /// Steps done by an earlier process.
        after: u64,
        /// Steps in all.
        steps: u64,
        /// Values that are trained.
        parameters: u64,
    },
    /// A step or an evaluation is done.
    Measured(StepMetrics, Progress),
    /// A checkpoint is on disk.
    Checkpoint {
        /// Its step.
        step: u64,
        /// Whether it is the best so far.
        best: bool,
        /// What was measured then, in OpenAI's words.
        metrics: Map<String, Value>,
        /// Steps whose checkpoints were deleted.
        gone: Vec<u64>,
    },
    /// Something worth knowing.
    Warning(String),
}

/// The two ways in which a run and its owner talk.
pub struct Hooks<'a> {
    /// Asked between micro-batches.
    pub ask: Box<dyn Fn() -> Ask + 'a>,
    /// Told what happens.
    pub tell: Box<dyn FnMut(Notice) + 'a>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// All steps are done, or early stopping ended it. The result is the checkpoint of [`State::result`].
    Done(State),
    /// It was halted; its newest checkpoint is where it goes on.
    Halted(State),
    /// It was dropped.
    Dropped,
}
