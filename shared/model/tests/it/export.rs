//! What is exported computes what was trained.

use crate::folders::{decoder, distance, ids, parity, tensors};
use crate::tiny;
use candle_core::{Device, Tensor};
use lore_model::export::{self, GgufType};
use lore_model::train::{InitB, Parameters};
use lore_model::{Adapter, Decoder, LoraConfig, Products, Segment, Source, Tokenizer, Wanted};
use lore_types::{Message, Role};
use std::path::Path;

fn load(path: &Path) -> Decoder {
    let source = Source::open(path).expect("what was written opens");
    Decoder::load(&source, None, 0, &Device::Cpu).expect("what was written loads")
}

fn adapter(decoder: &Decoder) -> Adapter {
    let config = LoraConfig {
        r: 2,
        ..LoraConfig::default()
    };
    Parameters::new(decoder, config, InitB::Random, 5)
        .and_then(|parameters| parameters.snapshot(decoder))
        .expect("an adapter")
}

/// A tiny model whose pre-tokenizer GGUF has a name for.
fn tiny_model() -> tempfile::TempDir {
    let folder = tiny::folder(tiny::CHAT);
    let path = folder.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).expect("the tokenizer");
    std::fs::write(
        &path,
        text.replace("\"use_regex\":false", "\"use_regex\":true"),
    )
    .expect("writing");
    folder
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .expect("the folder")
        .next()
        .is_none()
}

#[test]
fn a_merged_folder_gives_pefts_logits() {
    let out = tempfile::tempdir().expect("a folder");
    for folder in parity() {
        let to = out.path().join(folder.file_name().expect("a name"));
        let reference = tensors(&folder.join("reference.safetensors"));
        let base = decoder(&folder);
        let adapter =
            Adapter::load(&folder.join("adapter"), &base, "adapter", "base").expect("the adapter");
        let source = Source::open(&folder).expect("the folder opens");
        export::merged(&source, Some(&adapter), &to).expect("exporting");
        let logits = load(&to)
            .all_logits(&ids(&reference["input_ids"]), None)
            .expect("logits");
        let off = distance(&logits, &reference["logits_with_adapter"]);
        assert!(off < 1e-4, "{}: logits are off by {off}", to.display());
    }
}

#[test]
fn a_gguf_file_gives_pefts_logits_as_far_as_its_numbers_reach() {
    let out = tempfile::tempdir().expect("a folder");
    for folder in parity() {
        let reference = tensors(&folder.join("reference.safetensors"));
        let ids = ids(&reference["input_ids"]);
        let base = decoder(&folder);
        let adapter =
            Adapter::load(&folder.join("adapter"), &base, "adapter", "base").expect("the adapter");
        let source = Source::open(&folder).expect("the folder opens");
        let without = distance(&reference["logits"], &reference["logits_with_adapter"]);
        for (kind, share) in [(GgufType::F16, 5e-3), (GgufType::Q8_0, 8e-2)] {
            let to = out.path().join("model.gguf");
            export::gguf(&source, Some(&adapter), kind, &to).expect("exporting");
            let logits = load(&to).all_logits(&ids, None).expect("logits");
            let off = distance(&logits, &reference["logits_with_adapter"]);
            assert!(
                off < share * without,
                "{} {kind:?}: logits are off by {off}, without the adapter by {without}",
                folder.display()
            );
            std::fs::remove_file(to).expect("removing");
        }
    }
}

/// Logits, tokens and prompts of two forms of one model.
fn same_model(one: &Path, other: &Path, limit: f32) {
    let rows = [vec![104, 256, 40, 9, 301, 7]];
    let logits = |path: &Path| load(path).all_logits(&rows, None).expect("logits");
    let off = distance(&logits(one), &logits(other));
    assert!(off < limit, "logits are off by {off}");
    let tokenizer =
        |path: &Path| Tokenizer::load(&Source::open(path).expect("it opens")).expect("a tokenizer");
    let (one, other) = (tokenizer(one), tokenizer(other));
    for text in ["hi there, it's 12 o'clock", "<|end|> é 中文 🦀\n\n  x", ""] {
        assert_eq!(
            one.encode(text).expect("tokens"),
            other.encode(text).expect("tokens")
        );
    }
    let messages = [
        Message::new(Role::System, "be brief <|start|>"),
        Message::new(Role::User, "hi <tool>"),
    ];
    assert_eq!(
        one.prompt(&messages, true).expect("a prompt"),
        other.prompt(&messages, true).expect("a prompt")
    );
    assert_eq!(one.stops(), other.stops());
    assert_eq!(one.bos(), other.bos());
}

#[test]
fn a_model_comes_back_from_gguf_as_a_folder_with_tokenizer_and_template() {
    let folder = tiny_model();
    let out = tempfile::tempdir().expect("a folder");
    let source = Source::open(folder.path()).expect("the folder opens");
    let adapter = adapter(&load(folder.path()));
    let merged = out.path().join("merged");
    export::merged(&source, Some(&adapter), &merged).expect("exporting");
    let file = out.path().join("model.gguf");
    export::gguf(&source, Some(&adapter), GgufType::F16, &file).expect("exporting");
    same_model(&merged, &file, 2e-2);
    let gguf = Source::open(&file).expect("the file opens");
    let (back, again) = (out.path().join("back"), out.path().join("again.gguf"));
    export::merged(&gguf, None, &back).expect("exporting");
    same_model(&file, &back, 1e-5);
    export::gguf(&gguf, None, GgufType::F16, &again).expect("exporting");
    assert!(
        std::fs::read(&file).expect("bytes") == std::fs::read(&again).expect("bytes"),
        "a second export changes the file"
    );
}

#[test]
fn an_adapter_on_a_gguf_base_is_merged_in_either_form() {
    let folder = tiny_model();
    let out = tempfile::tempdir().expect("a folder");
    let base = out.path().join("base.gguf");
    let source = Source::open(folder.path()).expect("the folder opens");
    export::gguf(&source, None, GgufType::Q8_0, &base).expect("exporting");
    let decoder = load(&base);
    assert!(decoder.linears().all(|linear| linear.weight.is_quantised()));
    let adapter = adapter(&decoder);
    let rows = [vec![104, 256, 40, 9, 301, 7]];
    let expected = decoder.all_logits(&rows, Some(&adapter)).expect("logits");
    let gguf = Source::open(&base).expect("the file opens");
    let (merged, file) = (out.path().join("merged"), out.path().join("model.gguf"));
    export::merged(&gguf, Some(&adapter), &merged).expect("exporting");
    export::gguf(&gguf, Some(&adapter), GgufType::F16, &file).expect("exporting");
    for (path, limit) in [(&merged, 1e-4), (&file, 2e-2)] {
        let logits = load(path).all_logits(&rows, None).expect("logits");
        let off = distance(&logits, &expected);
        assert!(off < limit, "{}: logits are off by {off}", path.display());
    }
}

#[test]
fn an_adapter_on_a_tied_output_projection_unties_it() {
    let Some(folder) = parity()
        .into_iter()
        .find(|folder| folder.ends_with("llama-tied"))
    else {
        return;
    };
    let base = decoder(&folder);
    let config = LoraConfig {
        target_modules: lore_model::TargetModules::List(vec!["lm_head".to_owned()]),
        ..LoraConfig::default()
    };
    let adapter = Parameters::new(&base, config, InitB::Random, 1)
        .and_then(|parameters| parameters.snapshot(&base))
        .expect("an adapter");
    let out = tempfile::tempdir().expect("a folder");
    let to = out.path().join("merged");
    let source = Source::open(&folder).expect("the folder opens");
    export::merged(&source, Some(&adapter), &to).expect("exporting");
    let rows = [vec![5, 6, 7, 8]];
    let logits = |decoder: &Decoder, adapter| decoder.all_logits(&rows, adapter).expect("logits");
    let off = distance(&logits(&load(&to), None), &logits(&base, Some(&adapter)));
    assert!(off < 1e-4, "logits are off by {off}");
    assert!(distance(&logits(&base, None), &logits(&base, Some(&adapter))) > 1e-2);
}

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_nothing_behind() {
    let folder = tiny::folder(tiny::CHAT);
    let out = tempfile::tempdir().expect("a folder");
    let source = Source::open(folder.path()).expect("the folder opens");
    let file = out.path().join("model.gguf");
    let error = export::gguf(&source, None, GgufType::F16, &file).expect_err("no such tokenizer");
    assert!(error.to_string().contains("pre_tokenizer"), "{error}");
    assert!(is_empty(out.path()));

    let wrong = crate::folders::parity()
        .into_iter()
        .next()
        .map(|folder| adapter(&decoder(&folder)));
    if let Some(wrong) = wrong {
        let to = out.path().join("merged");
        let error = export::merged(&source, Some(&wrong), &to).expect_err("another base");
        assert!(error.to_string().contains("has shape"), "{error}");
        assert!(is_empty(out.path()));
    }

    let folder = tiny_model();
    let source = Source::open(folder.path()).expect("the folder opens");
    std::fs::write(&file, "mine").expect("writing");
    let error = export::gguf(&source, None, GgufType::F16, &file).expect_err("taken");
    assert!(error.to_string().contains("already there"), "{error}");
    let error = export::merged(&source, None, out.path()).expect_err("taken");
    assert!(error.to_string().contains("already there"), "{error}");
    assert_eq!(std::fs::read(&file).expect("bytes"), b"mine");
}

#[test]
fn the_small_default_model_survives_a_round_trip_through_q8_0() {
    let Some(path) = crate::folders::gguf("smollm2-135m-instruct") else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let file = out.path().join("model.gguf");
    let source = Source::open(&path).expect("the file opens");
    let short = |path: &Path| {
        let source = Source::open(path).expect("it opens");
        Decoder::load(&source, Some(128), 0, &Device::Cpu).expect("it loads")
    };
    let base = short(&path);
    let adapter = adapter(&base);
    export::gguf(&source, Some(&adapter), GgufType::Q8_0, &file).expect("exporting");
    let tokens: Vec<u32> = (1000..1016).collect();
    let last = |decoder: &Decoder, adapter: Option<&Adapter>| -> Tensor {
        let mut cache = decoder.new_cache().expect("a cache");
        let segment = Segment {
            tokens: &tokens,
            cache: &mut cache,
            adapter,
        };
        decoder
            .forward(&mut [segment], Wanted::Last, Products::Float)
            .expect("logits")
    };
    let expected = last(&base, Some(&adapter));
    let (off, without) = (
        distance(&last(&short(&file), None), &expected),
        distance(&last(&base, None), &expected),
    );
    assert!(
        off < without / 5.0,
        "logits are off by {off}, without the adapter by {without}"
    );
}
