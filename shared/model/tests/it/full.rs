//! Full fine-tuning: every weight of the base is trained, by the same calls as an adapter.

use crate::folders::{decoder, distance, parity};
use crate::training::{PLAIN, all, batches, furthest, name, whole};
use candle_core::{Device, Tensor};
use lore_model::train::{AdamW, AdamWSettings, Parameters, TrainSettings, evaluate, targets};
use lore_model::{Decoder, Source, export};
use std::collections::HashMap;

fn copies(parameters: &Parameters) -> HashMap<String, Tensor> {
    let copy = |(name, tensor): (&str, &Tensor)| {
        (name.to_owned(), tensor.copy().expect("a copy").detach())
    };
    parameters.tensors().map(copy).collect()
}

fn norm(tensor: &Tensor) -> f64 {
    let norm = tensor
        .sqr()
        .and_then(|t| t.sum_all()?.sqrt()?.to_scalar::<f32>())
        .expect("a norm");
    f64::from(norm)
}

fn bits(tensors: &HashMap<String, Tensor>) -> Vec<(String, Vec<u32>)> {
    let mut all: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| {
            let values: Vec<f32> = tensor
                .flatten_all()
                .and_then(|t| t.to_vec1())
                .expect("values");
            (name.clone(), values.into_iter().map(f32::to_bits).collect())
        })
        .collect();
    all.sort();
    all
}

/// Along the gradient of each weight, the loss must rise by the gradient's length: (L(w + ε g/|g|) - L(w - ε g/|g|)) / 2ε.
#[test]
fn every_weight_gets_the_gradient_that_finite_differences_give() {
    for folder in parity() {
        let base = decoder(&folder);
        let parameters = Parameters::full(&base).expect("parameters");
        let batch = batches(&folder).remove(0);
        let (_, gradients) = whole(&base, &parameters, &batch, PLAIN);
        let gradients = all(&gradients, &parameters);
        let values = copies(&parameters);
        let names: Vec<String> = parameters
            .tensors()
            .map(|(name, _)| name.to_owned())
            .collect();
        let loss_at = |name: &str, change: &Tensor, step: f64| {
            let moved = |other: &str| {
                let value = values.get(other)?.clone();
                Some(if other == name {
                    (change * step)
                        .and_then(|step| value + step)
                        .expect("a sum")
                } else {
                    value
                })
            };
            parameters.restore(moved).expect("values");
            let (sum, count) = evaluate(parameters.decoder(&base), None, &batch).expect("a loss");
            sum / count as f64
        };
        for (name, gradient) in names.iter().zip(&gradients) {
            let length = norm(gradient);
            assert!(length > 0.0, "the gradient of {name} is zero");
            let direction = (gradient / length).expect("a direction");
            let step = 1e-2;
            let slope =
                (loss_at(name, &direction, step) - loss_at(name, &direction, -step)) / (2.0 * step);
            assert!(
                (slope - length).abs() < 0.02 * length + 2e-4,
                "{} {name}: the loss rises by {slope}, the gradient says {length}",
                folder.display()
            );
        }
    }
}

#[test]
fn checkpointing_and_micro_batches_change_no_gradient() {
    for folder in parity() {
        let base = decoder(&folder);
        let parameters = Parameters::full(&base).expect("parameters");
        let batch = batches(&folder).remove(0);
        let (loss, plain) = whole(&base, &parameters, &batch, PLAIN);
        let saving = TrainSettings {
            checkpointing: true,
            ..PLAIN
        };
        let (again, saved) = whole(&base, &parameters, &batch, saving);
        assert_eq!(loss, again);
        let plain = all(&plain, &parameters);
        assert!(furthest(&plain, &all(&saved, &parameters)) < 1e-6);
        let mut sum = lore_model::train::Gradients::none(&parameters);
        for part in [&batch[..1], &batch[1..]] {
            let (_, gradients) =
                lore_model::train::gradients(&base, &parameters, part, targets(&batch), PLAIN)
                    .expect("gradients");
            sum.add(gradients).expect("a sum");
        }
        let off = furthest(&plain, &all(&sum, &parameters));
        assert!(off < 1e-5, "{}: gradients differ by {off}", name(&folder));
    }
}

/// Trains for `steps` steps; at `restart` everything goes through a checkpoint's tensors.
fn train(
    base: &Decoder,
    folder: &std::path::Path,
    steps: usize,
    restart: Option<usize>,
) -> (Parameters, Vec<f64>) {
    let mut parameters = Parameters::full(base).expect("parameters");
    let mut optimiser = AdamW::new(&parameters, AdamWSettings::default());
    let batch = batches(folder).remove(0);
    let mut losses = Vec::new();
    for step in 0..steps {
        if restart == Some(step) {
            let (values, moments, done) = (
                copies(&parameters),
                optimiser.state(&parameters),
                optimiser.steps(),
            );
            parameters = Parameters::full(base).expect("parameters");
            parameters
                .restore(|name| values.get(name).cloned())
                .expect("values");
            optimiser = AdamW::new(&parameters, AdamWSettings::default());
            optimiser
                .restore(&parameters, done, |name| moments.get(name).cloned())
                .expect("the state");
        }
        let (loss, mut gradients) = whole(base, &parameters, &batch, PLAIN);
        gradients.clip(&parameters, 1.0).expect("a norm");
        optimiser
            .step(&parameters, &gradients, 1e-3)
            .expect("a step");
        losses.push(loss);
    }
    (parameters, losses)
}

#[test]
fn the_loss_falls_the_base_stays_and_runs_are_bitwise_equal() {
    for folder in parity() {
        let base = decoder(&folder);
        let before = copies(&Parameters::full(&base).expect("parameters"));
        let (parameters, losses) = train(&base, &folder, 6, None);
        assert!(losses[5] < losses[0] - 0.05, "{losses:?}");
        let trained = bits(&copies(&parameters));
        assert!(trained == bits(&copies(&train(&base, &folder, 6, None).0)));
        assert!(trained == bits(&copies(&train(&base, &folder, 6, Some(3)).0)));
        assert!(bits(&before) == bits(&copies(&Parameters::full(&base).expect("parameters"))));
        let moved = before.iter().filter(|(name, old)| {
            let (_, new) = parameters
                .tensors()
                .find(|(other, _)| other == name)
                .expect("the weight");
            distance(old, new) > 0.0
        });
        assert_eq!(moved.count(), before.len(), "a weight has not moved");
        assert!(parameters.snapshot(&base).is_err());
    }
}

#[test]
fn a_trained_model_is_saved_as_a_folder_that_computes_the_same() {
    let out = tempfile::tempdir().expect("a folder");
    for folder in parity() {
        let base = decoder(&folder);
        let (parameters, _) = train(&base, &folder, 2, None);
        let to = out.path().join(name(&folder));
        let source = Source::open(&folder).expect("the folder opens");
        export::trained(&source, &parameters, &to).expect("saving");
        let rows = [vec![5, 6, 7, 8, 9, 10]];
        let logits = |decoder: &Decoder| decoder.all_logits(&rows, None).expect("logits");
        let trained = logits(parameters.decoder(&base));
        let off = distance(&logits(&decoder(&to)), &trained);
        assert!(off < 1e-5, "{}: logits are off by {off}", name(&folder));
        assert!(distance(&logits(&base), &trained) > 1e-3);
    }
}

#[test]
fn a_quantised_base_cannot_be_trained_as_a_whole() {
    let Some(path) = crate::folders::gguf("smollm2-135m-instruct") else {
        return;
    };
    let source = Source::open(&path).expect("the file opens");
    let decoder = Decoder::load(&source, Some(64), 0, &Device::Cpu).expect("the model loads");
    let error = Parameters::full(&decoder).err().expect("a refusal");
    let text = error.to_string();
    assert!(
        text.contains("floating point") && text.contains("Q8_0"),
        "{text}"
    );
}
