use std::path::Path;

use lore_config::{Config, Dense, Origin};

use crate::{load_with, options, problems};

#[test]
fn defaults_yield_to_the_file_the_file_to_the_environment_and_that_to_flags() {
    let file = "[ingest]\nworkers = 2\nmax_queue = 20\nembed_batch = 3\n";
    let config = load_with(file, |options| {
        options
            .env([
                ("LORE_INGEST_MAX_QUEUE", "30"),
                ("LORE_INGEST_EMBED_BATCH", "4"),
            ])
            .flag("--embed-batch", "ingest.embed_batch", "5")
    })
    .unwrap();
    let ingest = config.ingest;
    assert_eq!(
        (
            ingest.overlap_tokens,
            ingest.workers.get(),
            ingest.max_queue,
            ingest.embed_batch
        ),
        (32, 2, 30, 5)
    );
}

#[test]
fn a_setting_knows_who_said_it() {
    let config = Config::load(options().env([("LORE_DENSE_BACKEND", "embedded")])).unwrap();
    let setting = config
        .settings
        .iter()
        .find(|setting| setting.key == "dense.backend")
        .unwrap();
    assert_eq!(
        setting.origin,
        Origin::Variable("LORE_DENSE_BACKEND".to_owned())
    );
}

#[test]
fn default_folders_follow_xdg_and_home() {
    let home = Config::load(options()).unwrap();
    assert_eq!(
        home.storage.catalog,
        Path::new("/home/ada/.local/share/lore/catalog.db")
    );
    assert_eq!(home.models.dir, Path::new("/home/ada/.cache/lore/models"));
    let xdg =
        Config::load(options().env([("XDG_DATA_HOME", "/data"), ("XDG_CACHE_HOME", "/cache")]))
            .unwrap();
    assert_eq!(xdg.storage.data_dir, Path::new("/data/lore"));
    assert_eq!(xdg.models.dir, Path::new("/cache/lore/models"));
}

#[test]
fn a_data_dir_carries_catalog_lexical_and_dense_with_it() {
    let config = Config::load(options().env([("LORE_DATA_DIR", "~/work")])).unwrap();
    assert_eq!(config.storage.lexical, Path::new("/home/ada/work/lexical"));
    assert_eq!(
        config.dense,
        Dense::Embedded {
            dir: "/home/ada/work/dense".into()
        }
    );
}

#[test]
fn short_variables_work_and_the_long_form_wins() {
    let config = Config::load(options().env([("LORE_LISTEN", "127.0.0.1:1")])).unwrap();
    assert_eq!(config.server.listen.port(), 1);
    let both = options().env([
        ("LORE_LISTEN", "127.0.0.1:1"),
        ("LORE_SERVER_LISTEN", "127.0.0.1:2"),
    ]);
    assert_eq!(Config::load(both).unwrap().server.listen.port(), 2);
}

#[test]
fn a_mistyped_variable_is_refused_and_a_foreign_one_left_alone() {
    let config = options().env([
        ("LORE_INGEST_WORKRES", "2"),
        ("LORE_FAVOURITE_COLOUR", "blue"),
        ("LORE_URL", "x"),
    ]);
    assert_eq!(
        problems(Config::load(config)),
        ["LORE_INGEST_WORKRES: did you mean `LORE_INGEST_WORKERS`?"]
    );
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = Config::load(options().env([("LORE_LISTEN", ""), ("LORE_API_KEY", "")])).unwrap();
    assert_eq!(config.server.listen.port(), 7878);
    assert!(config.server.api_keys.is_empty());
}
