//! Files that others published: read as they are.

use lore_model::{Source, Tokenizer};
use lore_trainer::dataset::{DatasetError, Format, ReadOptions, prepare, read, split};
use lore_types::BadLinePolicy;
use std::path::{Path, PathBuf};

/// A file of the folder shared beside the checkout (`LORE_DATA_DIR`), or a loud word that it is not there.
fn file(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LORE_DATA_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("instructions").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: no {}; set LORE_DATA_DIR to check published data sets",
        path.display()
    );
    None
}

#[test]
fn published_data_sets_are_recognised_and_read_whole() {
    for (name, format, count) in [
        ("formats/alpaca_en_demo.json", Format::Alpaca, 60),
        ("formats/alpaca_zh_demo.json", Format::Alpaca, 60),
        ("formats/identity.json", Format::Alpaca, 60),
        ("torchhub/train.jsonl", Format::Alpaca, 837),
        ("wikisql/train.jsonl", Format::Text, 1000),
        ("wikisql/valid.jsonl", Format::Text, 100),
        ("wikisql/test.jsonl", Format::Text, 100),
    ] {
        let Some(path) = file(name) else { continue };
        let dataset = read(&path, &ReadOptions::default()).expect(name);
        assert_eq!(
            (dataset.format, dataset.conversations.len()),
            (format, count),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_learned_from_is_refused_line_by_line() {
    for (name, format, good, bad, reason) in [
        (
            "formats/dpo_en_demo.json",
            Format::ShareGpt,
            0,
            60,
            "`chosen` holds preference data",
        ),
        (
            "formats/kto_en_demo.json",
            Format::Messages,
            38,
            22,
            "`label` is false",
        ),
        (
            "formats/glaive_toolcall_en_demo.json",
            Format::ShareGpt,
            23,
            37,
            "`tools` holds definitions",
        ),
    ] {
        let Some(path) = file(name) else { continue };
        let error = read(&path, &ReadOptions::default()).expect_err(name);
        let lines = error.bad_lines().expect(name);
        assert_eq!(lines.count(), bad, "{name}");
        assert!(
            lines.lines()[0].reason.contains(reason),
            "{name}: {}",
            lines.lines()[0].reason
        );
        let skip = ReadOptions {
            on_bad_line: BadLinePolicy::Skip,
            ..ReadOptions::default()
        };
        match read(&path, &skip) {
            Ok(dataset) => assert_eq!(
                (dataset.format, dataset.conversations.len()),
                (format, good),
                "{name}"
            ),
            Err(DatasetError::NothingLeft { .. }) => assert_eq!(good, 0, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    for (name, key) in [
        ("torchhub/eval.json", "`api_call`"),
        ("belle_eval/eval_set.json", "`std_answer`"),
    ] {
        let Some(path) = file(name) else { continue };
        let error = read(&path, &ReadOptions::default())
            .expect_err(name)
            .to_string();
        assert!(
            error.contains("is not recognised") && error.contains(key),
            "{error}"
        );
    }
}

#[test]
fn the_default_model_takes_the_published_examples() {
    let cache =
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/lore/models");
    let models = std::env::var_os("LORE_MODELS_DIR").map_or(cache, PathBuf::from);
    let model = models.join("smollm2-135m-instruct/model.gguf");
    if !model.exists() {
        eprintln!(
            "SKIPPED: no {}; fetch it with `lore models pull smollm2-135m-instruct`",
            model.display()
        );
        return;
    }
    let source = Source::open(&model).expect("the model opens");
    let tokenizer = Tokenizer::load(&source).expect("the tokenizer loads");
    for name in ["formats/identity.json", "wikisql/valid.jsonl"] {
        let Some(path) = file(name) else { continue };
        let mut dataset = read(&path, &ReadOptions::default()).expect(name);
        let count = dataset.conversations.len();
        let split = split(std::mem::take(&mut dataset.conversations), 0.1, 42);
        let prepared =
            |part| prepare(&dataset, part, &tokenizer, 1024, BadLinePolicy::Refuse).expect(name);
        let (training, held_out) = (prepared(&split.training), prepared(&split.validation));
        assert_eq!(
            training.examples.len() + held_out.examples.len(),
            count,
            "{name}"
        );
        assert_eq!(training.truncated, 0, "{name}");
        let stops = tokenizer.stops();
        let ends = |one: &lore_model::Training| {
            one.tokens.last().is_some_and(|token| stops.contains(token))
        };
        assert!(training.examples.iter().all(ends), "{name}");
    }
}
