use std::path::PathBuf;

use lore_config::{Config, Dense, KEYS};
use toml::Table;

use crate::options;

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../configs")
        .join(name)
}

#[test]
fn the_shipped_file_holds_every_key_with_its_default_and_nothing_else() {
    let text = std::fs::read_to_string(shipped("lore.toml")).unwrap();
    let file: Table = text.parse().unwrap();
    let mut expected = Table::new();
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap();
        let section = expected
            .entry(section)
            .or_insert_with(|| Table::new().into());
        section
            .as_table_mut()
            .unwrap()
            .insert(name.to_owned(), key.default.to_value());
    }
    assert_eq!(file, expected);
}

#[test]
fn every_key_of_the_shipped_file_is_explained_above_it() {
    let text = std::fs::read_to_string(shipped("lore.toml")).unwrap();
    let mut previous = "";
    for line in text.lines() {
        let is_key = line.contains(" = ") && !line.starts_with('#');
        assert!(
            !is_key || previous.starts_with("# "),
            "`{line}` has no comment above it"
        );
        previous = line;
    }
}

#[test]
fn the_shipped_file_changes_nothing() {
    let defaults = Config::load(options()).unwrap();
    let mut shipped = Config::load(options().file(shipped("lore.toml"))).unwrap();
    shipped.settings.clone_from(&defaults.settings);
    assert_eq!(shipped, defaults);
}

#[test]
fn the_split_file_names_a_server_and_the_other_services() {
    let config = Config::load(options().file(shipped("split.toml"))).unwrap();
    assert!(matches!(config.dense, Dense::Server { .. }));
    assert!(config.services.ingest_url.is_some() && config.services.trainer_url.is_some());
}
