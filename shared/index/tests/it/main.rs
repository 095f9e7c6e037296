//! What both sides promise, held against the real engines. The dense suite runs on the embedded engine always, and on a
//! Qdrant server where `QDRANT_URL` names one (`http://127.0.0.1:6334`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chunks;
mod crash;
mod dense;
mod edge;
mod filters;
mod lexical;
mod server;
