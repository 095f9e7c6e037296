//! Products of rows with quantised matrices, in integers. Where the processor has AVX2 or AVX-512 the matrices are rearranged
//! when they are loaded ([`Lanes`]), and the weights are read once for several rows; elsewhere they are dequantised row by row.
//!
//! Each row is rounded in blocks of 32 to 16 bits, kept as two bytes. Other GGUF engines round to 8 bits, and a small
//! model's greedy text then depends on that noise: llama.cpp's own texts for SmolLM2 change in half of the prompts when
//! only its KV cache goes from 16 to 32 bits. The second byte costs little, since weights are unpacked once for both,
//! and makes decode, prefill and training agree. A row gets the same bits whatever other rows are computed with it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod lanes;
mod round;

pub(crate) use lanes::{Lanes, widen_blocks};
pub(crate) use round::IntegerRows;

use super::few::{self, FewLayer, FewRows};
use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, Result};
use lanes::MOST_ROWS;
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights that share a scale in the activations.
pub(super) const BLOCK: usize = 32;
/// Outputs that one thread computes at a time: a multiple of every width of [`Lanes`].
pub(super) const OUTPUTS: usize = 32;
/// From this many rows on, threads share out the rows, not the outputs.
pub(crate) const MANY_ROWS: usize = 16;

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
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Lanes(lanes) => lanes.outputs,
            Self::Blocks { outputs, .. } => *outputs,
        }
    }
}

/// x · Wᵀ of several matrices with the same inputs, in one go: gives (rows, outputs) of each.
pub(crate) fn products(x: &IntegerRows, matrices: &[PackedRows<'_>]) -> Result<Vec<Vec<f32>>> {
    let one = |matrix: &PackedRows<'_>| match matrix {
        PackedRows::Lanes(lanes) => Some(many(x, lanes)),
        PackedRows::Blocks { .. } => None,
    };
    if x.count() >= MANY_ROWS
        && let Some(results) = matrices.iter().map(one).collect()
    {
        return Ok(results);
    }
    let layers: Vec<_> = matrices.iter().map(|one| FewLayer::new(*one)).collect();
    let x = FewRows {
        values: &[],
        width: x.width,
        rounded: Some(x),
    };
    few::products(&x, &layers)
}

/// Outputs from `first` on: as many of each row as its slice in `out` holds.
pub(super) fn some_outputs(
    x: &IntegerRows,
    matrix: &PackedRows<'_>,
    first: usize,
    out: &mut [&mut [f32]],
) -> Result<()> {
    let count = out.first().map_or(0, |row| row.len());
    match matrix {
        PackedRows::Lanes(lanes) => {
            lanes.multiply(&x.panels, first..first + count, |output, row, sums| {
                let at = output - first;
                out[row][at..at + sums.len()].copy_from_slice(sums);
            });
            Ok(())
        }
        PackedRows::Blocks {
            bytes,
            dtype,
            outputs,
        } => plain(x, *dtype, &bytes[first * (bytes.len() / outputs)..], out),
    }
}

/// All outputs of many rows: (rows, outputs). Each thread takes whole rows, some at a time, so that their activations stay
/// in its cache while the weights pass by.
fn many(x: &IntegerRows, lanes: &Lanes) -> Vec<f32> {
    let (rows, outputs) = (x.count(), lanes.outputs);
    let mut out = vec![0f32; rows * outputs];
    let share = rows.div_ceil(4 * rayon::current_num_threads());
    let panels = share.div_ceil(MOST_ROWS).min(4);
    let rest = rows / MOST_ROWS * MOST_ROWS;
    let (whole, last) = out.split_at_mut(rest * outputs);
    let pieces = whole.par_chunks_mut(panels * MOST_ROWS * outputs);
    let (full, smaller) = x.panels.split_at(rest / MOST_ROWS);
    pieces
        .zip(full.par_chunks(panels))
        .chain([(last, smaller)])
        .for_each(|(out, panels)| {
            let first = panels.first().map_or(0, |panel| panel.first);
            lanes.multiply(panels, 0..outputs, |output, row, sums| {
                let at = (row - first) * outputs + output;
                out[at..at + sums.len()].copy_from_slice(sums);
            });
        });
    out
}

/// Outputs of GGUF's own blocks, dequantised.
fn plain(x: &IntegerRows, dtype: GgmlDType, weights: &[u8], out: &mut [&mut [f32]]) -> Result<()> {
    let width = x.width / dtype.block_size() * dtype.type_size();
    let panels = x.panels.iter();
    let rows: Vec<Vec<f32>> = panels
        .flat_map(|panel| (0..panel.rows).map(|row| panel.row(row)))
        .collect();
    let count = out.first().map_or(0, |row| row.len());
    for (output, weights) in weights.chunks_exact(width).take(count).enumerate() {
        let CpuStorage::F32(weights) = dtype
            .from_data(Cow::Borrowed(weights))
            .dequantize(x.width)?
        else {
            candle_core::bail!("a quantised row gave no float32")
        };
        for (row, out) in rows.iter().zip(out.iter_mut()) {
            out[output] = row.iter().zip(&weights).map(|(x, weight)| x * weight).sum();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::lanes::widths;
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
            let (bytes, dense) = matrix(dtype, 32, 512);
            if widths().is_empty() {
                eprintln!("SKIPPED: this processor has no AVX2");
            }
            let mut plain = vec![0f32; dense.len()];
            assert!(widen_blocks(dtype, &bytes, &mut plain));
            assert_eq!(plain, dense, "{dtype:?}");
            for width in widths() {
                let lanes = Lanes::of_width(width, &bytes, dtype, 32, 512).expect("a form");
                assert_eq!(lanes.dense(0, 32), dense, "{dtype:?}");
                for row in [0, 9, 31] {
                    let own = lanes.row(row).expect("a row");
                    assert_eq!(own, dense[row * 512..(row + 1) * 512]);
                }
            }
        }
    }

    #[test]
    fn every_kernel_computes_what_dequantised_weights_give() {
        for (dtype, rows) in KINDS
            .into_iter()
            .flat_map(|kind| [(kind, 1), (kind, 2), (kind, 7), (kind, 37)])
        {
            let (outputs, inputs) = (48, 512);
            let (bytes, dense) = matrix(dtype, outputs, inputs);
            let input = uniform(rows * inputs, 2);
            let x = IntegerRows::new(&input, inputs);
            let blocks = PackedRows::Blocks {
                bytes: &bytes,
                dtype,
                outputs,
            };
            let lanes: Vec<Lanes> = widths()
                .into_iter()
                .filter_map(|width| Lanes::of_width(width, &bytes, dtype, outputs, inputs))
                .collect();
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
        let (outputs, inputs) = (32, 256);
        for (dtype, count) in KINDS.into_iter().flat_map(|kind| [(kind, 7), (kind, 41)]) {
            let (bytes, _) = matrix(dtype, outputs, inputs);
            let blocks = PackedRows::Blocks {
                bytes: &bytes,
                dtype,
                outputs,
            };
            let lanes: Vec<Lanes> = widths()
                .into_iter()
                .filter_map(|width| Lanes::of_width(width, &bytes, dtype, outputs, inputs))
                .collect();
            let rows = uniform(count * inputs, 4);
            for matrix in lanes.iter().map(PackedRows::Lanes).chain([blocks]) {
                let together =
                    products(&IntegerRows::new(&rows, inputs), &[matrix]).expect("products");
                for (row, expected) in rows.chunks(inputs).zip(together[0].chunks(outputs)) {
                    let alone =
                        products(&IntegerRows::new(row, inputs), &[matrix]).expect("products");
                    assert_eq!(alone[0], expected, "{dtype:?}");
                }
            }
        }
    }
}
