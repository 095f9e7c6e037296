//! The `lore` command as a user meets it: the real binary, its own folders, port 0, real models where they are here.

mod command;
mod edges;
mod flow;
mod offline;
mod server;
mod stopping;
mod tuning;
