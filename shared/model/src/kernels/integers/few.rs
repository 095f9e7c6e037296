//! Products of a few rows, with all that is added to them, in one go over the threads.

use super::{IntegerRows, OUTPUTS, PackedRows, some_outputs};
use crate::kernels::deltas::{BLOCK, Factors};
use candle_core::Result;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Values of A that one thread multiplies at a time.
const INNER: usize = 8 * 1024;
/// The most outputs that one thread computes in one go, where there are many: weights are read ahead, and what is read
/// beyond the end is another thread's.
const MOST_OUTPUTS: usize = 16 * OUTPUTS;

/// A quantised matrix with what is added to its products: y = W x + bias + scaling · B A x.
pub(crate) struct PackedLayer<'a> {
    pub(crate) matrix: PackedRows<'a>,
    pub(crate) bias: Option<&'a [f32]>,
    /// The adapter of each row; empty where no row has one.
    pub(crate) factors: Vec<Option<&'a Factors>>,
}

impl<'a> PackedLayer<'a> {
    /// The matrix alone.
    pub(crate) fn new(matrix: PackedRows<'a>) -> Self {
        Self {
            matrix,
            bias: None,
            factors: Vec::new(),
        }
    }
}

/// Rows of one layer that have the same adapter, so that it is read once for all of them.
struct Group<'a> {
    factors: &'a Factors,
    rows: Vec<usize>,
    parts: Vec<Part>,
}

/// Some ranks of A x: (rows of the group, ranks). Whoever needs them first computes them.
struct Part {
    ranks: Range<usize>,
    values: OnceLock<Vec<f32>>,
}

impl Group<'_> {
    fn get<'a>(&self, part: &'a Part, x: &IntegerRows, values: &[f32]) -> &'a [f32] {
        part.values.get_or_init(|| {
            let rows = self.rows.iter().map(|row| x.row_of(values, *row));
            self.factors.reduce(rows.collect(), part.ranks.clone())
        })
    }
}

/// What a thread does in one go.
enum Task<'a> {
    Inner(&'a Group<'a>, &'a Part),
    Outputs {
        layer: usize,
        first: usize,
        /// The outputs of each row.
        out: Vec<&'a mut [f32]>,
    },
}

/// The layers applied to rows, `values` as they are and `x` rounded: (rows, outputs) of each. `values` are needed only
/// where a row has an adapter.
///
/// The first tasks are the products with A, which are short. Those with W follow, and when one of them is done, A x is
/// there: so nobody waits in between.
pub(crate) fn products(
    x: &IntegerRows,
    values: &[f32],
    layers: &[PackedLayer<'_>],
) -> Result<Vec<Vec<f32>>> {
    let share = outputs_at_a_time(layers);
    let groups: Vec<Vec<Group<'_>>> = layers.iter().map(groups).collect();
    let mut results: Vec<Vec<f32>> = layers
        .iter()
        .map(|layer| vec![0f32; layer.matrix.outputs() * x.count()])
        .collect();
    let outputs = results.iter_mut().zip(layers).enumerate();
    let outputs = outputs.flat_map(|(layer, (out, PackedLayer { matrix, .. }))| {
        let pieces = pieces(out, matrix.outputs(), share).enumerate();
        pieces.map(move |(index, out)| Task::Outputs {
            layer,
            first: index * share,
            out,
        })
    });
    let parts = groups.iter().flatten().flat_map(|group| {
        let parts = group.parts.iter();
        parts.map(move |part| Task::Inner(group, part))
    });
    let tasks = parts.chain(outputs);
    let queue = Mutex::new(tasks);
    let work = |_| {
        loop {
            let task = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match task {
                None => return Ok::<_, candle_core::Error>(()),
                Some(Task::Inner(group, part)) => {
                    group.get(part, x, values);
                }
                Some(Task::Outputs {
                    layer,
                    first,
                    mut out,
                }) => {
                    let (groups, layer) = (&groups[layer], &layers[layer]);
                    groups
                        .iter()
                        .for_each(|group| group.factors.prefetch(first));
                    some_outputs(x, &layer.matrix, first, &mut out)?;
                    if let Some(bias) = layer.bias {
                        add_bias(&bias[first..], &mut out);
                    }
                    for group in groups {
                        let parts = group.parts.iter();
                        let parts = parts.map(|part| group.get(part, x, values)).collect();
                        group.add(parts, first, &mut out);
                    }
                }
            }
        }
    };
    (0..rayon::current_num_threads())
        .into_par_iter()
        .with_max_len(1)
        .try_for_each(work)?;
    drop(queue);
    Ok(results)
}

/// (rows, outputs), cut into pieces of `share` outputs of every row.
fn pieces(out: &mut [f32], outputs: usize, share: usize) -> impl Iterator<Item = Vec<&mut [f32]>> {
    let mut rows: Vec<_> = out
        .chunks_mut(outputs.max(1))
        .map(|row| row.chunks_mut(share))
        .collect();
    (0..outputs.div_ceil(share)).map(move |_| rows.iter_mut().filter_map(Iterator::next).collect())
}

/// Outputs of one task: a multiple of [`OUTPUTS`], and so many tasks that no thread waits long for another.
fn outputs_at_a_time(layers: &[PackedLayer<'_>]) -> usize {
    let all: usize = layers.iter().map(|layer| layer.matrix.outputs()).sum();
    let tasks = 8 * rayon::current_num_threads();
    all.div_ceil(tasks)
        .next_multiple_of(OUTPUTS)
        .min(MOST_OUTPUTS)
}

fn groups<'a>(layer: &PackedLayer<'a>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let rows = layer.factors.iter().enumerate();
    for (row, factors) in rows.filter_map(|(row, factors)| Some((row, (*factors)?))) {
        let known = |group: &&mut Group<'_>| std::ptr::eq(group.factors, factors);
        match groups.iter_mut().find(known) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group {
                factors,
                rows: vec![row],
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
    fn add(&self, parts: Vec<&[f32]>, first: usize, out: &mut [&mut [f32]]) {
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

    /// More ranks than one part has, outputs that end within a block, rows with one adapter, another one and none.
    #[test]
    fn bias_and_the_adapter_of_each_row_are_added() {
        let (outputs, inputs, rank) = (80, 512, 20);
        let packed = QTensor::quantize(&random((outputs, inputs), 1), GgmlDType::Q8_0);
        let packed = packed.expect("a quantised tensor");
        let weights = packed.dequantize(&Device::Cpu).expect("weights");
        let bytes = packed.data().expect("bytes");
        let bias = rows(&random((1, outputs), 2)).remove(0);
        let pairs =
            [3, 4].map(|seed| (random((rank, inputs), seed), random((outputs, rank), seed)));
        let factors = pairs
            .each_ref()
            .map(|(a, b)| Factors::new(a, b, 2.0).expect("factors"));
        let x = random((4, inputs), 5);
        let values = rows(&x).concat();
        let own = [Some(0), None, Some(1), Some(0)];
        let layer = PackedLayer {
            matrix: PackedRows::Blocks {
                bytes: &bytes,
                dtype: GgmlDType::Q8_0,
                outputs,
            },
            bias: Some(&bias),
            factors: own.map(|index| index.map(|index| &factors[index])).to_vec(),
        };
        let found = products(&IntegerRows::new(&values, inputs), &values, &[layer]);
        let found = found.expect("products").remove(0);
        let product =
            |x: &Tensor, w: &Tensor| x.matmul(&w.t().expect("turned")).expect("a product");
        let base = rows(&product(&x, &weights));
        let deltas = pairs
            .each_ref()
            .map(|(a, b)| rows(&product(&product(&x, a), b)));
        for (index, found) in found.iter().enumerate() {
            let (row, output) = (index / outputs, index % outputs);
            let delta = own[row].map_or(0.0, |adapter| 2.0 * deltas[adapter][row][output]);
            let expected = base[row][output] + bias[output] + delta;
            assert!(
                (found - expected).abs() < 2e-3,
                "{row}, {output}: {found}, not {expected}"
            );
        }
    }
}
