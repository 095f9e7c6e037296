//! End-to-end tests: the real binary, real models, real indexes, HTTP on port 0.
#![expect(missing_docs, reason = "tests name the facts they show")]

mod answers;
mod kill;
mod server;
mod split;
