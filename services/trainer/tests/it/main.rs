//! Tests of the trainer: data sets, settings, runs, and the service over HTTP.

mod dataset;
mod disk;
mod lore;
mod registry;
mod runs;
mod service;
mod settings;
mod tiny;
