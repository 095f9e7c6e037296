//! Parses every document of a set, in child processes, and prints what came of each: outcome, time, size, and how much of another
//! converter's text it holds, where the set has that.
//!
//! `cargo run -p lore-ingest --example parse_quality -- [FOLDER [PART-OF-PATH]]`; the folder holds `manifest.jsonl`. With a part of a
//! path, the text of the documents whose path holds it is printed too.

use lore_ingest::parse::{
    ParseError, ParseRequest, ParseSettings, Parsed, ParserPool, PoolSettings, WorkerCommand, parse,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(
        arguments
            .next()
            .unwrap_or_else(|| "../shared/data/documents".to_owned()),
    );
    let shown = arguments.next();
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl"))
        .expect("the folder holds manifest.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pool = ParserPool::new(settings());
    println!(
        "{:<60} {:<22} {:>6} {:>8} {:>3} {:>4} {:>2} {:>6} {:>6} {:>6}",
        "document", "outcome", "ms", "bytes", "pg", "head", "la", "recall", "prec", "order"
    );
    for line in manifest.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let path = entry["path"].as_str().expect("a path").to_owned();
        if shown
            .as_ref()
            .is_some_and(|part| !path.contains(part.as_str()))
        {
            continue;
        }
        let start = Instant::now();
        let request = ParseRequest {
            path: folder.join(&path),
            name: path.clone(),
            declared_type: None,
        };
        let parsed = runtime.block_on(pool.parse(&request));
        let truth = entry["groundtruth_md"]
            .as_str()
            .and_then(|truth| std::fs::read(folder.join(truth)).ok());
        print_row(&path, &parsed, start.elapsed(), truth.as_deref());
        if shown.is_some()
            && let Ok(parsed) = &parsed
        {
            print_text(parsed);
        }
    }
}

fn settings() -> PoolSettings {
    let own = std::env::current_exe().expect("this program's path");
    let exe = own
        .parent()
        .and_then(Path::parent)
        .expect("the target folder")
        .join("lore-parse-worker");
    PoolSettings {
        worker: WorkerCommand {
            exe,
            args: Vec::new(),
        },
        workers: 1,
        timeout: Duration::from_secs(60),
        memory: 2 << 30,
        parse: ParseSettings {
            pdfium: pdfium(),
            ..ParseSettings::default()
        },
    }
}

fn pdfium() -> Option<PathBuf> {
    let models = std::env::var("LORE_MODELS_DIR").map(PathBuf::from);
    let models = models
        .or_else(|_| {
            std::env::var("HOME").map(|home| PathBuf::from(home).join(".cache/lore/models"))
        })
        .ok()?;
    Some(models.join("pdfium/libpdfium.so")).filter(|path| path.exists())
}

fn print_row(
    path: &str,
    parsed: &Result<Parsed, ParseError>,
    took: Duration,
    truth: Option<&[u8]>,
) {
    let shown: String = path
        .chars()
        .rev()
        .take(60)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    match parsed {
        Ok(parsed) => {
            let score = truth
                .map(|truth| score(truth, &parsed.text))
                .unwrap_or_default();
            println!(
                "{shown:<60} {:<22} {:>6} {:>8} {:>3} {:>4} {:>2} {score}",
                format!("{:?}", parsed.format),
                took.as_millis(),
                parsed.text.len(),
                parsed.pages.len(),
                parsed.headings.len(),
                parsed.language.as_deref().unwrap_or("-"),
            );
            for warning in &parsed.warnings {
                println!("    ! {warning}");
            }
        }
        Err(error) => println!(
            "{shown:<60} {:<22} {:>6}\n    = {error}",
            error.code(),
            took.as_millis()
        ),
    }
}

fn print_text(parsed: &Parsed) {
    println!("    title: {:?}", parsed.title);
    for heading in &parsed.headings {
        println!(
            "    {} {}",
            "#".repeat(usize::from(heading.level)),
            heading.text
        );
    }
    println!("{}\n{:=<100}", parsed.text, "");
}

/// Share of the other converter's words that are here, of the words here that are there, and of its word triples that are here.
fn score(truth: &[u8], text: &str) -> String {
    let Ok(truth) = parse(truth, "truth.md", None, &ParseSettings::default()) else {
        return "(no text to compare)".to_owned();
    };
    let (ours, theirs) = (words(text), words(&truth.text));
    let shared = overlap(&theirs, &ours);
    let triples = |words: &[String]| {
        words
            .windows(3)
            .map(|words| words.join(" "))
            .collect::<Vec<_>>()
    };
    let ordered = overlap(&triples(&theirs), &triples(&ours));
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    format!(
        "{:>6.1} {:>6.1} {:>6.1}",
        share(shared, theirs.len()),
        share(shared, ours.len()),
        share(ordered, theirs.len().saturating_sub(2))
    )
}

fn overlap(wanted: &[String], found: &[String]) -> usize {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    found
        .iter()
        .for_each(|word| *counts.entry(word).or_default() += 1);
    let mut shared = 0;
    for word in wanted {
        if let Some(count) = counts.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    shared
}

/// Words and, where there are no spaces, characters.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.to_lowercase().chars() {
        let wide = matches!(c, '\u{2E80}'..='\u{D7FF}');
        if !c.is_alphanumeric() || wide {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
        }
        if wide {
            words.push(c.to_string());
        } else if c.is_alphanumeric() {
            word.push(c);
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}
