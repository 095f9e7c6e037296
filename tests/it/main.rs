//! End-to-end tests: the real binary, real models, real indexes, HTTP on port 0.

mod answers;
mod finetune;
mod kill;
mod server;
mod split;
