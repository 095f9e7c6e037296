//! Products of few rows with quantised matrices, in integers. The weights are read where the file is mapped, block by
//! block, once for all rows.
//!
//! Each row is rounded in blocks of 32 to 16 bits, kept as two bytes. Other GGUF engines round to 8 bits, and a small
//! model's greedy text then depends on that noise: llama.cpp's own texts for SmolLM2 change in half of the prompts when
//! only its KV cache goes from 16 to 32 bits. The second byte costs little, since weights are unpacked once for both,
//! and makes decode, prefill and training agree.

#[cfg(target_arch = "x86_64")]
mod avx2;

use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, Result};
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights that share a scale in the activations.
pub(super) const BLOCK: usize = 32;
/// Rows that are multiplied with one unpacked block at a time.
const TOGETHER: usize = 4;
/// Outputs that one thread computes at a time.
const OUTPUTS: usize = 32;

/// Rows of activations: x = scale · (256 · value + rest).
pub(crate) struct IntegerRows {
    values: Vec<i8>,
    rests: Vec<i8>,
    scales: Vec<f32>,
    /// Sum of each block's values, scaled.
    sums: Vec<f32>,
    width: usize,
}

/// One row of [`IntegerRows`].
#[derive(Clone, Copy)]
pub(super) struct IntegerRow<'a> {
    pub(super) values: &'a [i8],
    pub(super) rests: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
}

impl IntegerRows {
    /// Rounds rows of `width` values, a multiple of 32.
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        let blocks = rows.len() / BLOCK;
        let mut out = Self {
            values: vec![0; blocks * BLOCK],
            rests: vec![0; blocks * BLOCK],
            scales: vec![0.0; blocks],
            sums: vec![0.0; blocks],
            width,
        };
        round_rows(rows, &mut out);
        out
    }

    fn row(&self, index: usize) -> IntegerRow<'_> {
        let (start, blocks) = (index * self.width, self.width / BLOCK);
        IntegerRow {
            values: &self.values[start..start + self.width],
            rests: &self.rests[start..start + self.width],
            scales: &self.scales[index * blocks..(index + 1) * blocks],
            sums: &self.sums[index * blocks..(index + 1) * blocks],
        }
    }

    fn count(&self) -> usize {
        self.values.len() / self.width.max(1)
    }
}

/// Adding 1.5 · 2^23 rounds to the nearest integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Largest integer of a row: 256 · 126 + 127, so that both bytes stay in range whatever the sign.
const LARGEST: f32 = 32_383.0;

#[inline(always)]
fn round_rows_body<const FUSED: bool>(rows: &[f32], out: &mut IntegerRows) {
    let blocks = rows
        .chunks_exact(BLOCK)
        .zip(out.values.chunks_exact_mut(BLOCK))
        .zip(out.rests.chunks_exact_mut(BLOCK))
        .zip(out.scales.iter_mut().zip(&mut out.sums));
    for (((block, values), rests), (scale, sum)) in blocks {
        let mut largest = [0f32; 8];
        for part in block.chunks_exact(8) {
            for lane in 0..8 {
                largest[lane] = largest[lane].max(part[lane].abs());
            }
        }
        let largest = largest.iter().fold(0f32, |a, b| a.max(*b));
        *scale = largest / LARGEST;
        let inverse = if largest > 0.0 {
            LARGEST / largest
        } else {
            0.0
        };
        let mut total = 0i32;
        for ((value, rest), x) in values.iter_mut().zip(rests).zip(block) {
            let whole = (x * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
            let high = (whole + 128) >> 8;
            // -128 has no positive counterpart, which the kernels need.
            let low = (whole - (high << 8)).max(-127);
            *value = high as i8;
            *rest = low as i8;
            total += (high << 8) + low;
        }
        *sum = *scale * total as f32;
    }
}

super::dispatch!(round_rows, round_rows_body, (rows: &[f32], out: &mut IntegerRows));

/// Formats with a kernel; the others are widened when they are loaded.
pub(crate) fn has_kernel(dtype: GgmlDType) -> bool {
    use GgmlDType::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    matches!(dtype, Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q4K | Q5K | Q6K)
}

/// A quantised matrix (outputs, inputs) as bytes.
#[derive(Clone, Copy)]
pub(crate) struct PackedRows<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) dtype: GgmlDType,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

/// x · Wᵀ of several matrices with the same inputs, in one go: gives (rows, outputs) of each.
pub(crate) fn products(x: &IntegerRows, matrices: &[PackedRows<'_>]) -> Result<Vec<Vec<f32>>> {
    let rows = x.count();
    // Each thread writes whole outputs of all rows: (outputs, rows), turned round below.
    let mut turned: Vec<Vec<f32>> = matrices
        .iter()
        .map(|matrix| vec![0f32; matrix.outputs * rows])
        .collect();
    let pieces: Vec<(&PackedRows<'_>, usize, &mut [f32])> = matrices
        .iter()
        .zip(&mut turned)
        .flat_map(|(matrix, out)| {
            out.chunks_mut(OUTPUTS * rows.max(1))
                .enumerate()
                .map(move |(index, out)| (matrix, index * OUTPUTS, out))
        })
        .collect();
    pieces
        .into_par_iter()
        .with_min_len(2)
        .try_for_each(|(matrix, first, out)| piece(x, matrix, first, out))?;
    if rows == 1 {
        return Ok(turned);
    }
    Ok(turned.iter().map(|values| turn(values, rows)).collect())
}

fn turn(values: &[f32], rows: usize) -> Vec<f32> {
    let outputs = values.len() / rows.max(1);
    let mut out = vec![0f32; values.len()];
    for (output, values) in values.chunks_exact(rows).enumerate() {
        for (row, value) in values.iter().enumerate() {
            out[row * outputs + output] = *value;
        }
    }
    out
}

/// Outputs from `first` on, as many as `out` holds for all rows.
fn piece(x: &IntegerRows, matrix: &PackedRows<'_>, first: usize, out: &mut [f32]) -> Result<()> {
    let rows = x.count();
    let width = matrix.inputs / matrix.dtype.block_size() * matrix.dtype.type_size();
    for (index, out) in out.chunks_exact_mut(rows).enumerate() {
        let at = (first + index) * width;
        let weights = &matrix.bytes[at..at + width];
        #[cfg(target_arch = "x86_64")]
        if avx2::available() {
            for (group, out) in out.chunks_mut(TOGETHER).enumerate() {
                let row = |member: usize| x.row((group * TOGETHER + member).min(rows - 1));
                avx2::dot(
                    matrix.dtype,
                    weights,
                    &[row(0), row(1), row(2), row(3)],
                    out,
                );
            }
            continue;
        }
        plain(x, matrix.dtype, weights, out)?;
    }
    Ok(())
}

/// The same numbers without vector instructions, for other processors.
fn plain(x: &IntegerRows, dtype: GgmlDType, weights: &[u8], out: &mut [f32]) -> Result<()> {
    let CpuStorage::F32(weights) = dtype
        .from_data(Cow::Borrowed(weights))
        .dequantize(x.width)?
    else {
        candle_core::bail!("a quantised row gave no float32")
    };
    for (index, out) in out.iter_mut().enumerate() {
        let row = x.row(index);
        let blocks = weights
            .chunks_exact(BLOCK)
            .zip(row.values.chunks_exact(BLOCK))
            .zip(row.rests.chunks_exact(BLOCK))
            .zip(row.scales);
        *out = blocks
            .map(|(((weights, values), rests), scale)| scale * dot(weights, values, rests))
            .sum();
    }
    Ok(())
}

fn dot(weights: &[f32], values: &[i8], rests: &[i8]) -> f32 {
    let whole = |(value, rest): (&i8, &i8)| 256.0 * f32::from(*value) + f32::from(*rest);
    let products = weights
        .iter()
        .zip(values.iter().zip(rests).map(whole))
        .map(|(weight, value)| weight * value);
    products.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    fn uniform(count: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| random.uniform() * 2.0 - 1.0).collect()
    }

    /// Relative distance between the kernel and dequantised weights times the rounded rows, which is what it must compute.
    fn distance(dtype: GgmlDType, rows: usize) -> f32 {
        let (outputs, inputs) = (40, 512);
        let weights = Tensor::from_vec(
            uniform(outputs * inputs, 1),
            (outputs, inputs),
            &Device::Cpu,
        )
        .expect("a tensor");
        let packed = QTensor::quantize(&weights, dtype).expect("a quantised tensor");
        let bytes = packed.data().expect("bytes").into_owned();
        let x = IntegerRows::new(&uniform(rows * inputs, 2), inputs);
        let matrix = PackedRows {
            bytes: &bytes,
            dtype,
            outputs,
            inputs,
        };
        let fast = products(&x, &[matrix, matrix]).expect("products");
        assert_eq!(fast[0], fast[1]);
        let mut slow = vec![0f32; rows];
        let width = bytes.len() / outputs;
        let mut worst = 0f32;
        for output in 0..outputs {
            plain(
                &x,
                dtype,
                &bytes[output * width..(output + 1) * width],
                &mut slow,
            )
            .expect("products");
            for row in 0..rows {
                worst = worst.max((fast[0][row * outputs + output] - slow[row]).abs());
            }
        }
        worst
    }

    #[test]
    fn every_kernel_computes_what_dequantised_weights_give() {
        use GgmlDType::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        for dtype in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4K, Q5K, Q6K] {
            for rows in [1, 2, 4, 5] {
                let worst = distance(dtype, rows);
                assert!(worst < 2e-4, "{dtype:?} with {rows} rows is off by {worst}");
            }
        }
    }

    #[test]
    fn a_row_gets_the_same_numbers_in_any_company() {
        let inputs = 256;
        let weights =
            Tensor::from_vec(uniform(8 * inputs, 3), (8, inputs), &Device::Cpu).expect("a tensor");
        let packed = QTensor::quantize(&weights, GgmlDType::Q4K).expect("a quantised tensor");
        let bytes = packed.data().expect("bytes").into_owned();
        let matrix = PackedRows {
            bytes: &bytes,
            dtype: GgmlDType::Q4K,
            outputs: 8,
            inputs,
        };
        let rows = uniform(7 * inputs, 4);
        let together = products(&IntegerRows::new(&rows, inputs), &[matrix]).expect("products");
        for (row, expected) in rows.chunks(inputs).zip(together[0].chunks(8)) {
            let alone = products(&IntegerRows::new(row, inputs), &[matrix]).expect("products");
            assert_eq!(alone[0], expected);
        }
    }
}
