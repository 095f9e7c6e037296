//! Every kernel on the GPU against its reference on the CPU. Where there is no GPU each test says so and passes.

use super::{Operand, Tiles, gemm, product};
use crate::decoder::{Angles, Products, Segment, Wanted};
use crate::kernels::Heads;
use crate::lora::LoraConfig;
use crate::random::Random;
use crate::reference::{self, Attention, Span};
use crate::sample::{self, FAMILIES, Size};
use crate::settings::Activation;
use crate::train::{self, AdamW, AdamWSettings, Example, InitB, Parameters, TrainSettings};
use candle_core::{DType, Device, Tensor};

/// What rounding to bfloat16 leaves: |kernel - reference| / |reference|.
const ROUNDED: f64 = 8e-3;

fn gpu(test: &str) -> Option<Device> {
    match super::open() {
        Ok((device, name)) => {
            println!("{test}: on {name}");
            Some(device)
        }
        Err(why) => {
            println!("{test}: skipped, {why}");
            None
        }
    }
}

/// Random values that bfloat16 holds exactly.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let value = |_| half::bf16::from_f32(random.uniform() * 4.0 - 2.0).to_f32();
    (0..count).map(value).collect()
}

fn narrow(values: &[f32], shape: &[usize], device: &Device) -> Tensor {
    let tensor = Tensor::from_vec(values.to_vec(), shape, device);
    tensor
        .and_then(|tensor| tensor.to_dtype(DType::BF16))
        .expect("a tensor")
}

fn wide(values: &[f32], shape: &[usize], device: &Device) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape, device).expect("a tensor")
}

fn read(x: &Tensor) -> Vec<f32> {
    let flat = x
        .to_dtype(DType::F32)
        .and_then(|x| x.flatten_all()?.to_vec1());
    flat.expect("values")
}

fn close(what: &str, got: &Tensor, wanted: &[f32], limit: f64) {
    let got = read(got);
    assert_eq!(got.len(), wanted.len(), "{what}");
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = got.iter().zip(wanted).map(|(a, b)| square(a - b)).sum();
    let size: f64 = wanted.iter().map(|x| square(*x)).sum();
    let error = (difference / size).sqrt();
    println!("  {what}: error {error:.1e}");
    assert!(error < limit, "{what}: error {error}");
}

#[test]
fn norms() {
    let Some(device) = gpu("norms") else { return };
    for (rows, width) in [(5, 64), (33, 128), (9, 896), (7, 4096), (3, 14336)] {
        let (x, g, add) = (
            values(rows * width, 1),
            values(rows * width, 2),
            values(rows * width, 3),
        );
        let weight = values(width, 4);
        let shape = [rows, width];
        let on = |values: &[f32]| narrow(values, &shape, &device);
        let own = wide(&weight, &[width], &device);
        let (sum, y) = super::rms_norm(&on(&x), Some(&on(&add)), &own, 1e-5).expect("a norm");
        let summed: Vec<f32> = x.iter().zip(&add).map(|(x, add)| x + add).collect();
        close("sum", &sum, &summed, ROUNDED);
        close(
            "norm",
            &y,
            &reference::rms_norm(&read(&sum), &weight, 1e-5),
            ROUNDED,
        );
        let dx = super::rms_norm_backward(&on(&x), &own, &on(&g), Some(&on(&add)), 1e-5)
            .expect("a gradient");
        let mut wanted = reference::rms_norm_backward(&x, &weight, &g, 1e-5);
        wanted
            .iter_mut()
            .zip(&add)
            .for_each(|(wanted, add)| *wanted += add);
        close("norm's gradient", &dx, &wanted, ROUNDED);
    }
}

#[test]
fn rotations_and_gates() {
    let Some(device) = gpu("rotations and gates") else {
        return;
    };
    let (rows, heads, half) = (37, 6, 40);
    let x = values(rows * heads * 2 * half, 1);
    let angle = values(rows * half, 2);
    let (cos, sin): (Vec<f32>, Vec<f32>) =
        angle.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
    let angles = Angles {
        cos: wide(&cos, &[rows, half], &device),
        sin: wide(&sin, &[rows, half], &device),
    };
    for back in [false, true] {
        let shape = [rows, heads * 2 * half];
        let y = super::rotate(&narrow(&x, &shape, &device), &angles, back).expect("a rotation");
        close(
            "rotation",
            &y,
            &reference::rotate(&x, &cos, &sin, heads, half, back),
            ROUNDED,
        );
    }
    let (gate, up, g) = (
        values(8 * 1000, 3),
        values(8 * 1000, 4),
        values(8 * 1000, 5),
    );
    let on = |values: &[f32]| narrow(values, &[1000, 8], &device);
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let out = super::gate(&on(&gate), &on(&up), activation).expect("a gate");
        close(
            "gate",
            &out,
            &reference::gate(&gate, &up, activation),
            ROUNDED,
        );
        let (to_gate, to_up) =
            super::gate_backward(&on(&gate), &on(&up), &on(&g), activation).expect("gradients");
        let (wanted_gate, wanted_up) = reference::gate_backward(&gate, &up, &g, activation);
        close("gate's gradient", &to_gate, &wanted_gate, ROUNDED);
        close("up's gradient", &to_up, &wanted_up, ROUNDED);
    }
}

#[test]
fn losses() {
    let Some(device) = gpu("losses") else { return };
    for (rows, width) in [(3, 37), (5, 49_152), (2, 151_936)] {
        let logits = values(rows * width, 1);
        let labels: Vec<u32> = (0..rows).map(|row| (row * 31 % width) as u32).collect();
        let own = wide(&logits, &[rows, width], &device);
        let index = Tensor::new(labels.as_slice(), &device).expect("labels");
        let (losses, gradient) = super::cross_entropy(&own, &index, 0.125, true).expect("a loss");
        let (wanted, slopes) = reference::cross_entropy(&logits, &labels, 0.125);
        close("losses", &losses, &wanted, 1e-5);
        close(
            "loss's gradient",
            &gradient.expect("a gradient"),
            &slopes,
            ROUNDED,
        );
    }
}

#[test]
fn products() {
    let Some(device) = gpu("products") else {
        return;
    };
    let (m, k, n) = (24, 40, 16);
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    let plain = |matrix: &Tensor, transposed: bool, other: &Tensor, turned: bool| {
        let (a, b) = (
            Operand { matrix, transposed },
            Operand {
                matrix: other,
                transposed: turned,
            },
        );
        product(a, b, 0.5, DType::F32).expect("a product")
    };
    let mut wanted = vec![0f32; m * n];
    for (row, wanted) in wanted.chunks_mut(n).enumerate() {
        for (column, wanted) in wanted.iter_mut().enumerate() {
            *wanted = 0.5
                * (0..k)
                    .map(|i| a[row * k + i] * b[i * n + column])
                    .sum::<f32>();
        }
    }
    let (a, b) = (narrow(&a, &[m, k], &device), narrow(&b, &[k, n], &device));
    let turn = |x: &Tensor| x.t().and_then(|x| x.contiguous()).expect("transposed");
    close("a b", &plain(&a, false, &b, false), &wanted, 1e-5);
    close("a bᵀ", &plain(&a, false, &turn(&b), true), &wanted, 1e-5);
    close("aᵀ b", &plain(&turn(&a), true, &b, false), &wanted, 1e-5);
    close(
        "aᵀ bᵀ",
        &plain(&turn(&a), true, &turn(&b), true),
        &wanted,
        1e-5,
    );
    let wider = Tensor::ones((m, n + 8), DType::F32, &device).expect("ones");
    let columns = wider.narrow(1, 8, n).expect("columns");
    let side = |matrix| Operand {
        matrix,
        transposed: false,
    };
    gemm(side(&a), side(&b), &columns, 1.0, 3.0).expect("a product");
    let added: Vec<f32> = wanted.iter().map(|wanted| 2.0 * wanted + 3.0).collect();
    close(
        "columns, added",
        &columns.contiguous().expect("a copy"),
        &added,
        1e-5,
    );
    let before = wider
        .narrow(1, 0, 8)
        .and_then(|x| x.contiguous())
        .expect("columns");
    assert!(
        read(&before).iter().all(|x| *x == 1.0),
        "other columns stay"
    );
}

fn attends(device: &Device, heads: Heads, spans: &[Span]) {
    let rows = spans.last().expect("a span").queries.end;
    let (queries, keys) = (heads.queries * heads.width, heads.keys * heads.width);
    let (q, k, v) = (
        values(rows * queries, 1),
        values(rows * keys, 2),
        values(rows * keys, 3),
    );
    let g = values(rows * queries, 4);
    let on = |values: &[f32]| narrow(values, &[rows, values.len() / rows], device);
    let [tq, tk, tv] = [on(&q), on(&k), on(&v)];
    let tiles = Tiles::new(spans, device).expect("tiles");
    let (out, log_sums) = super::attention(&heads, [&tq, &tk, &tv], &tiles).expect("attention");
    let attention = Attention { heads, spans };
    let (wanted, sums) = attention.forward(&q, &k, &v);
    close("attention", &out, &wanted, ROUNDED);
    close("log-sums", &log_sums, &sums, 1e-4);
    let gradients =
        super::attention_backward(&heads, [&tq, &tk, &tv], &out, &log_sums, &on(&g), &tiles);
    let [dq, dk, dv] = gradients.expect("gradients");
    let [to_q, to_k, to_v] = attention.backward([&q, &k, &v], &wanted, &sums, &g);
    close("queries' gradient", &dq, &to_q, 2.0 * ROUNDED);
    close("keys' gradient", &dk, &to_k, 2.0 * ROUNDED);
    close("values' gradient", &dv, &to_v, 2.0 * ROUNDED);
}

#[test]
fn attention_and_its_gradients() {
    let Some(device) = gpu("attention and its gradients") else {
        return;
    };
    for width in [32, 64, 80, 96, 128, 256] {
        for (queries, keys, window) in [(4, 2, None), (2, 2, Some(50))] {
            println!(" width {width}, {queries} over {keys} heads, window {window:?}");
            let heads = Heads {
                queries,
                keys,
                width,
                window,
                scale: 1.0 / (width as f32).sqrt(),
            };
            attends(
                &device,
                heads,
                &[Span::of(0..70), Span::of(70..71), Span::of(71..333)],
            );
        }
    }
}

#[test]
fn attention_to_a_cache() {
    let Some(device) = gpu("attention to a cache") else {
        return;
    };
    for (width, tokens, keys, window) in [
        (64, 1, 5, None),
        (64, 100, 300, None),
        (128, 1, 1500, None),
        (128, 3, 700, Some(150)),
        (80, 70, 70, Some(33)),
        (256, 1, 40, None),
    ] {
        let heads = Heads {
            queries: 6,
            keys: 2,
            width,
            window,
            scale: 1.0 / (width as f32).sqrt(),
        };
        let (q, k, v) = (
            values(tokens * 6 * width, 1),
            values(keys * 2 * width, 2),
            values(keys * 2 * width, 3),
        );
        let spans = [Span {
            queries: 0..tokens,
            keys: 0..keys,
        }];
        // A cache holds room for more rows than count.
        let cache = |values: &[f32]| {
            let rows = narrow(values, &[keys, 2 * width], &device);
            let spare = rows.narrow(0, 0, 1).expect("a row");
            Tensor::cat(&[&rows, &spare], 0).expect("a cache")
        };
        let query = narrow(&q, &[tokens, 6 * width], &device);
        let out = super::cached_attention(&heads, &query, &cache(&k), &cache(&v), keys)
            .expect("attention");
        let (wanted, _) = Attention {
            heads,
            spans: &spans,
        }
        .forward(&q, &k, &v);
        close(
            &format!("{tokens} of {keys}, width {width}"),
            &out,
            &wanted,
            ROUNDED,
        );
    }
}

const SMALL: Size = Size {
    head_dim: 64,
    hidden: 256,
    mlp: 512,
    vocabulary: 1000,
};

fn examples() -> Vec<Example> {
    let tokens =
        |length: u32| -> Vec<u32> { (0..length).map(|i| (i * 37 + length) % 1000).collect() };
    let example = |tokens: Vec<u32>| {
        let labels = tokens.iter().map(|token| i64::from(*token)).collect();
        Example::new(tokens, labels).expect("an example")
    };
    vec![example(tokens(90)), example(tokens(33))]
}

/// Loss, gradients and three steps of a model in bfloat16 on the GPU beside float32 on the CPU.
#[test]
fn training_is_that_of_the_cpu() {
    let Some(device) = gpu("training") else {
        return;
    };
    for family in FAMILIES {
        let run = |device: &Device| {
            let decoder = sample::decoder(family, SMALL, device);
            let parameters = Parameters::new(&decoder, LoraConfig::default(), InitB::Random, 3)
                .expect("parameters");
            let mut optimiser = AdamW::new(&parameters, AdamWSettings::default());
            let settings = TrainSettings {
                dropout: 0.0,
                seed: 1,
                checkpointing: device.is_cuda(),
            };
            let mut losses = Vec::new();
            let mut first = Vec::new();
            for _ in 0..3 {
                let (loss, mut gradients) =
                    train::gradients(&decoder, &parameters, &examples(), 121, settings)
                        .expect("gradients");
                losses.push(loss);
                if first.is_empty() {
                    first = gradients
                        .all(&parameters)
                        .expect("all")
                        .into_iter()
                        .map(read)
                        .collect();
                }
                losses.push(gradients.clip(&parameters, 0.5).expect("a norm"));
                optimiser
                    .step(&parameters, &gradients, 1e-3)
                    .expect("a step");
            }
            (losses, first, parameters)
        };
        let (gpu_losses, gpu_gradients, parameters) = run(&device);
        let (cpu_losses, cpu_gradients, _) = run(&Device::Cpu);
        println!(" {family}: losses and norms {gpu_losses:.4?} and {cpu_losses:.4?}");
        for (a, b) in gpu_losses.iter().zip(&cpu_losses) {
            assert!((a - b).abs() < 0.02 * b, "{family}: {a} is not {b}");
        }
        for (((name, tensor), a), b) in parameters.tensors().zip(gpu_gradients).zip(cpu_gradients) {
            close(name, &wide(&a, tensor.dims(), &Device::Cpu), &b, 0.08);
        }
    }
}

/// Prefill and decoding of two sequences, one with an adapter.
#[test]
fn serving_is_that_of_the_cpu() {
    let Some(device) = gpu("serving") else { return };
    for family in FAMILIES {
        let run = |device: &Device| {
            let decoder = sample::decoder(family, SMALL, device);
            let parameters = Parameters::new(&decoder, LoraConfig::default(), InitB::Random, 3)
                .expect("parameters");
            let mut caches = [
                decoder.new_cache().expect("a cache"),
                decoder.new_cache().expect("a cache"),
            ];
            let mut logits = Vec::new();
            for tokens in [&(0..70).collect::<Vec<u32>>()[..], &[5], &[6, 7]] {
                let [first, second] = &mut caches;
                let mut segments = [
                    Segment {
                        tokens,
                        cache: first,
                        adapter: None,
                    },
                    Segment {
                        tokens,
                        cache: second,
                        adapter: Some(parameters.adapter()),
                    },
                ];
                let out = decoder
                    .forward(&mut segments, Wanted::All, Products::Float)
                    .expect("logits");
                logits.extend(read(&out));
            }
            logits
        };
        let wanted = run(&Device::Cpu);
        let got = run(&device);
        close(
            family,
            &wide(&got, &[got.len()], &Device::Cpu),
            &wanted,
            0.03,
        );
    }
}
