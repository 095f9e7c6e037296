//! Loops over rows, forward and back. Each is written once, plainly, and compiled for what processors can do.

use crate::kernels::{dispatch, math};
use crate::settings::Activation;
use rayon::prelude::*;

/// Values that one thread handles at a time.
const PIECE: usize = 8 * 1024;

/// Rows of `width` that one thread handles at a time, in values.
fn piece(width: usize) -> usize {
    (PIECE / width).max(1) * width
}

/// out += x.
pub(super) fn add(out: &mut [f32], x: &[f32]) {
    out.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .for_each(|(out, x)| add_row(out, x));
}

#[inline(always)]
fn add_body<const FUSED: bool>(out: &mut [f32], x: &[f32]) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
}
dispatch!(add_row, add_body, (out: &mut [f32], x: &[f32]));

/// out = out · x, element by element.
pub(super) fn multiply(out: &mut [f32], x: &[f32]) {
    out.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .for_each(|(out, x)| out.iter_mut().zip(x).for_each(|(out, x)| *out *= x));
}

/// out += x · y, element by element.
pub(super) fn add_product(out: &mut [f32], x: &[f32], y: &[f32]) {
    out.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE).zip(y.par_chunks(PIECE)))
        .for_each(|(out, (x, y))| {
            for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
                *out += x * y;
            }
        });
}

/// Multiplies each column by its own number.
pub(super) fn scale_columns(out: &mut [f32], by: &[f32]) {
    if by.is_empty() || by.iter().all(|by| *by == 1.0) {
        return;
    }
    out.par_chunks_mut(piece(by.len())).for_each(|out| {
        for row in out.chunks_mut(by.len()) {
            row.iter_mut().zip(by).for_each(|(value, by)| *value *= by);
        }
    });
}

/// Adds x (columns, rows) to `out` (rows, columns).
pub(super) fn add_turned(out: &mut [f32], x: &[f32], columns: usize) {
    let rows = out.len() / columns.max(1);
    for (row, out) in out.chunks_mut(columns.max(1)).enumerate() {
        let column = x.get(row..).unwrap_or_default().iter().step_by(rows);
        out.iter_mut().zip(column).for_each(|(out, x)| *out += x);
    }
}

/// Adds a bias to every row.
pub(super) fn add_bias(out: &mut [f32], bias: &[f32]) {
    out.par_chunks_mut(bias.len().max(1))
        .for_each(|out| add_row(out, bias));
}

/// x / √(mean(x²) + eps) · weight for rows as wide as the weight.
pub(super) fn norm(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let piece = piece(weight.len());
    out.par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .for_each(|(out, x)| norm_rows(out, x, weight, eps));
}

/// Adds the gradient by x to `out`: r g w - x r³ / n · Σ g w x with r = 1 / √(mean(x²) + eps).
pub(super) fn norm_back(out: &mut [f32], x: &[f32], weight: &[f32], gradient: &[f32], eps: f32) {
    let piece = piece(weight.len());
    out.par_chunks_mut(piece)
        .zip(x.par_chunks(piece).zip(gradient.par_chunks(piece)))
        .for_each(|(out, (x, gradient))| norm_back_rows(out, x, weight, gradient, eps));
}

#[inline(always)]
fn inverse<const FUSED: bool>(x: &[f32], eps: f32) -> f32 {
    1.0 / (math::dot::<FUSED>(x, x) / x.len() as f32 + eps).sqrt()
}

#[inline(always)]
fn norm_body<const FUSED: bool>(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let width = weight.len();
    for (out, x) in out.chunks_mut(width).zip(x.chunks(width)) {
        let inverse = inverse::<FUSED>(x, eps);
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * inverse * weight;
        }
    }
}
dispatch!(norm_rows, norm_body, (out: &mut [f32], x: &[f32], weight: &[f32], eps: f32));

#[inline(always)]
fn norm_back_body<const FUSED: bool>(
    out: &mut [f32],
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
    eps: f32,
) {
    let width = weight.len();
    let mut weighted = vec![0f32; width];
    let rows = out.chunks_mut(width).zip(x.chunks(width));
    for ((out, x), gradient) in rows.zip(gradient.chunks(width)) {
        for ((weighted, g), w) in weighted.iter_mut().zip(gradient).zip(weight) {
            *weighted = g * w;
        }
        let inverse = inverse::<FUSED>(x, eps);
        let shrink = math::dot::<FUSED>(&weighted, x) * inverse * inverse * inverse / width as f32;
        for ((out, x), weighted) in out.iter_mut().zip(x).zip(&weighted) {
            *out += inverse * weighted - x * shrink;
        }
    }
}
dispatch!(norm_back_rows, norm_back_body, (out: &mut [f32], x: &[f32], weight: &[f32], gradient: &[f32], eps: f32));

/// activation(gate) · up.
pub(super) fn gate(out: &mut [f32], gate: &[f32], up: &[f32], activation: Activation) {
    let apply = match activation {
        Activation::Silu => silu_rows,
        Activation::GeluTanh => gelu_rows,
    };
    out.par_chunks_mut(PIECE)
        .zip(gate.par_chunks(PIECE).zip(up.par_chunks(PIECE)))
        .for_each(|(out, (gate, up))| apply(out, gate, up));
}

/// Puts the gradients by gate and up in their places.
pub(super) fn gate_back(
    gate: &mut [f32],
    up: &mut [f32],
    gradient: &[f32],
    activation: Activation,
) {
    let apply = match activation {
        Activation::Silu => silu_back_rows,
        Activation::GeluTanh => gelu_back_rows,
    };
    gate.par_chunks_mut(PIECE)
        .zip(up.par_chunks_mut(PIECE))
        .zip(gradient.par_chunks(PIECE))
        .for_each(|((gate, up), gradient)| apply(gate, up, gradient));
}

/// x σ(x) and its derivative.
#[inline(always)]
fn silu<const FUSED: bool>(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + math::exp::<FUSED>(-x));
    (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)))
}

/// GELU by tanh(y) = 1 - 2 / (1 + e^2y), and its derivative.
#[inline(always)]
fn gelu<const FUSED: bool>(x: f32) -> (f32, f32) {
    const SLOPE: f32 = 0.797_884_6; // √(2/π)
    const CUBE: f32 = 0.044_715;
    let tanh = 1.0 - 2.0 / (1.0 + math::exp::<FUSED>(2.0 * SLOPE * (x + CUBE * x * x * x)));
    let inner = SLOPE * (1.0 + 3.0 * CUBE * x * x);
    let slope = 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner;
    (0.5 * x * (1.0 + tanh), slope)
}

macro_rules! gates {
    ($value:ident, $forward:ident, $forward_body:ident, $back:ident, $back_body:ident) => {
        #[inline(always)]
        fn $forward_body<const FUSED: bool>(out: &mut [f32], gate: &[f32], up: &[f32]) {
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = $value::<FUSED>(*gate).0 * up;
            }
        }
        dispatch!($forward, $forward_body, (out: &mut [f32], gate: &[f32], up: &[f32]));

        #[inline(always)]
        fn $back_body<const FUSED: bool>(gate: &mut [f32], up: &mut [f32], gradient: &[f32]) {
            for ((gate, up), gradient) in gate.iter_mut().zip(up).zip(gradient) {
                let (value, slope) = $value::<FUSED>(*gate);
                *gate = gradient * *up * slope;
                *up = gradient * value;
            }
        }
        dispatch!($back, $back_body, (gate: &mut [f32], up: &mut [f32], gradient: &[f32]));
    };
}
gates!(silu, silu_rows, silu_body, silu_back_rows, silu_back_body);
gates!(gelu, gelu_rows, gelu_body, gelu_back_rows, gelu_back_body);

/// -ln p(label) of each row of logits, which become their gradient: scale · (softmax - one at the label).
pub(super) fn cross_entropy(logits: &mut [f32], labels: &[u32], scale: f32) -> f64 {
    let width = logits.len() / labels.len().max(1);
    let losses: Vec<f64> = logits
        .par_chunks_mut(width.max(1))
        .zip(labels)
        .map(|(row, label)| {
            let label = *label as usize;
            let wanted = row[label];
            let mut total = [0f64; 2];
            exponentials(row, &mut total);
            let [largest, sum] = total;
            scale_row(row, (f64::from(scale) / sum) as f32);
            row[label] -= scale;
            largest + sum.ln() - f64::from(wanted)
        })
        .collect();
    losses.iter().sum()
}

/// e^(x - largest) in place; the largest value and the sum go to `total`.
#[inline(always)]
fn exponentials_body<const FUSED: bool>(row: &mut [f32], total: &mut [f64; 2]) {
    let mut lanes = [f32::NEG_INFINITY; math::LANES];
    let blocks = row.chunks_exact(math::LANES);
    let rest = blocks.remainder();
    let tail = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let largest = lanes.iter().copied().fold(tail, f32::max);
    let mut sum = 0f64;
    for block in row.chunks_mut(256) {
        for value in block.iter_mut() {
            *value = math::exp::<FUSED>(*value - largest);
        }
        sum += f64::from(sum_body::<FUSED>(block));
    }
    *total = [f64::from(largest), sum];
}
dispatch!(exponentials, exponentials_body, (row: &mut [f32], total: &mut [f64; 2]));

/// The sum of a slice, in lanes.
#[inline(always)]
fn sum_body<const FUSED: bool>(values: &[f32]) -> f32 {
    let mut lanes = [0f32; math::LANES];
    let blocks = values.chunks_exact(math::LANES);
    let rest: f32 = blocks.remainder().iter().sum();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn scale_body<const FUSED: bool>(row: &mut [f32], by: f32) {
    row.iter_mut().for_each(|value| *value *= by);
}
dispatch!(scale_row, scale_body, (row: &mut [f32], by: f32));
