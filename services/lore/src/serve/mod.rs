//! A running Lore: here is a configuration, give me a server that listens, loads its parts, and stops without losing work.

mod door;
mod edge;
mod generator;
mod health;
mod keys;
mod listen;
mod load;
pub mod lock;
mod measure;
pub mod models;
pub mod openapi;
mod parts;
mod readiness;
mod role;
mod server;
pub mod shutdown;
mod switch;
pub mod telemetry;
mod watch;

pub use role::Role;
pub use server::Server;

/// How the loading of models is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Bars, or lines every few seconds: a person waits.
    Bars,
    /// The log alone.
    Log,
}
