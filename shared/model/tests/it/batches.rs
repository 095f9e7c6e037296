//! A batch gives each sequence what it gets alone.

use crate::folders::{decoder, distance, parity};
use candle_core::Tensor;
use lore_model::train::{InitB, Parameters};
use lore_model::{Adapter, Decoder, KvCache, LoraConfig, Products, Segment, Wanted};

/// Sequences of several lengths, each with its own adapter or none.
struct Sequences {
    prompts: Vec<Vec<u32>>,
    adapters: Vec<Option<Adapter>>,
}

fn sequences(decoder: &Decoder) -> Sequences {
    let adapter = |seed: u64| {
        let config = LoraConfig {
            r: 2,
            // Random factors at full strength make points where any rounding grows a thousandfold.
            lora_alpha: 1.0,
            ..LoraConfig::default()
        };
        Parameters::new(decoder, config, InitB::Random, seed)
            .expect("parameters")
            .snapshot(decoder)
            .expect("a copy")
    };
    let prompts = vec![
        vec![5, 9, 200, 31],
        (3..40).collect(),
        vec![7],
        vec![5, 9, 200, 32, 33, 34, 35, 36, 37, 38],
    ];
    Sequences {
        prompts,
        adapters: vec![None, Some(adapter(1)), Some(adapter(2)), None],
    }
}

fn step(
    decoder: &Decoder,
    inputs: &[Vec<u32>],
    caches: &mut [KvCache],
    adapters: &[Option<Adapter>],
) -> Tensor {
    let parts = inputs.iter().zip(caches).zip(adapters);
    let mut segments: Vec<Segment<'_>> = parts
        .map(|((tokens, cache), adapter)| Segment {
            tokens,
            cache,
            adapter: adapter.as_ref(),
        })
        .collect();
    decoder
        .forward(&mut segments, Wanted::Last, Products::Integers)
        .expect("logits")
}

/// Logits of the prompt and of eight greedy steps, and the tokens chosen.
fn run(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    adapters: &[Option<Adapter>],
) -> (Vec<Tensor>, Vec<Vec<u32>>) {
    let mut caches: Vec<KvCache> = prompts
        .iter()
        .map(|_| decoder.new_cache().expect("a cache"))
        .collect();
    let mut inputs = prompts.to_vec();
    let (mut logits, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let next = step(decoder, &inputs, &mut caches, adapters);
        let chosen: Vec<u32> = next.argmax(1).and_then(|t| t.to_vec1()).expect("tokens");
        inputs = chosen.iter().map(|token| vec![*token]).collect();
        logits.push(next);
        tokens.push(chosen);
    }
    (logits, tokens)
}

#[test]
fn sequences_decoded_together_get_what_they_get_alone() {
    for folder in parity() {
        let decoder = decoder(&folder);
        let Sequences { prompts, adapters } = sequences(&decoder);
        let (together, tokens) = run(&decoder, &prompts, &adapters);
        for index in 0..prompts.len() {
            let (alone, own) = run(&decoder, &prompts[index..=index], &adapters[index..=index]);
            for (step, (together, alone)) in together.iter().zip(&alone).enumerate() {
                let off = distance(&together.narrow(0, index, 1).expect("a row"), alone);
                assert!(
                    off < 1e-4,
                    "sequence {index}, step {step}: logits differ by {off}"
                );
                assert_eq!(tokens[step][index], own[step][0]);
            }
        }
    }
}

#[test]
fn a_cache_that_is_cut_or_copied_goes_on_as_if_computed_anew() {
    for folder in parity() {
        let decoder = decoder(&folder);
        let tokens: Vec<u32> = (10..40).collect();
        let fresh = decoder
            .all_logits(std::slice::from_ref(&tokens), None)
            .expect("logits")
            .squeeze(0)
            .expect("a row");
        let mut cache = decoder.new_cache().expect("a cache");
        step(
            &decoder,
            &[tokens[..20].to_vec()],
            std::slice::from_mut(&mut cache),
            &[None],
        );
        let mut copy = cache.copy_prefix(12).expect("a copy");
        cache.truncate(15);
        for (cache, from) in [(&mut cache, 15), (&mut copy, 12)] {
            assert_eq!(cache.tokens(), &tokens[..from]);
            let last = step(
                &decoder,
                &[tokens[from..].to_vec()],
                std::slice::from_mut(cache),
                &[None],
            );
            assert!(
                distance(
                    &last.squeeze(0).expect("a row"),
                    &fresh.get(29).expect("a row")
                ) < 1e-5
            );
        }
    }
}

#[test]
fn a_context_that_is_full_is_an_error() {
    let Some(folder) = parity().into_iter().next() else {
        return;
    };
    let decoder = decoder(&folder);
    let tokens = vec![1u32; decoder.context_length() + 1];
    assert!(
        decoder
            .all_logits(&[tokens], None)
            .expect_err("too long")
            .to_string()
            .contains("beyond the context")
    );
    assert!(
        decoder
            .all_logits(&[vec![u32::MAX]], None)
            .expect_err("no token")
            .to_string()
            .contains("not in the vocabulary")
    );
    assert!(decoder.all_logits(&[vec![]], None).is_err());
}
