//! Configuration of Lore: here is a file, an environment and flags, give me a [`Config`] that cannot be wrong, or every
//! problem at once.
//!
//! Precedence: defaults < file < environment < flags. Every setting is one [`Key`] of [`KEYS`]: its name, default and
//! whether it is secret; the layers are merged key by key, then each section is read into its checked type. The raw side
//! is that table instead of a serde struct because serde stops at the first error, and a person wants all of them.
//!
//! *Useful for* starting a service and explaining what it would do (`Config::settings`). *Not useful for* settings that
//! change while the service runs: a `Config` is read once.

mod check;
mod config;
mod key;
mod layers;
mod load;
mod nearest;
mod paths;
mod problem;
mod reader;
mod secret;
mod size;

pub use config::{
    Answer, Backend, Config, Dense, Device, Generator, Ingest, LogFormat, Models, Precision,
    Retrieval, Server, Services, Storage, Telemetry, Trainer,
};
pub use key::{DefaultValue, KEYS, Key};
pub use layers::{Origin, Setting};
pub use load::LoadOptions;
pub use problem::{ConfigErrors, Problem};
pub use secret::Secret;
pub use size::{ByteSize, ParseSizeError};
