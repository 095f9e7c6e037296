//! A typed client of Lore's HTTP API: here is a server's address, give me its collections, documents, jobs and answers.
//!
//! *Useful for* the `lore` command and for tests that speak to a running server. *Not useful for* embedding Lore in a
//! process: the services are libraries themselves.
//!
//! Every call returns the API's own objects from `lore-types`. An answer of the server that is not a success is
//! [`ClientError::Api`] with the server's own words; a server that cannot be reached is [`ClientError::Unreachable`].

mod adapters;
mod ask;
mod chat;
mod client;
mod collections;
mod documents;
mod error;
mod events;
mod files;
mod fine_tuning;
mod jobs;
mod save;
mod server;
mod upload;

pub use adapters::{AdapterExport, AdapterFormat};
pub use ask::{AskEvent, AskRequest, SearchRequest};
pub use chat::{ChatEvent, ChatRequest};
pub use client::{Client, ClientSettings};
pub use collections::NewCollection;
pub use documents::DocumentQuery;
pub use error::ClientError;
pub use events::{ServerEvent, server_events};
pub use fine_tuning::FineTuningQuery;
pub use jobs::JobQuery;
pub use server::Readiness;
pub use upload::{TextUpload, Upload};
