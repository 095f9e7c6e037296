use super::pages::Pages;
use super::product::{Out, View, product_alone};
use super::{dispatch, math, prefetch, values};
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Outputs whose weights of B stand together.
pub(super) const BLOCK: usize = 32;
/// Rows that one thread multiplies at a time where there are many.
const ROWS: usize = 64;

/// The two factors of a LoRA pair, laid out for single rows: both are read from front to back.
#[derive(Debug)]
pub(crate) struct Factors {
    /// Those of a whole adapter.
    pages: Arc<Pages>,
    /// (rank, inputs).
    a: Range<usize>,
    /// scaling · B: block by block, (rank, outputs of the block).
    b: Range<usize>,
    rank: usize,
    outputs: usize,
}

impl Factors {
    /// From A (rank, inputs), B (outputs, rank) and scaling of each pair, in float32 on the CPU; side by side in memory.
    pub(crate) fn of_all(pairs: &[(&Tensor, &Tensor, f64)]) -> candle_core::Result<Vec<Self>> {
        let sizes = pairs.iter().flat_map(|(a, b, _)| [a, b]);
        let mut pages = Pages::new(sizes.map(|factor| factor.elem_count()))?;
        let mut places = Vec::with_capacity(pairs.len());
        for (a, b, scaling) in pairs {
            let (outputs, rank) = b.dims2()?;
            let mut put = |values: &mut dyn Iterator<Item = f32>, length: usize| {
                let first = pages.push(values, length);
                first..first + length
            };
            let rows: Vec<f32> = a.flatten_all()?.to_vec1()?;
            let a = put(&mut rows.into_iter(), a.elem_count());
            let rows: Vec<f32> = (b.contiguous()? * *scaling)?.flatten_all()?.to_vec1()?;
            let blocks = rows.chunks(BLOCK * rank.max(1));
            let mut blocks = blocks.flat_map(|block| {
                (0..rank).flat_map(move |index| block.iter().skip(index).step_by(rank).copied())
            });
            let b = put(&mut blocks, b.elem_count());
            places.push((a, b, rank, outputs));
        }
        let pages = Arc::new(pages);
        let factors = places.into_iter().map(|(a, b, rank, outputs)| Self {
            pages: Arc::clone(&pages),
            a,
            b,
            rank,
            outputs,
        });
        Ok(factors.collect())
    }

    fn a(&self) -> &[f32] {
        &self.pages.values()[self.a.clone()]
    }

    fn b(&self) -> &[f32] {
        &self.pages.values()[self.b.clone()]
    }

    /// Ranges of ranks that together are all: as many as there are threads, or one where A has few values.
    pub(super) fn ranks_at_a_time(&self, few: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let rank = self.rank;
        let together = match self.a.len() {
            values if values <= few => rank.max(1),
            _ => rank.div_ceil(rayon::current_num_threads()),
        };
        (0..rank)
            .step_by(together)
            .map(move |first| first..(first + together).min(rank))
    }

    /// Some ranks of A x: (rows of x, ranks).
    pub(super) fn reduce(&self, x: Vec<&[f32]>, ranks: Range<usize>) -> Vec<f32> {
        let (a, inputs) = (self.a(), self.a.len() / self.rank.max(1));
        let mut inner = vec![0f32; x.len() * ranks.len()];
        reduce(&a[ranks.start * inputs..ranks.end * inputs], &x, &mut inner);
        inner
    }

    /// B for the outputs from `first` on, a multiple of [`BLOCK`].
    pub(super) fn block(&self, first: usize) -> Block<'_> {
        let width = BLOCK.min(self.outputs - first);
        let (own, next) = self.b()[first * self.rank..].split_at(width * self.rank);
        prefetch(&next[..next.len().min(own.len())]);
        Block {
            weights: own,
            width,
        }
    }

    /// Asks for what [`Factors::block`] is going to give, while something else is computed.
    pub(super) fn prefetch(&self, first: usize) {
        let end = (first + BLOCK).min(self.outputs);
        prefetch(&self.b()[first * self.rank..end * self.rank]);
    }

    /// y += scaling · B A x of one row.
    fn add(&self, x: &[f32], y: &mut [f32]) {
        let inner = self.reduce(vec![x], 0..self.rank);
        for (index, y) in y.chunks_mut(BLOCK).enumerate() {
            self.block(index * BLOCK)
                .add([inner.as_slice()].into_iter(), y);
        }
    }
}

/// scaling · B of up to [`BLOCK`] outputs: (rank, outputs).
pub(super) struct Block<'a> {
    weights: &'a [f32],
    width: usize,
}

impl Block<'_> {
    /// y += scaling · B · inner, which is given in pieces.
    pub(super) fn add<'a>(&self, inner: impl Iterator<Item = &'a [f32]>, y: &mut [f32]) {
        let (mut sums, mut weights) = ([0f32; BLOCK], self.weights);
        let sums = &mut sums[..self.width];
        for inner in inner {
            let (own, rest) = weights.split_at(inner.len() * self.width);
            expand(own, inner, sums);
            weights = rest;
        }
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y += *sum);
    }
}

#[inline(always)]
fn reduce_body<const FUSED: bool>(a: &[f32], x: &[&[f32]], inner: &mut [f32]) {
    let (inputs, ranks) = (
        x.first().map_or(1, |x| x.len()),
        inner.len() / x.len().max(1),
    );
    let mut rest = a;
    for rank in 0..ranks {
        let (own, next) = rest.split_at(inputs);
        prefetch(&next[..inputs.min(next.len())]);
        for (row, x) in x.iter().enumerate() {
            inner[row * ranks + rank] = math::dot::<FUSED>(own, x);
        }
        rest = next;
    }
}

/// Outputs of one block.
#[inline(always)]
fn expand_body<const FUSED: bool>(b: &[f32], inner: &[f32], sums: &mut [f32]) {
    if let Ok(sums) = <&mut [f32; BLOCK]>::try_from(&mut *sums) {
        let mut own = *sums;
        for (b, inner) in b.as_chunks::<BLOCK>().0.iter().zip(inner) {
            math::add_scaled::<FUSED>(&mut own, *inner, b);
        }
        *sums = own;
        return;
    }
    for (b, inner) in b.chunks_exact(sums.len().max(1)).zip(inner) {
        math::add_scaled::<FUSED>(sums, *inner, b);
    }
}

dispatch!(reduce, reduce_body, (a: &[f32], x: &[&[f32]], inner: &mut [f32]));
dispatch!(expand, expand_body, (b: &[f32], inner: &[f32], sums: &mut [f32]));

/// The adapter of some rows that follow one another.
pub(crate) enum Delta<'a> {
    /// For a few rows, one by one: each gets the same bits whatever other rows are computed with it.
    Few(&'a Factors),
    /// For many, by matrix products: A (rank, inputs) and B (outputs, rank).
    Many {
        a: &'a [f32],
        b: &'a [f32],
        scaling: f32,
    },
}

impl Delta<'_> {
    /// Rows that one thread computes at a time.
    fn rows_at_a_time(&self) -> usize {
        match self {
            Self::Few(_) => 1,
            Self::Many { .. } => ROWS,
        }
    }

    /// y += scaling · B A x for rows of so many inputs and outputs.
    fn add(&self, x: &[f32], y: &mut [f32], [inputs, outputs]: [usize; 2]) {
        let (a, b, scaling) = match self {
            Self::Few(factors) => return factors.add(x, y),
            Self::Many { a, b, scaling } => (*a, *b, *scaling),
        };
        let (rows, rank) = (x.len() / inputs, a.len() / inputs);
        let mut inner = vec![0f32; rows * rank];
        let a = View::new(a, inputs).t();
        product_alone(Out::new(&mut inner, rank), View::new(x, inputs), a);
        inner.iter_mut().for_each(|value| *value *= scaling);
        let (inner, b) = (View::new(&inner, rank), View::new(b, rank).t());
        product_alone(Out::new(y, outputs).adding(true), inner, b);
    }
}

/// y += scaling · B A x: rows, each range with its own adapter; those of no range stay as they are. The ranges are in order.
pub(crate) struct Deltas<'a>(pub(crate) Vec<(Range<usize>, Delta<'a>)>);

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
        let (_, outputs) = y_layout.shape().dims2()?;
        let inputs = x_layout.shape().dims2()?.1;
        let x = values(x, x_layout)?;
        let (CpuStorage::F32(y), Some((start, end))) = (y, y_layout.contiguous_offsets()) else {
            candle_core::bail!("adapters are added to contiguous rows in float32")
        };
        let mut rest = &mut y[start..end];
        let mut tasks = Vec::new();
        let mut row = 0;
        for (range, delta) in &self.0 {
            let (_, own) = rest.split_at_mut((range.start - row) * outputs);
            let (own, after) = own.split_at_mut(range.len() * outputs);
            let x = &x[range.start * inputs..range.end * inputs];
            let rows = delta.rows_at_a_time();
            let pieces = own.chunks_mut(rows * outputs).zip(x.chunks(rows * inputs));
            tasks.extend(pieces.map(|(y, x)| (delta, x, y)));
            (rest, row) = (after, range.end);
        }
        tasks
            .into_par_iter()
            .for_each(|(delta, x, y)| delta.add(x, y, [inputs, outputs]));
        Ok(())
    }
}
