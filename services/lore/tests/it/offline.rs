//! Commands that need no server.

use crate::command::{Home, ran};
use std::net::TcpListener;
use std::path::Path;

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = Home::new().run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in [
        "serve",
        "demo",
        "ingest",
        "ask",
        "search",
        "documents",
        "collections",
        "jobs",
        "index",
        "models",
        "model",
        "chat",
        "finetune",
        "adapters",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {word} ")),
            "{word} in {}",
            help.stdout
        );
    }
    for code in 0..=8 {
        assert!(
            help.stdout.contains(&format!("\n  {code}  ")),
            "exit code {code} in {}",
            help.stdout
        );
    }
    assert!(!help.stdout.contains("parse-worker"), "{}", help.stdout);
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let home = Home::new();
    for args in [
        &["ask", "why"][..],
        &["nonsense"],
        &["jobs", "show", "not-an-id"],
        &["ingest", "-c", "a"],
    ] {
        assert_eq!(home.run(args).code, Some(2), "{args:?}");
    }
    let filter = home.run(&["search", "-c", "a", "--filter", "{", "q"]);
    assert_eq!(filter.code, Some(2), "{filter:?}");
    assert!(
        filter.stderr.contains("--filter is not JSON"),
        "{}",
        filter.stderr
    );
}

#[test]
fn a_server_that_does_not_answer_is_exit_code_4_with_a_hint() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its number");
    let asked = Home::new().run(&["collections", "list", "--url", &format!("http://{free}")]);
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(4), ""));
    assert!(
        asked
            .stderr
            .contains(&format!("no Lore server answers at http://{free}")),
        "{}",
        asked.stderr
    );
    assert!(asked.stderr.contains("lore serve"), "{}", asked.stderr);
    let told = Home::new().run(&[
        "collections",
        "list",
        "--json",
        "--url",
        &format!("http://{free}"),
    ]);
    let error: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(
        (told.code, &error["error"]["code"]),
        (Some(4), &"unreachable".into()),
        "{error}"
    );
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once() {
    let home = Home::new();
    let file = home.write(
        "lore.toml",
        "[ingest]\nworkers = 0\n[retrieval]\nrrf = 60\n",
    );
    let args = [
        "serve",
        "--config",
        file.to_str().expect("UTF-8"),
        "--listen",
        "0.0.0.0:0",
    ];
    let serve = home.run(&args);
    assert_eq!((serve.code, serve.stdout.as_str()), (Some(6), ""));
    for problem in ["ingest.workers", "retrieval.rrf", "API key"] {
        assert!(
            serve.stderr.contains(problem),
            "{problem} in {}",
            serve.stderr
        );
    }
    let doctor = home.run(&[
        "doctor",
        "--json",
        "--config",
        file.to_str().expect("UTF-8"),
    ]);
    assert_eq!(doctor.code, Some(1));
    let checks: serde_json::Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    let bad = checks["data"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["state"] == "bad");
    assert_eq!(bad.clone().count(), 2, "{checks}");
    assert!(
        bad.into_iter().all(|check| check["fix"].is_string()),
        "{checks}"
    );
}

#[test]
fn doctor_says_how_to_get_models_that_are_not_here() {
    let home = Home::new();
    let empty = home.path().join("no-models");
    let mut command = home.command();
    let doctor = ran(command.args(["doctor", "--models-dir"]).arg(&empty));
    assert!(
        doctor
            .stdout
            .contains("lore models pull multilingual-e5-small"),
        "{}",
        doctor.stdout
    );
    let mut command = home.command();
    let offline = ran(command
        .args(["doctor", "--set", "models.offline=true", "--models-dir"])
        .arg(&empty));
    assert_eq!(offline.code, Some(1), "{}", offline.stdout);
    assert!(
        offline.stdout.contains("models.offline = false"),
        "{}",
        offline.stdout
    );
}

#[test]
fn models_are_listed_and_unknown_ones_are_exit_code_3() {
    let home = Home::new();
    let models = home.json(&["models", "list"]);
    let models = models["data"].as_array().expect("models");
    let named = |name: &str| {
        models
            .iter()
            .find(|model| model["name"] == name)
            .expect("in the catalogue")
    };
    assert_eq!(named("multilingual-e5-small")["configured"], true);
    assert_eq!(named("smollm2-135m-instruct")["configured"], false);
    let unknown = home.run(&["models", "path", "multilingual-e5-smal"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(3), ""));
    assert!(
        unknown.stderr.contains("multilingual-e5-small"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Home::new().run(&["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(
            script.stdout.contains("collections"),
            "{shell}: {}",
            script.stdout
        );
        assert!(
            !script.stdout.contains("parse-worker") || shell != "fish",
            "{shell}"
        );
    }
}

#[test]
fn the_committed_openapi_is_what_this_build_serves() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let made = Home::new().run(&["openapi"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(
        committed == made.stdout,
        "docs/openapi.json is not what the code says; repair it with: cargo run -- openapi > docs/openapi.json"
    );
}

#[test]
fn paths_that_cannot_be_ingested_are_named_before_anything_is_sent() {
    let home = Home::new();
    home.write("a/x.md", "one");
    home.write("b/x.md", "two");
    let missing = home.run(&["ingest", "-c", "c", "a", "nowhere"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    assert!(
        missing.stderr.contains("nowhere does not exist"),
        "{}",
        missing.stderr
    );
    let twice = home.run(&["ingest", "-c", "c", "a", "b"]);
    assert_eq!(twice.code, Some(2), "{twice:?}");
    assert!(
        twice.stderr.contains("would both be the document `x.md`"),
        "{}",
        twice.stderr
    );
    let nothing = home.run(&["ingest", "-c", "c", "*.pdf"]);
    assert_eq!(nothing.code, Some(3), "{nothing:?}");
}
