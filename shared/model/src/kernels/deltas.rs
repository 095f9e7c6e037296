use super::factors::Factors;
use super::product::{Out, View, product_alone};
use super::values;
use candle_core::{CpuStorage, InplaceOp2, Layout};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that one thread multiplies at a time where there are many.
const ROWS: usize = 64;

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
