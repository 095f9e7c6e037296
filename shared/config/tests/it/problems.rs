use lore_config::{Config, ConfigErrors};

use crate::{load, options, problems};

#[test]
fn all_problems_are_reported_together_each_with_key_and_remedy() {
    let text = "
[ingest]
workers = 0
embed_bacth = 3
max_document = \"12 parsecs\"
parse_timeout = \"soon\"
[answer]
strict = \"maybe\"
temperature = 9
[dense]
backend = \"remote\"
[servre]
";
    assert_eq!(
        problems(load(text)),
        [
            "ingest.embed_bacth: did you mean `ingest.embed_batch`?",
            "servre: did you mean `[server]`?",
            "dense.backend: write \"embedded\" or \"server\"",
            "ingest.workers: write a whole number from 1 to 256",
            "ingest.max_document: write a size such as \"256 MiB\"",
            "ingest.parse_timeout: write one such as \"30s\" or \"2m\"",
            "answer.temperature: write a number from 0 to 2",
            "answer.strict: write true or false",
        ]
    );
}

#[test]
fn listening_for_other_machines_without_a_key_is_refused() {
    let open = load("[server]\nlisten = \"0.0.0.0:7878\"\n");
    assert_eq!(
        problems(open),
        ["server.listen: set server.api_keys (or LORE_API_KEY), or listen on 127.0.0.1"]
    );
    load("[server]\nlisten = \"0.0.0.0:7878\"\napi_keys = [\"correct-horse\"]\n").unwrap();
    load("[server]\nlisten = \"[::1]:7878\"\n").unwrap();
}

#[test]
fn settings_without_effect_or_beyond_the_api_are_refused() {
    let text = "
[models]
reranker = \"bge\"
[retrieval]
passages = 51
candidates = 100
[dense]
prefix = \"\"
";
    assert_eq!(
        problems(load(text)),
        [
            "models.reranker: leave it empty",
            "dense.prefix: write 1 to 64 of a-z A-Z 0-9 _ -, such as \"lore_\"",
            "retrieval.passages: write a whole number from 1 to 50",
        ]
    );
}

#[test]
fn an_empty_api_key_does_not_open_the_door() {
    let open = options().env([("LORE_LISTEN", "0.0.0.0:0"), ("LORE_API_KEY", " , ")]);
    assert_eq!(problems(Config::load(open)).len(), 1);
}

#[test]
fn a_problem_names_the_variable_or_flag_it_came_from() {
    let config =
        options()
            .env([("LORE_INGEST_WORKERS", "many")])
            .flag("--listen", "server.listen", "7878");
    let found = problems(Config::load(config));
    assert!(
        found[0].starts_with("--listen (server.listen): "),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("LORE_INGEST_WORKERS (ingest.workers): "),
        "{found:?}"
    );
}

#[test]
fn contradictions_between_keys_are_found() {
    let cases = [
        ("[dense]\nbackend = \"server\"\n", "dense.url"),
        ("[dense]\nurl = \"http://127.0.0.1:6334\"\n", "dense.url"),
        (
            "[generator]\nbackend = \"openai\"\nbase_url = \"http://a/v1\"\n",
            "generator.model",
        ),
        ("[generator]\nmodel = \"x\"\n", "generator.model"),
        ("[ingest]\noverlap_tokens = 200\n", "ingest.overlap_tokens"),
        (
            "[ingest]\nmax_document = \"1 GiB\"\n",
            "ingest.max_document",
        ),
        (
            "[ingest]\nkeep_finished_jobs = \"59m\"\n",
            "ingest.keep_finished_jobs",
        ),
        (
            "[ingest]\nkeep_finished_jobs = \"long\"\n",
            "ingest.keep_finished_jobs",
        ),
        ("[models]\nprecision = \"int4\"\n", "models.precision"),
        ("[retrieval]\npassages = 60\n", "retrieval.passages"),
        (
            "[retrieval]\ndense_weight = 0\nlexical_weight = 0\n",
            "retrieval.dense_weight",
        ),
        (
            "[answer]\nabstain_sentence = \"\"\n",
            "answer.abstain_sentence",
        ),
        ("[models]\nembedder = \"\"\n", "models.embedder"),
        (
            "[services]\ningest_url = \"localhost:7879\"\n",
            "services.ingest_url",
        ),
    ];
    for (text, key) in cases {
        let found = problems(load(text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(key), "{text}: {found:?}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let missing = Config::load(options().file("/nowhere/lore.toml")).unwrap_err();
    assert!(
        matches!(missing, ConfigErrors::Read { .. })
            && missing.to_string().contains("/nowhere/lore.toml")
    );
    let syntax = load("[server\n").unwrap_err();
    assert!(
        matches!(syntax, ConfigErrors::Syntax { .. }) && syntax.to_string().contains("line 1"),
        "{syntax}"
    );
}

#[test]
fn without_a_home_the_folders_must_be_named() {
    let found = problems(Config::load(lore_config::LoadOptions::default()));
    assert_eq!(found.len(), 2, "{found:?}");
    let named = [("LORE_DATA_DIR", "/d"), ("LORE_MODELS_DIR", "/m")];
    Config::load(lore_config::LoadOptions::default().env(named)).unwrap();
}
