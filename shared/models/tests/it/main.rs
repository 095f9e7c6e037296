//! Catalogue and store as their users meet them.

mod catalogue;
mod hub;
#[cfg(unix)]
mod kill;
mod packages;
mod store;
mod support;
mod user_path;
mod verify;
