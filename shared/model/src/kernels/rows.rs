use super::{dispatch, math, values};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape};
use rayon::prelude::*;

/// Values that one thread handles at a time; fewer are not worth waking another.
const PIECE: usize = 16 * 1024;

/// x / √(mean(x²) + eps) · weight over the last dimension, of x and weight, without a graph.
pub(crate) struct NormRows {
    pub(crate) eps: f32,
}

impl CustomOp2 for NormRows {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (values(x, x_layout)?, values(weight, weight_layout)?);
        let mut out = vec![0f32; x.len()];
        let piece = (PIECE / weight.len()).max(1) * weight.len();
        out.par_chunks_mut(piece)
            .zip(x.par_chunks(piece))
            .for_each(|(out, x)| norm_rows(out, x, weight, self.eps));
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

#[inline(always)]
fn norm_rows_body<const FUSED: bool>(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let width = weight.len();
    for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let inverse = 1.0 / (math::dot::<FUSED>(x, x) / width as f32 + eps).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * inverse * weight;
        }
    }
}

dispatch!(norm_rows, norm_rows_body, (out: &mut [f32], x: &[f32], weight: &[f32], eps: f32));

/// Rotates each head of (rows, heads, width) by the angles whose cosines and sines (rows, width / 2) are given, without a
/// graph.
pub(crate) struct RotateRows;

impl CustomOp3 for RotateRows {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, heads, width) = x_layout.shape().dims3()?;
        let x = values(x, x_layout)?;
        let (cos, sin) = (values(cos, cos_layout)?, values(sin, sin_layout)?);
        let (row, half) = (heads * width, width / 2);
        let mut out = vec![0f32; x.len()];
        let rows = (PIECE / row).max(1);
        out.par_chunks_mut(rows * row)
            .zip(x.par_chunks(rows * row))
            .zip(cos.par_chunks(rows * half).zip(sin.par_chunks(rows * half)))
            .for_each(|((out, x), (cos, sin))| rotate_rows(out, x, cos, sin, row));
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

#[inline(always)]
fn rotate_rows_body<const FUSED: bool>(
    out: &mut [f32],
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    row: usize,
) {
    // As many rows of cosines as of x.
    let half = cos.len() * row / x.len().max(1);
    let rows = out.chunks_exact_mut(row).zip(x.chunks_exact(row));
    for ((out, x), (cos, sin)) in rows.zip(cos.chunks_exact(half).zip(sin.chunks_exact(half))) {
        let heads = out.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half));
        for (out, x) in heads {
            let (left, right) = out.split_at_mut(half);
            let (first, second) = x.split_at(half);
            for index in 0..half {
                left[index] = first[index] * cos[index] - second[index] * sin[index];
                right[index] = second[index] * cos[index] + first[index] * sin[index];
            }
        }
    }
}

dispatch!(rotate_rows, rotate_rows_body, (out: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], row: usize));
