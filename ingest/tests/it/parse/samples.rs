use super::{pdfium, samples, settings};
use lore_ingest::parse::{
    ParseError, ParseRequest, Parsed, ParserPool, PoolSettings, WorkerCommand,
};
use std::path::Path;
use std::time::Duration;

const FORMATS: [&str; 5] = ["pdf", "docx", "html", "md", "txt"];

/// The entries of the manifest.
fn manifest(folder: &Path) -> Vec<serde_json::Value> {
    let lines = std::fs::read_to_string(folder.join("manifest.jsonl")).expect("the manifest");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn pool() -> ParserPool {
    let worker = WorkerCommand {
        exe: env!("CARGO_BIN_EXE_lore-parse-worker").into(),
        args: Vec::new(),
    };
    ParserPool::new(PoolSettings {
        worker,
        workers: 2,
        timeout: Duration::from_secs(120),
        memory: 2 << 30,
        parse: settings(),
    })
}

async fn parse(pool: &ParserPool, folder: &Path, path: &str) -> Result<Parsed, ParseError> {
    pool.parse(&ParseRequest {
        path: folder.join(path),
        name: path.to_owned(),
        declared_type: None,
    })
    .await
}

fn check(path: &str, parsed: &Parsed) {
    let text = &parsed.text;
    assert!(
        !text.trim().is_empty() && !text.contains(['\0', '\r']),
        "{path}"
    );
    assert!(
        text.trim().len() == text.trim_end().len(),
        "{path} starts with white space"
    );
    assert!(
        parsed.pages.is_sorted() && parsed.pages.iter().all(|page| text.is_char_boundary(*page)),
        "{path}"
    );
    for heading in &parsed.headings {
        assert!(
            text.get(heading.offset..)
                .is_some_and(|rest| rest.starts_with(&heading.text)),
            "{path}: {heading:?}"
        );
    }
}

#[tokio::test]
async fn every_sample_ends_in_text_or_in_a_reason() {
    let (Some(folder), Some(_)) = (samples(), pdfium()) else {
        return;
    };
    let pool = pool();
    for entry in manifest(&folder) {
        let path = entry["path"].as_str().expect("a path");
        let good = entry["cls"] == "good"
            && FORMATS.contains(&entry["format"].as_str().expect("a format"));
        match parse(&pool, &folder, path).await {
            Ok(parsed) => check(path, &parsed),
            Err(error) => {
                let needs_recognition = entry["note"]
                    .as_str()
                    .is_some_and(|note| note.contains("OCR"));
                assert!(
                    !good || (needs_recognition && error.code() == "no_text"),
                    "{path}: {error}"
                );
                let is_a_reason = !matches!(
                    error,
                    ParseError::Crashed { .. } | ParseError::Unavailable { .. }
                );
                assert!(is_a_reason && error.hint().is_some(), "{path}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn encrypted_samples_are_called_encrypted() {
    let (Some(folder), Some(_)) = (samples(), pdfium()) else {
        return;
    };
    let pool = pool();
    for entry in manifest(&folder)
        .iter()
        .filter(|entry| entry["cls"] == "encrypted")
    {
        let path = entry["path"].as_str().expect("a path");
        let outcome = parse(&pool, &folder, path).await;
        if path.contains("notextaccess") {
            let parsed = outcome.expect("no password is needed to read it");
            assert!(
                parsed
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("permissions")),
                "{:?}",
                parsed.warnings
            );
        } else {
            let error = outcome.expect_err(path);
            assert!(error.to_string().contains("encrypted"), "{path}: {error}");
        }
    }
}
