//! Every client command against a server with real models.

use crate::command::Home;
use crate::server::Server;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

const MODELS: [&str; 3] = ["smollm2-135m-instruct", "all-minilm-l6-v2", "onnxruntime"];
const SERVER: [(&str, &str); 4] = [
    ("LORE_MODELS_GENERATOR", MODELS[0]),
    ("LORE_MODELS_EMBEDDER", MODELS[1]),
    ("LORE_INGEST_MAX_DOCUMENT", "1 MiB"),
    ("LORE_SERVER_MAX_BODY", "1 MiB"),
];

/// The models that are missing, where any are.
fn missing(home: &Home) -> Vec<&'static str> {
    MODELS
        .into_iter()
        .filter(|model| home.run(&["models", "path", model]).code != Some(0))
        .collect()
}

fn handbook(home: &Home) {
    home.write(
        "docs/leave.md",
        "# Leave\n\n## Annual leave\n\nEvery employee has 28 days of annual leave a year.\n",
    );
    home.write(
        "docs/travel/hotels.txt",
        "A hotel in Berlin may cost 140 euros a night, breakfast included.\n",
    );
    home.write("docs/.git/config", "not a document");
    home.write("docs/logo.png", [0x89, b'P', b'N', b'G']);
}

#[test]
fn a_user_ingests_searches_asks_and_deletes() {
    let home = Home::new();
    let missing = missing(&home);
    if !missing.is_empty() {
        eprintln!(
            "SKIPPED: models are missing; fetch them with: lore models pull {}",
            missing.join(" ")
        );
        return;
    }
    let mut server = Server::start(&home, &[], &SERVER);
    server.ready(&home);
    handbook(&home);
    ingesting_tells_what_was_skipped(&home);
    documents_are_listed_and_downloaded(&home);
    searching_gives_passages(&home);
    asking_gives_an_answer_with_citations(&home);
    jobs_and_indexes_are_shown(&home);
    failures_have_their_exit_codes(&home);
    deleting_removes(&home);
    assert_eq!(server.terminate().code, Some(0));
}

/// Commands find the server by the data folder: no URL is named anywhere here.
fn ingesting_tells_what_was_skipped(home: &Home) {
    let first = home.run(&[
        "ingest",
        "-c",
        "hb",
        "--wait",
        "--metadata",
        r#"{"team": "hr"}"#,
        "docs",
        "--json",
    ]);
    assert_eq!(first.code, Some(0), "{first:?}");
    let jobs: Value = serde_json::from_str(&first.stdout).expect("JSON");
    assert_eq!(
        names(&jobs, "document_name"),
        ["leave.md", "travel/hotels.txt"]
    );
    assert!(
        jobs["data"]
            .as_array()
            .expect("jobs")
            .iter()
            .all(|job| job["status"] == "succeeded"),
        "{jobs}"
    );
    for said in [
        "docs/.git: hidden",
        "docs/logo.png: Lore does not read .png files",
        "2 skipped",
    ] {
        assert!(first.stderr.contains(said), "{said} in {}", first.stderr);
    }
    let again = home.run(&[
        "ingest",
        "-c",
        "hb",
        "--metadata",
        r#"{"team": "hr"}"#,
        "docs/**/*.*",
        "--json",
    ]);
    let accepted: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(names(&accepted, "name"), ["leave.md", "travel/hotels.txt"]);
    assert!(
        accepted["data"]
            .as_array()
            .expect("list")
            .iter()
            .all(|one| one["unchanged"] == true),
        "{accepted}"
    );
}

fn documents_are_listed_and_downloaded(home: &Home) {
    let list = home.json(&["documents", "list", "-c", "hb"]);
    assert_eq!(names(&list, "name"), ["leave.md", "travel/hotels.txt"]);
    let shown = home.json(&["documents", "show", "-c", "hb", "leave.md"]);
    assert_eq!(shown, list["data"][0]);
    let chunks = home.json(&["documents", "chunks", "-c", "hb", "leave.md"]);
    assert!(
        chunks["data"][0]["text"]
            .as_str()
            .expect("text")
            .contains("28 days"),
        "{chunks}"
    );
    let saved = home.run(&["documents", "download", "-c", "hb", "travel/hotels.txt"]);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    let original = std::fs::read(home.path().join("docs/travel/hotels.txt")).expect("original");
    assert_eq!(
        std::fs::read(home.path().join("hotels.txt")).expect("downloaded"),
        original
    );
    let again = home.run(&["documents", "download", "-c", "hb", "travel/hotels.txt"]);
    assert_eq!(again.code, Some(1), "it is not replaced: {again:?}");
}

fn searching_gives_passages(home: &Home) {
    let found = home.json(&[
        "search",
        "-c",
        "hb",
        "--limit",
        "1",
        "how much may a hotel in Berlin cost",
    ]);
    assert_eq!(names(&found, "document_name"), ["travel/hotels.txt"]);
    let none = home.json(&[
        "search",
        "-c",
        "hb",
        "--filter",
        r#"{"team": "it"}"#,
        "hotel",
    ]);
    assert_eq!(none["data"].as_array().map(Vec::len), Some(0));
    let told = home.run(&["search", "-c", "hb", "--explain", "hotel"]);
    assert!(
        told.stdout.contains("travel/hotels.txt") && told.stdout.contains("rank 1"),
        "{}",
        told.stdout
    );
    assert!(
        !told.stdout.contains('\u{1b}'),
        "no colours in a pipe: {:?}",
        told.stdout
    );
    a_reader_may_go_away(home);
}

/// `lore search … | head -1`
fn a_reader_may_go_away(home: &Home) {
    let mut command = home.command();
    command
        .args(["documents", "chunks", "-c", "hb", "leave.md"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("lore runs");
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.take().expect("stdout"))
        .read_line(&mut line)
        .expect("a line");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

fn asking_gives_an_answer_with_citations(home: &Home) {
    let answer = home.json(&[
        "ask",
        "-c",
        "hb",
        "--limit",
        "1", // the smallest model confuses passages
        "How many days of annual leave does every employee have?",
    ]);
    assert_eq!(answer["object"], "answer");
    assert_eq!(
        answer["citations"][0]["document_name"], "leave.md",
        "{answer}"
    );
    let told = home.run(&[
        "ask",
        "-c",
        "hb",
        "--limit",
        "1",
        "How many days of annual leave does every employee have?",
    ]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("[1] leave.md"), "{}", told.stdout);
}

fn jobs_and_indexes_are_shown(home: &Home) {
    let jobs = home.json(&["jobs", "list", "-c", "hb"]);
    let id = jobs["data"][0]["id"].as_str().expect("an id");
    assert_eq!(home.json(&["jobs", "show", id]), jobs["data"][0]);
    let watched = home.run(&["jobs", "watch", id, "--json"]);
    let last = watched.stdout.lines().last().expect("a state");
    assert_eq!(
        serde_json::from_str::<Value>(last).expect("JSON")["status"],
        "succeeded"
    );
    let report = home.json(&["index", "verify"]);
    assert_eq!(report["consistent"], true, "{report}");
}

fn failures_have_their_exit_codes(home: &Home) {
    home.write("bad/broken.pdf", "%PDF-1.7 this is no PDF");
    home.write("bad/good.md", "A good document about parking.");
    home.write("bad/large.txt", "x".repeat(2 << 20));
    let partial = home.run(&["ingest", "-c", "bad", "--wait", "bad"]);
    assert_eq!(partial.code, Some(5), "{partial:?}");
    for said in [
        "failed broken.pdf",
        "failed large.txt",
        "ingested 1 document into `bad`, 2 failed",
    ] {
        assert!(
            partial.stderr.contains(said),
            "{said} in {}",
            partial.stderr
        );
    }
    let listed = home.run(&["ingest", "-c", "bad", "bad", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(names(&listed, "name"), ["broken.pdf", "good.md"]);
    assert_eq!(listed["refused"][0]["name"], "large.txt", "{listed}");
    assert_eq!(
        listed["refused"][0]["error"]["code"], "body_too_large",
        "{listed}"
    );
    let absent = home.run(&["search", "-c", "nowhere", "x", "--json"]);
    let absent: Value = serde_json::from_str(&absent.stdout).expect("JSON");
    assert_eq!(absent["error"]["code"], "collection_not_found", "{absent}");
    assert!(absent["error"]["request_id"].is_string(), "{absent}");
    for absent in [
        &["search", "-c", "nowhere", "x"][..],
        &["documents", "show", "-c", "hb", "none.md"],
    ] {
        let ran = home.run(absent);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(3), ""),
            "{absent:?}: {}",
            ran.stderr
        );
    }
}

fn deleting_removes(home: &Home) {
    assert_eq!(
        home.run(&["documents", "delete", "-c", "hb", "leave.md"])
            .code,
        Some(0)
    );
    let left = home.json(&["documents", "list", "-c", "hb"]);
    assert_eq!(names(&left, "name"), ["travel/hotels.txt"]);
    let asked = home.run(&["collections", "delete", "hb"]);
    assert_eq!(asked.code, Some(2), "nobody can be asked: {asked:?}");
    assert_eq!(
        home.run(&["collections", "delete", "hb", "--yes"]).code,
        Some(0)
    );
    assert_eq!(home.run(&["collections", "show", "hb"]).code, Some(3));
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let items = list["data"].as_array().expect("a list").iter();
    let mut names: Vec<&str> = items.filter_map(|item| item[field].as_str()).collect();
    names.sort_unstable();
    names
}
