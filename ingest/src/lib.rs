//! The ingest service: here is a file, make it findable.
//!
//! An upload is put on disk and into the catalog's queue before it is acknowledged; a worker parses it in a child
//! process, cuts it into chunks and embeds them; one indexer writes both indexes and then flips the catalog to the new
//! version, so that a search finds the old version or the new one, never none and never both.
//!
//! *Useful for* getting documents in and out, and for knowing how far they are. *Not useful for* searching: that is the
//! gateway's, which reads the same catalog and the same indexes.

mod backoff;
pub mod chunk;
mod difference;
mod error;
mod feed;
mod http;
mod indexer;
pub mod parse;
mod prepare;
mod prepared;
mod read;
mod service;
mod settings;
mod state;
mod sweep;
mod verify;
mod worker;
mod write;

pub use error::IngestError;
pub use http::{
    ChangeCollection, CreateCollection, DocumentDetails, UploadText, VerifyRequest, openapi,
};
pub use service::{IngestParts, IngestService};
pub use settings::IngestSettings;
