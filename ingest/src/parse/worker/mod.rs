//! Parsing in a child process: what a hostile document can reach is bounded in time and memory, and a crash is an error.
//!
//! The parent and the child speak frames over the child's standard input and output: eight bytes of length, little-endian,
//! then JSON. The first frame says the limits, each further one asks for a document, and each is answered by one frame. The
//! child lives on from document to document; after any failure the parent replaces it. When the parent dies or drops the
//! child, the child's input ends, and it ends itself at once, whatever it is doing.

mod child;
mod frame;
mod pool;
mod process;

pub use child::worker_main;
pub use pool::{ParserPool, PoolSettings, WorkerCommand};

use super::settings::ParseSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which document to parse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParseRequest {
    /// The file that holds its bytes.
    pub path: PathBuf,
    /// Its external name; only the extension is used, and only where the bytes leave a doubt.
    pub name: String,
    /// The MIME type or the name of the format that its sender gave.
    pub declared_type: Option<String>,
}

/// The first frame: what holds for every document.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Setup {
    parse: ParseSettings,
    /// Bytes of address space.
    memory: u64,
}
