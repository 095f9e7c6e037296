use super::buffers::Buffers;
use super::rows;
use super::sink::Sink;
use super::values::Values;
use crate::decoder::Linear;
use crate::error::Result;
use crate::kernels::product::{Out, View, product, products};
use crate::lora::Adapter;
use crate::train::dropout::Dropout;
use crate::weights::Matrix;
use std::ops::Range;

/// Linear layers of one input, with the adapters on them: q, k and v; gate and up; or one alone.
///
/// y = x Wᵀ + bias + h Bᵀ with h = scaling · x Aᵀ. The A's of all stand below one another, so that their products with x
/// are one.
pub(super) struct Fan<'a> {
    branches: Vec<Branch<'a>>,
    pub(super) inputs: usize,
    /// All A's: (ranks, inputs).
    stacked: Vec<f32>,
    /// The scaling of each of their rows.
    scaling: Vec<f32>,
}

enum Weight<'a> {
    Dense(Values<'a>),
    Packed(&'a Matrix),
}

struct Branch<'a> {
    weight: Weight<'a>,
    bias: Option<Values<'a>>,
    outputs: usize,
    slot: usize,
    pair: Option<Pair<'a>>,
}

struct Pair<'a> {
    /// (outputs, rank).
    b: Values<'a>,
    /// Its place among the ranks of the fan.
    columns: Range<usize>,
    /// Its place among the adapter's pairs.
    index: usize,
}

impl<'a> Fan<'a> {
    /// # Errors
    /// Weights or factors that are not float32.
    pub(super) fn new(linears: &[&'a Linear], adapter: Option<&'a Adapter>) -> Result<Self> {
        let mut fan = Self {
            branches: Vec::with_capacity(linears.len()),
            inputs: 0,
            stacked: Vec::new(),
            scaling: Vec::new(),
        };
        for linear in linears {
            let (outputs, inputs) = linear.weight.dims()?;
            fan.inputs = inputs;
            let pair = adapter.map(|adapter| fan.pair(linear.slot, adapter));
            fan.branches.push(Branch {
                weight: match &linear.weight {
                    Matrix::Dense(weight) => Weight::Dense(Values::of(weight)?),
                    packed => Weight::Packed(packed),
                },
                bias: linear.bias.as_ref().map(Values::of).transpose()?,
                outputs,
                slot: linear.slot,
                pair: pair.transpose()?.flatten(),
            });
        }
        Ok(fan)
    }

    /// Takes in the adapter's pair for a slot.
    fn pair(&mut self, slot: usize, adapter: &'a Adapter) -> Result<Option<Pair<'a>>> {
        let Some(pair) = adapter.pair(slot) else {
            return Ok(None);
        };
        let first = self.ranks();
        self.stacked.extend_from_slice(Values::of(&pair.a)?.get());
        let ranks = self.stacked.len() / self.inputs;
        self.scaling.resize(ranks, pair.scaling as f32);
        Ok(Some(Pair {
            b: Values::of(&pair.b)?,
            columns: first..ranks,
            index: adapter.index(slot),
        }))
    }

    /// Sum of the ranks.
    fn ranks(&self) -> usize {
        self.scaling.len()
    }

    /// Fills `outs`, one for each linear layer: (rows, inputs) → (rows, outputs). Gives h, which the way back needs.
    pub(super) fn forward(
        &self,
        x: &[f32],
        outs: &mut [&mut [f32]],
        dropout: Dropout,
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>> {
        let mut h = self.inner(x, dropout, buffers);
        rows::scale_columns(&mut h, &self.scaling);
        let x = View::new(x, self.inputs);
        for (branch, out) in self.branches.iter().zip(outs) {
            branch.each_piece(|range, weight| {
                let out = Out::new(out, branch.outputs).columns(range.clone());
                let mut terms = vec![(x, View::new(weight, self.inputs).t())];
                if let Some(pair) = &branch.pair {
                    let rank = pair.columns.len();
                    let b = &pair.b.get()[range.start * rank..range.end * rank];
                    let h = View::new(&h, self.ranks()).columns(pair.columns.clone());
                    terms.push((h, View::new(b, rank).t()));
                }
                products(out, &terms);
            })?;
            if let Some(bias) = &branch.bias {
                rows::add_bias(out, bias.get());
            }
        }
        Ok(h)
    }

    /// x Aᵀ of all adapters side by side: (rows, ranks).
    fn inner(&self, x: &[f32], dropout: Dropout, buffers: &mut Buffers) -> Vec<f32> {
        let ranks = self.ranks();
        let mut h = buffers.take(ranks);
        if ranks == 0 {
            return h;
        }
        if !dropout.drops() {
            let stacked = View::new(&self.stacked, self.inputs).t();
            product(Out::new(&mut h, ranks), View::new(x, self.inputs), stacked);
            return h;
        }
        for (branch, pair) in self.adapted() {
            let dropped = self.dropped(x, branch, dropout, buffers);
            product(
                Out::new(&mut h, ranks).columns(pair.columns.clone()),
                View::new(&dropped, self.inputs),
                self.factor(pair).t(),
            );
            buffers.give(dropped);
        }
        h
    }

    /// Gives the gradients of the adapters to `sink` and that of x to `dx`, from those of the outputs.
    pub(super) fn backward(
        &self,
        (x, h): (&[f32], &[f32]),
        gradients: &[&[f32]],
        mut dx: Option<&mut [f32]>,
        dropout: Dropout,
        buffers: &mut Buffers,
        sink: &mut Sink,
    ) -> Result<()> {
        let mut u = buffers.take(self.ranks()); // scaling · g B: the gradient of x Aᵀ
        for (branch, gradient) in self.branches.iter().zip(gradients) {
            if let Some(pair) = &branch.pair {
                let gradient = View::new(gradient, branch.outputs);
                let out = Out::new(&mut u, self.ranks()).columns(pair.columns.clone());
                product(out, gradient, View::new(pair.b.get(), pair.columns.len()));
                let h = View::new(h, self.ranks()).columns(pair.columns.clone());
                let mut turned = vec![0f32; pair.b.get().len()]; // (rank, outputs)
                product(Out::new(&mut turned, branch.outputs), h.t(), gradient);
                sink.add(2 * pair.index + 1, turned.len(), |db| {
                    rows::add_turned(db, &turned, pair.columns.len());
                });
            }
        }
        rows::scale_columns(&mut u, &self.scaling);
        if let Some(dx) = dx.as_deref_mut() {
            self.by_input(gradients, (!dropout.drops()).then_some(&u), dx)?;
        }
        if dropout.drops() {
            self.by_dropped(x, &u, dx, dropout, buffers, sink);
        } else {
            self.by_factors(x, &u, sink);
        }
        buffers.give(u);
        Ok(())
    }

    /// dx = Σ g W, and u A where u is given.
    fn by_input(&self, gradients: &[&[f32]], u: Option<&Vec<f32>>, dx: &mut [f32]) -> Result<()> {
        let factors = u.map(|u| {
            let stacked = View::new(&self.stacked, self.inputs);
            (View::new(u, self.ranks()), stacked)
        });
        let branches = || self.branches.iter().zip(gradients);
        let dense = branches().filter_map(|(branch, gradient)| match &branch.weight {
            Weight::Dense(weight) => Some((
                View::new(gradient, branch.outputs),
                View::new(weight.get(), self.inputs),
            )),
            Weight::Packed(_) => None,
        });
        let terms: Vec<_> = dense.chain(factors.filter(|_| self.ranks() > 0)).collect();
        products(Out::new(dx, self.inputs), &terms);
        for (branch, gradient) in branches() {
            if let Weight::Packed(weight) = &branch.weight {
                weight.each_piece(|outputs, weight| {
                    let gradient = View::new(gradient, branch.outputs).columns(outputs);
                    let out = Out::new(dx, self.inputs).adding(true);
                    product(out, gradient, View::new(weight, self.inputs));
                })?;
            }
        }
        Ok(())
    }

    /// dA = uᵀ x, for all at once.
    fn by_factors(&self, x: &[f32], u: &[f32], sink: &mut Sink) {
        if self.ranks() == 0 {
            return;
        }
        let mut da = vec![0f32; self.stacked.len()];
        let (u, x) = (View::new(u, self.ranks()), View::new(x, self.inputs));
        product(Out::new(&mut da, self.inputs), u.t(), x);
        for (_, pair) in self.adapted() {
            let range = pair.columns.start * self.inputs..pair.columns.end * self.inputs;
            sink.add(2 * pair.index, range.len(), |sum| {
                rows::add(sum, &da[range]);
            });
        }
    }

    /// The same where each adapter saw other values of x.
    fn by_dropped(
        &self,
        x: &[f32],
        u: &[f32],
        mut dx: Option<&mut [f32]>,
        dropout: Dropout,
        buffers: &mut Buffers,
        sink: &mut Sink,
    ) {
        for (branch, pair) in self.adapted() {
            let u = View::new(u, self.ranks()).columns(pair.columns.clone());
            let mut dropped = self.dropped(x, branch, dropout, buffers);
            sink.add(2 * pair.index, pair.columns.len() * self.inputs, |da| {
                let x = View::new(&dropped, self.inputs);
                product(Out::new(da, self.inputs).adding(true), u.t(), x);
            });
            if let Some(dx) = dx.as_deref_mut() {
                product(Out::new(&mut dropped, self.inputs), u, self.factor(pair));
                let mut mask = buffers.take(self.inputs);
                dropout.mask(&mut mask, self.inputs, branch.slot);
                rows::add_product(dx, &dropped, &mask);
                buffers.give(mask);
            }
            buffers.give(dropped);
        }
    }

    /// x as the adapter of a branch sees it.
    fn dropped(
        &self,
        x: &[f32],
        branch: &Branch<'_>,
        dropout: Dropout,
        buffers: &mut Buffers,
    ) -> Vec<f32> {
        let mut mask = buffers.take(self.inputs);
        dropout.mask(&mut mask, self.inputs, branch.slot);
        rows::multiply(&mut mask, x);
        mask
    }

    /// The branches that have an adapter.
    fn adapted(&self) -> impl Iterator<Item = (&Branch<'a>, &Pair<'a>)> {
        self.branches
            .iter()
            .filter_map(|branch| Some((branch, branch.pair.as_ref()?)))
    }

    /// A of one adapter: (rank, inputs).
    fn factor(&self, pair: &Pair<'_>) -> View<'_> {
        let range = pair.columns.start * self.inputs..pair.columns.end * self.inputs;
        View::new(&self.stacked[range], self.inputs)
    }
}

impl Branch<'_> {
    /// The weight in float32, in one piece or in several.
    fn each_piece(&self, mut with: impl FnMut(Range<usize>, &[f32])) -> Result<()> {
        match &self.weight {
            Weight::Dense(weight) => {
                with(0..self.outputs, weight.get());
                Ok(())
            }
            Weight::Packed(weight) => weight.each_piece(with),
        }
    }
}
