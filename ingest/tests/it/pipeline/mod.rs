//! The service over HTTP on port 0, with real SQLite, embedded Qdrant, Tantivy, parser processes and MiniLM. Skipped, loudly,
//! where MiniLM or ONNX Runtime is not on this machine.

mod edges;
mod events;
mod faults;
mod flaky;
mod lore;
mod replacing;
mod uploads;
mod verifying;
