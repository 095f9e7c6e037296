//! The BM25 side: one Tantivy index per collection, written by one process and read by any.

mod analysis;
mod compound;
mod query;
mod reader;
mod schema;
mod snapshot;
mod stage;
mod stop;
mod writer;

pub use reader::TantivyReader;
pub use writer::TantivyWriter;
