//! The configuration as a user meets it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod layers;
mod problems;
mod shipped;
mod values;

use lore_config::{Config, ConfigErrors, LoadOptions};

/// Loads `text` as the file, with only HOME in the environment.
fn load(text: &str) -> Result<Config, ConfigErrors> {
    load_with(text, |options| options)
}

fn load_with(
    text: &str,
    more: impl FnOnce(LoadOptions) -> LoadOptions,
) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lore.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(more(options().file(&path)))
}

fn options() -> LoadOptions {
    LoadOptions::default().env([("HOME", "/home/ada")])
}

/// `key: remedy` of every problem.
fn problems(result: Result<Config, ConfigErrors>) -> Vec<String> {
    let error = result.expect_err("the configuration is wrong");
    error
        .problems()
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.remedy))
        .collect()
}
