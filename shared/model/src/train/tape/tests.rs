//! The hand-written passes against candle's automatic differentiation, for every family, in float32 on the CPU.

use super::pass;
use crate::decoder::Decoder;
use crate::lora::{LoraConfig, TargetModules};
use crate::sample::{FAMILIES, TINY, decoder};
use crate::train::{self, Example, Gradients, IGNORED, InitB, Parameters, TrainSettings};
use candle_core::{Device, Tensor};

/// Sequences of several lengths, with labels that count and labels that do not.
fn examples() -> Vec<Example> {
    let example = |length: u32, from: usize| {
        let tokens: Vec<u32> = (0..length).map(|i| (i * 7 + length) % 40).collect();
        let label = |(index, token): (usize, &u32)| {
            if index < from {
                IGNORED
            } else {
                i64::from(*token)
            }
        };
        let labels = tokens.iter().enumerate().map(label).collect();
        Example::new(tokens, labels).expect("an example")
    };
    vec![example(9, 0), example(1, 0), example(12, 5)]
}

fn parameters(decoder: &Decoder) -> Parameters {
    let modules = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "lm_head",
    ];
    let config = LoraConfig {
        r: 3,
        lora_alpha: 6.0,
        target_modules: TargetModules::List(modules.map(str::to_owned).to_vec()),
        ..LoraConfig::default()
    };
    Parameters::new(decoder, config, InitB::Random, 5).expect("parameters")
}

/// |a - b| / |b|.
fn error(a: &Tensor, b: &Tensor) -> f32 {
    let norm = |x: Tensor| {
        x.sqr()
            .and_then(|x| x.sum_all()?.to_scalar::<f32>())
            .expect("a norm")
            .sqrt()
    };
    norm((a - b).expect("one shape")) / norm(b.clone())
}

fn agree(family: &str, parameters: &Parameters, (a, b): (&Gradients, &Gradients)) {
    let (a, b) = (
        a.all(parameters).expect("all"),
        b.all(parameters).expect("all"),
    );
    for (((name, _), a), b) in parameters.tensors().zip(a).zip(b) {
        let error = error(a, b);
        assert!(
            error < 1e-4,
            "{family}: the gradient of {name} is off by {error}"
        );
    }
}

#[test]
fn gradients_are_those_of_automatic_differentiation() {
    for family in FAMILIES {
        let decoder = decoder(family, TINY, &Device::Cpu);
        let parameters = parameters(&decoder);
        for (checkpointing, dropout) in [(false, 0.0), (true, 0.0), (true, 0.3)] {
            let settings = TrainSettings {
                dropout,
                seed: 11,
                checkpointing,
            };
            let examples = examples();
            let (loss, own) =
                pass::gradients(&decoder, &parameters, &examples, 20, settings).expect("gradients");
            let (other, graph) =
                train::tape_gradients(&decoder, &parameters, &examples, 20, settings)
                    .expect("gradients");
            assert!(
                (loss - other).abs() < 1e-5 * other,
                "{family}: the loss is {loss}, not {other}"
            );
            agree(family, &parameters, (&own, &graph));
        }
    }
}

#[test]
fn losses_and_logits_are_those_of_the_graph() {
    for family in FAMILIES {
        let decoder = decoder(family, TINY, &Device::Cpu);
        let parameters = parameters(&decoder);
        for adapter in [None, Some(parameters.adapter())] {
            let examples = examples();
            let (loss, count) = pass::evaluate(&decoder, adapter, &examples).expect("a loss");
            let (other, others) = train::evaluate(&decoder, adapter, &examples).expect("a loss");
            assert!(
                (loss - other).abs() < 1e-5 * other && count == others,
                "{family}: {loss} is not {other}"
            );
            let logits = pass::logits(&decoder, adapter, &examples).expect("logits");
            let graph = train::train_logits(&decoder, adapter, &examples).expect("logits");
            let error = error(&logits, &graph);
            assert!(error < 1e-5, "{family}: logits are off by {error}");
        }
    }
}

#[test]
fn examples_without_labels_cost_nothing_and_teach_nothing() {
    let decoder = decoder("llama", TINY, &Device::Cpu);
    let parameters = parameters(&decoder);
    let silent = [Example::new(vec![1, 2, 3], vec![IGNORED; 3]).expect("an example")];
    let settings = TrainSettings {
        dropout: 0.0,
        seed: 0,
        checkpointing: false,
    };
    let (loss, gradients) =
        pass::gradients(&decoder, &parameters, &silent, 1, settings).expect("gradients");
    assert_eq!(loss, 0.0);
    let error = gradients
        .all(&parameters)
        .expect_err("the head has no gradient")
        .to_string();
    assert!(error.contains("lm_head"), "{error}");
}
