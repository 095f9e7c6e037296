//! Every backward pass against finite differences in float64.

use super::{
    Attention, Span, cross_entropy, gate, gate_backward, rms_norm, rms_norm_backward, rotate,
};
use crate::kernels::Heads;
use crate::random::Random;
use crate::settings::Activation;

/// Half the distance of the two points of a central difference; its error is of the order of the square.
const STEP: f64 = 1e-5;
/// Far above the rounding of the difference (1e-16 / 1e-5) and of its square term, far below any wrong derivative.
const TOLERANCE: f64 = 1e-8;

fn random(count: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| f64::from(random.uniform()) * 4.0 - 2.0)
        .collect()
}

fn weighted(values: &[f64], weights: &[f64]) -> f64 {
    values
        .iter()
        .zip(weights)
        .map(|(value, weight)| value * weight)
        .sum()
}

/// Holds a gradient of `function` (a scalar) at `x` against its central differences.
fn holds(what: &str, x: &[f64], gradient: &[f64], function: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len());
    assert!(
        gradient.iter().any(|value| value.abs() > 1e-3),
        "{what}: the gradient is zero everywhere"
    );
    for index in 0..x.len() {
        let at = |step: f64| {
            let mut moved = x.to_vec();
            moved[index] += step;
            function(&moved)
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let error = (difference - gradient[index]).abs() / difference.abs().max(1.0);
        assert!(
            error < TOLERANCE,
            "{what}: element {index} has {}, the difference is {difference}",
            gradient[index]
        );
    }
}

#[test]
fn the_norms_gradient_is_its_derivative() {
    let (x, weight, g) = (random(24, 1), random(8, 2), random(24, 3));
    let gradient = rms_norm_backward(&x, &weight, &g, 1e-3);
    holds("norm", &x, &gradient, |x| {
        weighted(&rms_norm(x, &weight, 1e-3), &g)
    });
}

#[test]
fn the_rotations_gradient_is_its_derivative() {
    let (x, g) = (random(2 * 3 * 8, 1), random(2 * 3 * 8, 2));
    let angles = random(2 * 4, 3);
    let cosines: Vec<f64> = angles.iter().map(|angle| angle.cos()).collect();
    let sines: Vec<f64> = angles.iter().map(|angle| angle.sin()).collect();
    let gradient = rotate(&g, &cosines, &sines, 3, 4, true);
    holds("rotation", &x, &gradient, |x| {
        weighted(&rotate(x, &cosines, &sines, 3, 4, false), &g)
    });
}

#[test]
fn the_gates_gradients_are_their_derivatives() {
    let (x, up, g) = (random(20, 1), random(20, 2), random(20, 3));
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let (to_gate, to_up) = gate_backward(&x, &up, &g, activation);
        holds("gate", &x, &to_gate, |x| {
            weighted(&gate(x, &up, activation), &g)
        });
        holds("up", &up, &to_up, |up| {
            weighted(&gate(&x, up, activation), &g)
        });
    }
}

#[test]
fn the_losss_gradient_is_its_derivative() {
    let (logits, labels) = (random(3 * 7, 1), [6, 0, 3]);
    let (_, gradient) = cross_entropy(&logits, &labels, 0.25);
    holds("loss", &logits, &gradient, |logits| {
        0.25 * cross_entropy(logits, &labels, 1.0).0.iter().sum::<f64>()
    });
}

fn heads(queries: usize, keys: usize, window: Option<usize>) -> Heads {
    Heads {
        queries,
        keys,
        width: 4,
        window,
        scale: 0.5,
    }
}

fn attention_holds(heads: Heads, spans: &[Span], rows: usize, keys: usize) {
    let attention = Attention { heads, spans };
    let q = random(rows * heads.queries * heads.width, 1);
    let k = random(keys * heads.keys * heads.width, 2);
    let v = random(keys * heads.keys * heads.width, 3);
    let g = random(q.len(), 4);
    let (out, log_sums) = attention.forward(&q, &k, &v);
    let [to_q, to_k, to_v] = attention.backward([&q, &k, &v], &out, &log_sums, &g);
    let loss = |q: &[f64], k: &[f64], v: &[f64]| weighted(&attention.forward(q, k, v).0, &g);
    holds("queries", &q, &to_q, |q| loss(q, &k, &v));
    holds("keys", &k, &to_k, |k| loss(&q, k, &v));
    holds("values", &v, &to_v, |v| loss(&q, &k, v));
}

#[test]
fn attentions_gradients_are_their_derivatives() {
    attention_holds(heads(2, 2, None), &[Span::of(0..6)], 6, 6);
}

#[test]
fn grouped_heads_windows_and_packed_sequences_have_their_derivatives() {
    let spans = [Span::of(0..5), Span::of(5..6), Span::of(6..11)];
    attention_holds(heads(4, 2, Some(3)), &spans, 11, 11);
}

#[test]
fn queries_behind_a_cache_have_their_derivatives() {
    let spans = [
        Span {
            queries: 0..2,
            keys: 0..5,
        },
        Span {
            queries: 2..5,
            keys: 5..8,
        },
    ];
    attention_holds(heads(2, 1, Some(4)), &spans, 5, 8);
}

/// The reference against the attention that serving uses, in float32.
#[test]
fn the_reference_is_what_serving_computes() {
    let heads = Heads {
        width: 8,
        ..heads(4, 2, Some(5))
    };
    let rows = 9;
    let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let q = narrow(random(rows * 32, 1));
    let (k, v) = (narrow(random(rows * 16, 2)), narrow(random(rows * 16, 3)));
    let spans = [Span::of(0..rows)];
    let attention = Attention {
        heads,
        spans: &spans,
    };
    let (out, _) = attention.forward(&q, &k, &v);
    for (position, row) in out.chunks(32).enumerate() {
        let mut served = vec![0f32; 32];
        let query = crate::kernels::Query {
            values: &q[position * 32..(position + 1) * 32],
            keys: &k,
            cached: &v,
            position,
        };
        crate::kernels::attend_few(&heads, &[query], &mut served);
        for (a, b) in row.iter().zip(&served) {
            assert!((a - b).abs() < 1e-5, "{a} and {b} at {position}");
        }
    }
}
