//! Here is a file of conversations or texts, give me token sequences with marks of what is learned, and their order.
//!
//! [`read`] recognises the format and names every line that is no example; [`prepare`] cuts examples into tokens through the
//! model's own chat template; [`split`] holds some out; [`Schedule`] says which example comes when; [`micro_batches`] packs
//! them. Everything is a function of the file's bytes, the settings and a seed, so a run can be made again.

mod bad;
mod conversation;
mod error;
mod format;
mod lengths;
mod packing;
mod prepare;
mod read;
mod record;
mod schedule;
mod source;
mod split;

pub use bad::{BadLine, BadLines};
pub use conversation::{Body, Conversation, Turn};
pub use error::DatasetError;
pub use format::Format;
pub use lengths::lengths;
pub use packing::micro_batches;
pub use prepare::{Prepared, prepare};
pub use read::{Dataset, ReadOptions, parse, read};
pub use schedule::{Part, Pick, Position, Replay, Schedule, Walk};
pub use split::{Split, split};
