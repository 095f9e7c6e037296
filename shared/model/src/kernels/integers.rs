//! Products of few rows with quantised matrices, in integers. Where the processor has AVX2 the matrices are rearranged when
//! they are loaded ([`Lanes`]), and the weights are read once for all rows; elsewhere they are dequantised row by row.
//!
//! Each row is rounded in blocks of 32 to 16 bits, kept as two bytes. Other GGUF engines round to 8 bits, and a small
//! model's greedy text then depends on that noise: llama.cpp's own texts for SmolLM2 change in half of the prompts when
//! only its KV cache goes from 16 to 32 bits. The second byte costs little, since weights are unpacked once for both,
//! and makes decode, prefill and training agree.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocks;
mod lanes;

pub(crate) use lanes::Lanes;

use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, Result};
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights that share a scale in the activations.
pub(super) const BLOCK: usize = 32;
/// Rows that are multiplied with one unpacked block at a time.
const TOGETHER: usize = 4;
/// Outputs that one thread computes at a time: a multiple of [`lanes::WIDTH`].
const OUTPUTS: usize = 32;

/// Whether the processor has what the fast kernels are compiled for.
fn fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Rows of activations: x = scale · (256 · value + rest). Values and rests are bytes, four in a number.
pub(crate) struct IntegerRows {
    values: Vec<[i32; BLOCK / 4]>,
    rests: Vec<[i32; BLOCK / 4]>,
    scales: Vec<f32>,
    /// Sums of each block's first and last 16 values, scaled.
    sums: Vec<[f32; 2]>,
    width: usize,
}

/// One row of [`IntegerRows`], block by block.
#[derive(Clone, Copy)]
struct IntegerRow<'a> {
    values: &'a [[i32; BLOCK / 4]],
    rests: &'a [[i32; BLOCK / 4]],
    scales: &'a [f32],
    sums: &'a [[f32; 2]],
}

impl IntegerRows {
    /// Rounds rows of `width` values, a multiple of 32.
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        let blocks = rows.len() / BLOCK;
        let mut out = Self {
            values: vec![[0; BLOCK / 4]; blocks],
            rests: vec![[0; BLOCK / 4]; blocks],
            scales: vec![0.0; blocks],
            sums: vec![[0.0; 2]; blocks],
            width,
        };
        round_rows(rows, &mut out);
        out
    }

    fn row(&self, index: usize) -> IntegerRow<'_> {
        let blocks = self.width / BLOCK;
        let range = index * blocks..(index + 1) * blocks;
        IntegerRow {
            values: &self.values[range.clone()],
            rests: &self.rests[range.clone()],
            scales: &self.scales[range.clone()],
            sums: &self.sums[range],
        }
    }

    fn count(&self) -> usize {
        self.scales.len() * BLOCK / self.width.max(1)
    }
}

/// Adding 1.5 · 2^23 rounds to the nearest integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Largest integer of a row: 256 · 126 + 127, so that both bytes stay in range whatever the sign.
const LARGEST: f32 = 32_383.0;

#[inline(always)]
fn round_rows_body<const FUSED: bool>(rows: &[f32], out: &mut IntegerRows) {
    let values: &mut [i8] = bytemuck::cast_slice_mut(&mut out.values);
    let rests: &mut [i8] = bytemuck::cast_slice_mut(&mut out.rests);
    let blocks = rows
        .chunks_exact(BLOCK)
        .zip(values.chunks_exact_mut(BLOCK))
        .zip(rests.chunks_exact_mut(BLOCK))
        .zip(out.scales.iter_mut().zip(&mut out.sums));
    for (((block, values), rests), (scale, sums)) in blocks {
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
        let mut totals = [0i32; 2];
        for part in 0..2 {
            for index in part * 16..part * 16 + 16 {
                let whole =
                    (block[index] * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
                let high = (whole + 128) >> 8;
                // -128 has no positive counterpart, which the kernels need.
                let low = (whole - (high << 8)).max(-127);
                values[index] = high as i8;
                rests[index] = low as i8;
                totals[part] += (high << 8) + low;
            }
        }
        *sums = totals.map(|total| *scale * total as f32);
    }
}

super::dispatch!(round_rows, round_rows_body, (rows: &[f32], out: &mut IntegerRows));

/// A quantised matrix (outputs, inputs).
#[derive(Clone, Copy)]
pub(crate) enum PackedRows<'a> {
    /// Rearranged.
    Lanes(&'a Lanes),
    /// As GGUF has it.
    Blocks {
        bytes: &'a [u8],
        dtype: GgmlDType,
        outputs: usize,
    },
}

impl PackedRows<'_> {
    fn outputs(&self) -> usize {
        match self {
            Self::Lanes(lanes) => lanes.outputs,
            Self::Blocks { outputs, .. } => *outputs,
        }
    }
}

/// x · Wᵀ of several matrices with the same inputs, in one go: gives (rows, outputs) of each.
pub(crate) fn products(x: &IntegerRows, matrices: &[PackedRows<'_>]) -> Result<Vec<Vec<f32>>> {
    let rows = x.count();
    // Each thread writes whole outputs of all rows: (outputs, rows), turned round below.
    let mut turned: Vec<Vec<f32>> = matrices
        .iter()
        .map(|matrix| vec![0f32; matrix.outputs() * rows])
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
        .try_for_each(|(matrix, first, out)| match matrix {
            PackedRows::Lanes(lanes) => {
                groups(x, lanes, first, out);
                Ok(())
            }
            PackedRows::Blocks {
                bytes,
                dtype,
                outputs,
            } => plain(x, *dtype, &bytes[first * (bytes.len() / outputs)..], out),
        })?;
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
fn groups(x: &IntegerRows, lanes: &Lanes, first: usize, out: &mut [f32]) {
    let rows = x.count();
    let size = lanes.group();
    let groups = lanes.bytes[first / lanes::WIDTH * size..].chunks_exact(size);
    for (group, out) in groups.zip(out.chunks_mut(lanes::WIDTH * rows)) {
        for start in (0..rows).step_by(TOGETHER) {
            let count = TOGETHER.min(rows - start);
            let row = |member: usize| x.row((start + member).min(rows - 1));
            let sums = group_sums(lanes, group, &[row(0), row(1), row(2), row(3)], count);
            for (member, sums) in sums.iter().take(count).enumerate() {
                for (output, sum) in sums.iter().enumerate() {
                    out[output * rows + start + member] = *sum;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn group_sums(
    lanes: &Lanes,
    group: &[u8],
    rows: &[IntegerRow<'_>; TOGETHER],
    count: usize,
) -> [[f32; lanes::WIDTH]; TOGETHER] {
    avx2::dot(lanes.form, group, rows, count)
}

/// Never called: without a kernel no matrix is rearranged.
#[cfg(not(target_arch = "x86_64"))]
fn group_sums(
    _: &Lanes,
    _: &[u8],
    _: &[IntegerRow<'_>; TOGETHER],
    _: usize,
) -> [[f32; lanes::WIDTH]; TOGETHER] {
    [[0.0; lanes::WIDTH]; TOGETHER]
}

/// Outputs of GGUF's own blocks, dequantised.
fn plain(x: &IntegerRows, dtype: GgmlDType, weights: &[u8], out: &mut [f32]) -> Result<()> {
    let width = x.width / dtype.block_size() * dtype.type_size();
    for (weights, out) in weights.chunks_exact(width).zip(out.chunks_mut(x.count())) {
        let CpuStorage::F32(weights) = dtype
            .from_data(Cow::Borrowed(weights))
            .dequantize(x.width)?
        else {
            candle_core::bail!("a quantised row gave no float32")
        };
        for (index, out) in out.iter_mut().enumerate() {
            let row = x.row(index);
            let blocks = weights.chunks_exact(BLOCK).enumerate();
            *out = blocks
                .map(|(block, weights)| {
                    let values: &[i8] = bytemuck::cast_slice(&row.values[block]);
                    let rests: &[i8] = bytemuck::cast_slice(&row.rests[block]);
                    row.scales[block] * dot(weights, values, rests)
                })
                .sum();
        }
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

    const KINDS: [GgmlDType; 10] = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];

    /// A random matrix in GGUF's blocks, and dequantised by candle.
    fn matrix(dtype: GgmlDType, outputs: usize, inputs: usize) -> (Vec<u8>, Vec<f32>) {
        let weights = Tensor::from_vec(
            uniform(outputs * inputs, 1),
            (outputs, inputs),
            &Device::Cpu,
        )
        .expect("a tensor");
        let packed = QTensor::quantize(&weights, dtype).expect("a quantised tensor");
        let dense = packed
            .dequantize(&Device::Cpu)
            .and_then(|weights| weights.flatten_all()?.to_vec1())
            .expect("values");
        (packed.data().expect("bytes").into_owned(), dense)
    }

    #[test]
    fn rearranged_blocks_hold_candles_values() {
        for dtype in KINDS {
            let (bytes, dense) = matrix(dtype, 16, 512);
            let Some(lanes) = Lanes::new(&bytes, dtype, 16, 512) else {
                eprintln!("SKIPPED: this processor has no AVX2");
                return;
            };
            assert_eq!(lanes.dense(0, 16), dense, "{dtype:?}");
            for row in [0, 9, 15] {
                let own = lanes.row(row).expect("a row");
                assert_eq!(own, dense[row * 512..(row + 1) * 512]);
            }
        }
    }

    #[test]
    fn every_kernel_computes_what_dequantised_weights_give() {
        for (dtype, rows) in KINDS
            .into_iter()
            .flat_map(|kind| [(kind, 1), (kind, 2), (kind, 7)])
        {
            let (outputs, inputs) = (40, 512);
            let (bytes, dense) = matrix(dtype, outputs, inputs);
            let input = uniform(rows * inputs, 2);
            let x = IntegerRows::new(&input, inputs);
            let blocks = PackedRows::Blocks {
                bytes: &bytes,
                dtype,
                outputs,
            };
            let lanes = Lanes::new(&bytes, dtype, outputs, inputs);
            let all: Vec<PackedRows<'_>> = lanes
                .iter()
                .map(PackedRows::Lanes)
                .chain([blocks])
                .collect();
            for result in products(&x, &all).expect("products") {
                for (index, result) in result.iter().enumerate() {
                    let (row, output) = (index / outputs, index % outputs);
                    let pairs = input[row * inputs..]
                        .iter()
                        .zip(&dense[output * inputs..(output + 1) * inputs]);
                    let exact: f64 = pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    let off = (f64::from(*result) - exact).abs();
                    assert!(off < 2e-3, "{dtype:?} with {rows} rows is off by {off}");
                }
            }
        }
    }

    #[test]
    fn a_row_gets_the_same_numbers_in_any_company() {
        let (outputs, inputs) = (8, 256);
        for dtype in KINDS {
            let (bytes, _) = matrix(dtype, outputs, inputs);
            let lanes = Lanes::new(&bytes, dtype, outputs, inputs);
            let matrix = lanes.as_ref().map_or(
                PackedRows::Blocks {
                    bytes: &bytes,
                    dtype,
                    outputs,
                },
                PackedRows::Lanes,
            );
            let rows = uniform(7 * inputs, 4);
            let together = products(&IntegerRows::new(&rows, inputs), &[matrix]).expect("products");
            for (row, expected) in rows.chunks(inputs).zip(together[0].chunks(outputs)) {
                let alone = products(&IntegerRows::new(row, inputs), &[matrix]).expect("products");
                assert_eq!(alone[0], expected);
            }
        }
    }
}
