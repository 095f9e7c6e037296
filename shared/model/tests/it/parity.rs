//! Against transformers and PEFT; the folder's README says how its numbers were made and which tolerances hold.

use crate::folders::{decoder, distance, ids, parity, tensors};
use candle_core::Tensor;
use lore_model::{Adapter, Decoder, Products, Segment, Wanted};
use std::path::Path;

const LOGITS: f32 = 1e-4;

fn name(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn logits_are_those_of_transformers() {
    for folder in parity() {
        let reference = tensors(&folder.join("reference.safetensors"));
        let logits = decoder(&folder)
            .all_logits(&ids(&reference["input_ids"]), None)
            .expect("logits");
        let worst = distance(&logits, &reference["logits"]);
        assert!(
            worst < LOGITS,
            "{}: logits are off by {worst}",
            name(&folder)
        );
    }
}

#[test]
fn hidden_states_are_those_of_transformers() {
    for folder in parity() {
        let reference = tensors(&folder.join("reference.safetensors"));
        let decoder = decoder(&folder);
        let states: Vec<Vec<Tensor>> = ids(&reference["input_ids"])
            .iter()
            .map(|row| decoder.hidden_states(row, None).expect("states"))
            .collect();
        let layer = |index: usize| {
            Tensor::stack(
                &states
                    .iter()
                    .map(|states| &states[index])
                    .collect::<Vec<_>>(),
                0,
            )
            .expect("rows")
        };
        let first = distance(&layer(0), &reference["hidden_first"])
            .min(distance(&layer(1), &reference["hidden_first"]));
        assert!(
            first < LOGITS,
            "{}: hidden_first is off by {first}",
            name(&folder)
        );
        let last = distance(&layer(states[0].len() - 1), &reference["hidden_last"]);
        assert!(
            last < LOGITS,
            "{}: hidden_last is off by {last}",
            name(&folder)
        );
    }
}

#[test]
fn a_peft_adapter_gives_pefts_logits_unmerged_and_merged() {
    for folder in parity() {
        let reference = tensors(&folder.join("reference.safetensors"));
        let decoder = decoder(&folder);
        let ids = ids(&reference["input_ids"]);
        for (adapter, expected) in [
            ("adapter", "logits_with_adapter"),
            ("adapter-after", "logits_after_training"),
        ] {
            let adapter = Adapter::load(&folder.join(adapter), &decoder, adapter, &name(&folder))
                .expect("the adapter loads");
            let unmerged = decoder.all_logits(&ids, Some(&adapter)).expect("logits");
            let merged = decoder
                .merged(&adapter)
                .expect("merging")
                .all_logits(&ids, None)
                .expect("logits");
            for (kind, logits) in [("unmerged", &unmerged), ("merged", &merged)] {
                let worst = distance(logits, &reference[expected]);
                assert!(
                    worst < LOGITS,
                    "{}: {expected}, {kind}, is off by {worst}",
                    name(&folder)
                );
            }
        }
    }
}

/// The greedy continuation of a prompt, token by token with a KV cache.
fn greedy(decoder: &Decoder, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut cache = decoder.new_cache().expect("a cache");
    let mut out = Vec::new();
    let mut next = prompt.to_vec();
    for _ in 0..count {
        let mut segments = [Segment {
            tokens: &next,
            cache: &mut cache,
            adapter: None,
        }];
        let logits = decoder
            .forward(&mut segments, Wanted::Last, Products::Integers)
            .expect("logits");
        let token = logits
            .argmax(1)
            .expect("a token")
            .to_vec1::<u32>()
            .expect("a token")[0];
        out.push(token);
        next = vec![token];
    }
    out
}

#[test]
fn greedy_tokens_from_the_cache_are_those_of_transformers() {
    for folder in parity() {
        let reference = tensors(&folder.join("reference.safetensors"));
        let expected = ids(&reference["greedy"]).remove(0);
        let prompt = ids(&reference["input_ids"]).remove(0);
        let decoder = decoder(&folder);
        assert_eq!(
            greedy(&decoder, &prompt, expected.len()),
            expected,
            "{}",
            name(&folder)
        );
    }
}
