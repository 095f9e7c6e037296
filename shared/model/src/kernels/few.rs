//! Products of a few rows, with all that is added to them, in one go over the threads.

use super::factors::{BLOCK, Factors, Inner};
use super::integers::{IntegerRows, OUTPUTS, PackedRows, some_outputs};
use super::{dispatch, math};
use candle_core::Result;
use rayon::prelude::*;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Values of A above which its ranks are shared out over the threads.
const INNER: usize = 4 * 1024;
/// The most outputs that one thread computes in one go, where there are many, so that the others can take the rest.
const MOST_OUTPUTS: usize = 16 * OUTPUTS;

/// What there is one of for each of a few rows: in place for one row, which is what single requests have, and for some more.
type PerRow<T> = SmallVec<[T; 4]>;

/// A few rows: as they are, and rounded.
#[derive(Clone, Copy)]
pub(crate) struct FewRows<'a> {
    /// (rows, width); needed where a matrix is not quantised or a row has an adapter.
    pub(crate) values: &'a [f32],
    pub(crate) width: usize,
    /// Needed where a matrix is quantised.
    pub(crate) rounded: Option<&'a IntegerRows>,
}

impl<'a> FewRows<'a> {
    fn count(&self) -> usize {
        match self.rounded {
            Some(rounded) => rounded.count(),
            None => self.values.len() / self.width.max(1),
        }
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// A matrix (outputs, inputs).
#[derive(Clone, Copy)]
pub(crate) enum Weights<'a> {
    Packed(PackedRows<'a>),
    Dense(&'a [f32]),
}

/// A matrix with what is added to its products: y = W x + bias + scaling · B A x.
pub(crate) struct FewLayer<'a> {
    pub(crate) weights: Weights<'a>,
    pub(crate) outputs: usize,
    pub(crate) bias: Option<&'a [f32]>,
    /// The adapter of each row; empty where no row has one.
    pub(crate) factors: Vec<Option<&'a Factors>>,
}

impl<'a> FewLayer<'a> {
    /// The matrix alone.
    pub(super) fn new(matrix: PackedRows<'a>) -> Self {
        Self {
            outputs: matrix.outputs(),
            weights: Weights::Packed(matrix),
            bias: None,
            factors: Vec::new(),
        }
    }

    /// Outputs of W x from `first` on: as many of each row as its slice in `out` holds.
    fn multiply(&self, x: &FewRows<'_>, first: usize, out: &mut [&mut [f32]]) -> Result<()> {
        match (self.weights, x.rounded) {
            (Weights::Dense(weights), _) => {
                let rows: Vec<&[f32]> = (0..x.count()).map(|row| x.row(row)).collect();
                let end = first + out.first().map_or(0, |row| row.len());
                multiply_dense(&weights[first * x.width..end * x.width], &rows, out);
                Ok(())
            }
            (Weights::Packed(matrix), Some(x)) => some_outputs(x, &matrix, first, out),
            (Weights::Packed(_), None) => {
                candle_core::bail!("a quantised matrix needs rounded rows")
            }
        }
    }
}

#[inline(always)]
fn multiply_dense_body<const FUSED: bool>(weights: &[f32], x: &[&[f32]], out: &mut [&mut [f32]]) {
    let inputs = x.first().map_or(1, |x| x.len());
    for (output, weights) in weights.chunks_exact(inputs).enumerate() {
        for (x, out) in x.iter().zip(out.iter_mut()) {
            out[output] = math::dot::<FUSED>(weights, x);
        }
    }
}

dispatch!(multiply_dense, multiply_dense_body, (weights: &[f32], x: &[&[f32]], out: &mut [&mut [f32]]));

/// Rows of one layer that have the same adapter, so that it is read once for all of them.
struct Group<'a> {
    factors: &'a Factors,
    rows: PerRow<usize>,
    parts: PerRow<Part>,
}

/// Some ranks of A x: (rows of the group, ranks). Whoever needs them first computes them.
struct Part {
    ranks: Range<usize>,
    values: OnceLock<Inner>,
}

impl Group<'_> {
    fn get<'a>(&self, part: &'a Part, x: &FewRows<'_>) -> &'a [f32] {
        part.values.get_or_init(|| {
            let rows: PerRow<_> = self.rows.iter().map(|row| x.row(*row)).collect();
            self.factors.reduce(&rows, part.ranks.clone())
        })
    }
}

/// Some outputs of a layer, of every row.
struct Piece<'a> {
    layer: usize,
    first: usize,
    out: PerRow<&'a mut [f32]>,
}

/// The pieces of each thread. They follow one another, so that a thread reads weights and adapters as one stream.
struct Queues<'a>(Vec<Mutex<VecDeque<Piece<'a>>>>);

impl<'a> Queues<'a> {
    fn new(pieces: Vec<Piece<'a>>) -> Self {
        let threads = rayon::current_num_threads();
        let mut queues: Vec<VecDeque<_>> = (0..threads).map(|_| VecDeque::new()).collect();
        let count = pieces.len();
        for (index, piece) in pieces.into_iter().enumerate() {
            queues[index * threads / count].push_back(piece);
        }
        Self(queues.into_iter().map(Mutex::new).collect())
    }

    fn queue(&self, thread: usize) -> MutexGuard<'_, VecDeque<Piece<'a>>> {
        let queue = self.0[thread % self.0.len()].lock();
        queue.unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's next piece; when it has none left, the last one of another.
    fn next(&self, thread: usize) -> Option<Piece<'a>> {
        let own = self.queue(thread).pop_front();
        own.or_else(|| (1..self.0.len()).find_map(|other| self.queue(thread + other).pop_back()))
    }
}

/// Layers, and the groups of rows of each.
struct Work<'a> {
    x: &'a FewRows<'a>,
    layers: &'a [FewLayer<'a>],
    groups: Vec<SmallVec<[Group<'a>; 1]>>,
}

impl Work<'_> {
    /// What one thread does of it. Products with A are short and come first: when the first piece is multiplied, A x is
    /// there, and nobody waits in between.
    fn share(&self, thread: usize, queues: &Queues<'_>) -> Result<()> {
        let groups = self.groups.iter().flatten();
        let parts = groups.flat_map(|group| group.parts.iter().map(move |part| (group, part)));
        for (group, part) in parts.skip(thread).step_by(queues.0.len()) {
            group.get(part, self.x);
        }
        while let Some(mut piece) = queues.next(thread) {
            let groups = &self.groups[piece.layer];
            groups
                .iter()
                .for_each(|group| group.factors.prefetch(piece.first));
            self.multiply(&mut piece)?;
            groups.iter().for_each(|group| self.add(group, &mut piece));
        }
        Ok(())
    }

    /// W x + bias.
    fn multiply(&self, piece: &mut Piece<'_>) -> Result<()> {
        let layer = &self.layers[piece.layer];
        layer.multiply(self.x, piece.first, &mut piece.out)?;
        if let Some(bias) = layer.bias {
            add_bias(&bias[piece.first..], &mut piece.out);
        }
        Ok(())
    }

    /// Adds scaling · B A x.
    fn add(&self, group: &Group<'_>, piece: &mut Piece<'_>) {
        let parts = group.parts.iter();
        let parts: PerRow<_> = parts.map(|part| group.get(part, self.x)).collect();
        group.add(&parts, piece.first, &mut piece.out);
    }
}

/// The layers applied to rows: (rows, outputs) of each. A row gets the same bits whatever other rows are computed with it.
pub(crate) fn products(x: &FewRows<'_>, layers: &[FewLayer<'_>]) -> Result<Vec<Vec<f32>>> {
    let share = outputs_at_a_time(layers);
    let mut results: Vec<Vec<f32>> = layers
        .iter()
        .map(|layer| vec![0f32; layer.outputs * x.count()])
        .collect();
    let outputs = results.iter_mut().zip(layers).enumerate();
    let cut = outputs.flat_map(|(layer, (out, FewLayer { outputs, .. }))| {
        let pieces = pieces(out, *outputs, share).enumerate();
        pieces.map(move |(index, out)| Piece {
            layer,
            first: index * share,
            out,
        })
    });
    let queues = Queues::new(cut.collect());
    let work = Work {
        x,
        layers,
        groups: layers.iter().map(groups).collect(),
    };
    (0..rayon::current_num_threads())
        .into_par_iter()
        .with_max_len(1)
        .try_for_each(|thread| work.share(thread, &queues))?;
    drop(queues);
    Ok(results)
}

/// (rows, outputs), cut into pieces of `share` outputs of every row.
fn pieces(
    out: &mut [f32],
    outputs: usize,
    share: usize,
) -> impl Iterator<Item = PerRow<&mut [f32]>> {
    let mut rows: PerRow<_> = out
        .chunks_mut(outputs.max(1))
        .map(|row| row.chunks_mut(share))
        .collect();
    (0..outputs.div_ceil(share)).map(move |_| rows.iter_mut().filter_map(Iterator::next).collect())
}

/// Outputs of one task: a multiple of [`OUTPUTS`], and so many tasks that no thread waits long for another.
fn outputs_at_a_time(layers: &[FewLayer<'_>]) -> usize {
    let all: usize = layers.iter().map(|layer| layer.outputs).sum();
    let tasks = 8 * rayon::current_num_threads();
    all.div_ceil(tasks)
        .next_multiple_of(OUTPUTS)
        .min(MOST_OUTPUTS)
}

fn groups<'a>(layer: &FewLayer<'a>) -> SmallVec<[Group<'a>; 1]> {
    let mut groups: SmallVec<[Group<'_>; 1]> = SmallVec::new();
    let rows = layer.factors.iter().enumerate();
    for (row, factors) in rows.filter_map(|(row, factors)| Some((row, (*factors)?))) {
        let known = |group: &&mut Group<'_>| std::ptr::eq(group.factors, factors);
        match groups.iter_mut().find(known) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group {
                factors,
                rows: PerRow::from_slice(&[row]),
                parts: factors
                    .ranks_at_a_time(INNER)
                    .map(|ranks| Part {
                        ranks,
                        values: OnceLock::new(),
                    })
                    .collect(),
            }),
        }
    }
    groups
}

fn add_bias(bias: &[f32], out: &mut [&mut [f32]]) {
    for out in out {
        out.iter_mut()
            .zip(bias)
            .for_each(|(out, bias)| *out += bias);
    }
}

impl Group<'_> {
    /// Adds scaling · B · inner to outputs from `first` on; `parts` are all of `inner`.
    fn add(&self, parts: &[&[f32]], first: usize, out: &mut [&mut [f32]]) {
        let count = out.first().map_or(0, |row| row.len());
        for at in (0..count).step_by(BLOCK) {
            let block = self.factors.block(first + at);
            for (place, row) in self.rows.iter().enumerate() {
                let inner = parts.iter().map(|part| {
                    let ranks = part.len() / self.rows.len();
                    &part[place * ranks..(place + 1) * ranks]
                });
                block.add(inner, &mut out[*row][at..(at + BLOCK).min(count)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors::{Pair, Precision};
    use super::*;
    use crate::random::Random;
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    fn random(shape: (usize, usize), seed: u64) -> Tensor {
        let mut random = Random::new(seed);
        let values: Vec<f32> = (0..shape.0 * shape.1)
            .map(|_| random.uniform() - 0.5)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        tensor.to_vec2().expect("rows")
    }

    /// More ranks than one part has, outputs that end within a block, rows with one adapter, another one and none; a
    /// matrix that is quantised and the same that is not.
    #[test]
    fn bias_and_the_adapter_of_each_row_are_added() {
        let (outputs, inputs, rank) = (80, 512, 20);
        let packed = QTensor::quantize(&random((outputs, inputs), 1), GgmlDType::Q8_0);
        let packed = packed.expect("a quantised tensor");
        let weights = packed.dequantize(&Device::Cpu).expect("weights");
        let dense = rows(&weights).concat();
        let bytes = packed.data().expect("bytes");
        let bias = rows(&random((1, outputs), 2)).remove(0);
        let pairs =
            [3, 4].map(|seed| (random((rank, inputs), seed), random((outputs, rank), seed)));
        let factors = |precision| {
            let all = pairs.each_ref().map(|(a, b)| Pair {
                a,
                b,
                scaling: 2.0,
                precision,
            });
            Factors::of_all(&all).expect("factors")
        };
        let (rounded, whole) = (factors(Precision::Int16), factors(Precision::Float32));
        let x = random((4, inputs), 5);
        let values = rows(&x).concat();
        let own = [Some(0), None, Some(1), Some(0)];
        let blocks = PackedRows::Blocks {
            bytes: &bytes,
            dtype: GgmlDType::Q8_0,
            outputs,
        };
        let layers = [
            (Weights::Packed(blocks), &rounded),
            (Weights::Dense(&dense), &whole),
        ];
        let layers = layers.map(|(weights, factors)| FewLayer {
            weights,
            outputs,
            bias: Some(&bias),
            factors: own.map(|index| index.map(|index| &factors[index])).to_vec(),
        });
        let integers = IntegerRows::new(&values, inputs);
        let few = FewRows {
            values: &values,
            width: inputs,
            rounded: Some(&integers),
        };
        let found = products(&few, &layers).expect("products");
        let product =
            |x: &Tensor, w: &Tensor| x.matmul(&w.t().expect("turned")).expect("a product");
        let base = rows(&product(&x, &weights));
        let deltas = pairs
            .each_ref()
            .map(|(a, b)| rows(&product(&product(&x, a), b)));
        for (found, most) in found.iter().zip([2e-3, 1e-4]) {
            for (index, found) in found.iter().enumerate() {
                let (row, output) = (index / outputs, index % outputs);
                let delta = own[row].map_or(0.0, |adapter| 2.0 * deltas[adapter][row][output]);
                let expected = base[row][output] + bias[output] + delta;
                assert!(
                    (found - expected).abs() < most,
                    "{row}, {output}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_row_of_a_dense_product_gets_the_same_bits_in_any_company() {
        let (outputs, inputs) = (70, 100);
        let weights = rows(&random((outputs, inputs), 1)).concat();
        let x = rows(&random((7, inputs), 2));
        let multiply = |values: &[f32]| {
            let few = FewRows {
                values,
                width: inputs,
                rounded: None,
            };
            let layer = FewLayer {
                weights: Weights::Dense(&weights),
                outputs,
                bias: None,
                factors: Vec::new(),
            };
            products(&few, &[layer]).expect("products").remove(0)
        };
        let alone: Vec<Vec<f32>> = x.iter().map(|row| multiply(row)).collect();
        assert_eq!(multiply(&x.concat()), alone.concat());
    }
}
