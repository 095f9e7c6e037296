//! Here are examples, give me gradients and a better adapter: the training path over the same weights as serving.
//!
//! Everything here has a backward pass. Frozen weights stand outside the graph: no gradient of theirs is computed or kept.
//! Adapters are trained on the CPU without a tape (`explicit.rs`); full fine-tuning and other devices use candle's tape.

mod adamw;
mod dropout;
mod example;
mod explicit;
mod forward;
mod gradients;
mod loss;
mod ops;
mod parameters;
#[cfg(any(feature = "cuda", test))]
mod tape;
mod update;

pub use adamw::{AdamW, AdamWSettings, Moments};
pub use example::{Example, IGNORED, targets};
pub use forward::{TrainSettings, evaluate, gradients, tape_gradients, train_logits};
pub use gradients::Gradients;
pub use parameters::{InitB, Parameters};
