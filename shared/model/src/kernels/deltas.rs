use super::{dispatch, math, values};
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Products of one row above which they are spread over threads.
const PARALLEL_FROM: usize = 64 * 1024;
/// Outputs that one thread computes at a time.
const PIECE: usize = 512;
/// Outputs whose sums are kept in registers.
const TOGETHER: usize = 64;

/// The two factors of a LoRA pair, laid out for single rows: both are read from front to back.
#[derive(Debug)]
pub(crate) struct Factors {
    /// (rank, inputs).
    a: Vec<f32>,
    /// scaling · B, turned: (rank, outputs).
    b: Vec<f32>,
    rank: usize,
}

impl Factors {
    /// From A (rank, inputs) and B (outputs, rank) in float32 on the CPU.
    pub(crate) fn new(a: &Tensor, b: &Tensor, scaling: f64) -> candle_core::Result<Self> {
        Ok(Self {
            a: a.flatten_all()?.to_vec1()?,
            b: (b.t()?.contiguous()? * scaling)?.flatten_all()?.to_vec1()?,
            rank: a.dim(0)?,
        })
    }

    /// y += scaling · B A x of one row.
    fn add(&self, x: &[f32], y: &mut [f32]) {
        let mut inner = vec![0f32; self.rank];
        if self.a.len() + self.b.len() < PARALLEL_FROM {
            reduce(&self.a, x, &mut inner);
            expand(&self.b, &inner, 0, y.len(), y);
            return;
        }
        let outputs = y.len();
        inner
            .par_iter_mut()
            .zip(self.a.par_chunks(x.len()))
            .for_each(|(inner, a)| reduce(a, x, std::slice::from_mut(inner)));
        y.par_chunks_mut(PIECE)
            .enumerate()
            .for_each(|(index, y)| expand(&self.b, &inner, index * PIECE, outputs, y));
    }
}

#[inline(always)]
fn reduce_body<const FUSED: bool>(a: &[f32], x: &[f32], inner: &mut [f32]) {
    for (inner, a) in inner.iter_mut().zip(a.chunks_exact(x.len())) {
        *inner = math::dot::<FUSED>(a, x);
    }
}

/// Outputs from `first` on, of `outputs`.
#[inline(always)]
fn expand_body<const FUSED: bool>(
    b: &[f32],
    inner: &[f32],
    first: usize,
    outputs: usize,
    y: &mut [f32],
) {
    for (index, y) in y.chunks_mut(TOGETHER).enumerate() {
        let at = first + index * TOGETHER;
        let mut sums = [0f32; TOGETHER];
        for (rank, inner) in inner.iter().enumerate() {
            let b = &b[rank * outputs + at..rank * outputs + at + y.len()];
            math::add_scaled::<FUSED>(&mut sums[..b.len()], *inner, b);
        }
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
    }
}

dispatch!(reduce, reduce_body, (a: &[f32], x: &[f32], inner: &mut [f32]));
dispatch!(expand, expand_body, (b: &[f32], inner: &[f32], first: usize, outputs: usize, y: &mut [f32]));

/// y += scaling · B A x, row by row: for a few rows each with its own adapter, or with none. A row gets the same bits
/// whatever other rows are computed with it.
pub(crate) struct Deltas<'a>(pub(crate) Vec<(Range<usize>, &'a Factors)>);

impl InplaceOp2 for Deltas<'_> {
    fn name(&self) -> &'static str {
        "add-adapters"
    }

    fn cpu_fwd(
        &self,
        y: &mut CpuStorage,
        y_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (rows, outputs) = y_layout.shape().dims2()?;
        let inputs = x_layout.shape().dims2()?.1;
        let x = values(x, x_layout)?;
        let (CpuStorage::F32(y), Some((start, end))) = (y, y_layout.contiguous_offsets()) else {
            candle_core::bail!("adapters are added to contiguous rows in float32")
        };
        let y = &mut y[start..end];
        let mut factors = vec![None; rows];
        for (range, own) in &self.0 {
            factors[range.clone()].fill(Some(*own));
        }
        y.par_chunks_mut(outputs)
            .zip(x.par_chunks(inputs))
            .zip(&factors)
            .for_each(|((y, x), factors)| {
                if let Some(factors) = factors {
                    factors.add(x, y);
                }
            });
        Ok(())
    }
}
