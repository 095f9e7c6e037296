//! Here are chunks with their vectors, give me those nearest to a question: the dense side (Qdrant, embedded or a
//! server) and the lexical side (BM25 in Tantivy), with filters pushed down into both.
//!
//! *Useful for* finding candidates. *Not useful for* joining the two sides, which is `lore-retrieval`'s, nor for keeping
//! text: the catalog is where a chunk's text is read from.

mod blocking;
mod edge;
mod error;
mod folder;
mod lexical;
mod order;
mod payload;
mod server;
mod side;
mod terms;
mod ties;
mod tuning;
mod vectors;

pub use edge::EdgeDense;
pub use error::IndexError;
pub use lexical::{TantivyReader, TantivyWriter};
pub use server::{ServerDense, ServerSettings};
pub use side::{Candidate, DenseIndex, IndexedChunk, IndexedId, LexicalReader, LexicalWriter};
