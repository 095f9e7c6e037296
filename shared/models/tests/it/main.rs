//! Catalogue and store as their users meet them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod catalogue;
mod hub;
#[cfg(unix)]
mod kill;
mod packages;
mod store;
mod support;
mod user_path;
mod verify;
