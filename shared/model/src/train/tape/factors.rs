use super::ops::Dropped;
use super::products::{add_product, plain, product, product_into, turned};
use crate::decoder::{Decoder, Linear};
use crate::error::{ModelError, Result};
use crate::lora::Adapter;
use crate::train::gradients::Gradients;
use candle_core::{DType, Tensor};

/// Linear layers that share an input, with the factors of their adapters in the type of the activations.
pub(super) struct Group<'a> {
    members: Vec<Member<'a>>,
    /// A of every adapted member, one below the other: (ranks, inputs). One product serves them all.
    a: Option<Tensor>,
}

struct Member<'a> {
    linear: &'a Linear,
    factor: Option<Factor>,
}

struct Factor {
    /// Rows of `a`, which are columns of the projected input.
    first: usize,
    rank: usize,
    /// (outputs, rank).
    b: Tensor,
    scaling: f64,
    /// Place of A among the parameters; B stands behind it.
    variable: usize,
}

/// The groups of one layer.
pub(super) struct Groups<'a> {
    pub(super) qkv: Group<'a>,
    pub(super) output: Group<'a>,
    pub(super) gate_up: Group<'a>,
    pub(super) down: Group<'a>,
}

/// The groups of a model: those of its layers, and the output projection.
pub(super) struct Factors<'a> {
    pub(super) layers: Vec<Groups<'a>>,
    pub(super) head: Group<'a>,
}

/// float32 values to be rounded into rows of a matrix.
struct Move {
    from: Tensor,
    to: Tensor,
    row: usize,
}

/// Lays out the factors before they are filled together.
struct Layout<'a> {
    adapter: Option<&'a Adapter>,
    dtype: DType,
    variable: usize,
    moves: Vec<Move>,
}

impl<'a> Factors<'a> {
    pub(super) fn new(
        decoder: &'a Decoder,
        adapter: Option<&Adapter>,
        dtype: DType,
    ) -> Result<Self> {
        let mut layout = Layout {
            adapter,
            dtype,
            variable: 0,
            moves: Vec::new(),
        };
        let mut layers = Vec::with_capacity(decoder.layers.len());
        for layer in &decoder.layers {
            let [q, k, v, output, gate, up, down] = &layer.linears;
            layers.push(Groups {
                qkv: layout.group(&[q, k, v])?,
                output: layout.group(&[output])?,
                gate_up: layout.group(&[gate, up])?,
                down: layout.group(&[down])?,
            });
        }
        let head = layout.group(&[&decoder.head])?;
        fill(&layout.moves)?;
        Ok(Self { layers, head })
    }
}

impl Layout<'_> {
    /// The slots of the linear layers must come in their order, since the parameters do.
    fn group<'b>(&mut self, linears: &[&'b Linear]) -> Result<Group<'b>> {
        let pairs = |linear: &&Linear| {
            self.adapter
                .and_then(|adapter| adapter.pair(linear.slot))
                .cloned()
        };
        let pairs: Vec<_> = linears.iter().map(pairs).collect();
        let (mut ranks, mut inputs) = (0, 0);
        for pair in pairs.iter().flatten() {
            ranks += pair.a.dim(0)?;
            inputs = pair.a.dim(1)?;
        }
        let device = linears[0].weight.device();
        let a = match ranks {
            0 => None,
            _ => Some(Tensor::zeros((ranks, inputs), self.dtype, &device)?),
        };
        let (mut members, mut first) = (Vec::with_capacity(linears.len()), 0);
        for (linear, pair) in linears.iter().zip(pairs) {
            let factor = match (pair, &a) {
                (Some(pair), Some(a)) => {
                    let b = Tensor::zeros(pair.b.shape(), self.dtype, &device)?;
                    let factor = Factor {
                        first,
                        rank: pair.a.dim(0)?,
                        b: b.clone(),
                        scaling: pair.scaling,
                        variable: self.variable,
                    };
                    self.moves.extend([
                        Move {
                            from: pair.a.detach(),
                            to: a.clone(),
                            row: first,
                        },
                        Move {
                            from: pair.b.detach(),
                            to: b,
                            row: 0,
                        },
                    ]);
                    self.variable += 2;
                    first += factor.rank;
                    Some(factor)
                }
                _ => None,
            };
            members.push(Member { linear, factor });
        }
        Ok(Group { members, a })
    }
}

fn fill(moves: &[Move]) -> Result<()> {
    #[cfg(feature = "cuda")]
    if moves
        .first()
        .is_some_and(|moved| moved.to.device().is_cuda())
    {
        let moves: Vec<_> = moves
            .iter()
            .map(|moved| crate::cuda::Moved {
                from: &moved.from,
                to: &moved.to,
                row: moved.row,
            })
            .collect();
        return crate::cuda::narrow_all(&moves);
    }
    for moved in moves {
        moved
            .to
            .slice_set(&moved.from.to_dtype(moved.to.dtype())?, 0, moved.row)?;
    }
    Ok(())
}

/// What a group's backward pass needs besides its input: the input in the adapters' ranks.
pub(super) type Projected = Option<Tensor>;

impl Group<'_> {
    /// (rows, inputs) → (rows, outputs) of each member.
    pub(super) fn forward(&self, x: &Tensor, dropped: Dropped) -> Result<(Vec<Tensor>, Projected)> {
        let projected = self.project(x, dropped)?;
        let mut outs = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let weight = member.linear.weight.dense()?;
            let mut y = product(plain(x), turned(&weight), 1.0, x.dtype())?;
            if let Some(bias) = &member.linear.bias {
                y = y.broadcast_add(&bias.to_dtype(y.dtype())?)?;
            }
            outs.push(member.adapt(y, projected.as_ref())?);
        }
        Ok((outs, projected))
    }

    /// float32 logits, for the output projection.
    pub(super) fn logits(&self, x: &Tensor) -> Result<(Tensor, Projected)> {
        let projected = self.project(x, Dropped::none())?;
        let [head] = self.members.as_slice() else {
            return Err(ModelError::Training(
                "there is one output projection".to_owned(),
            ));
        };
        let weight = head.linear.weight.dense()?;
        let logits = product(plain(x), turned(&weight), 1.0, DType::F32)?;
        Ok((head.adapt(logits, projected.as_ref())?, projected))
    }

    fn project(&self, x: &Tensor, dropped: Dropped) -> Result<Projected> {
        let Some(a) = &self.a else { return Ok(None) };
        if dropped.is_none() {
            return Ok(Some(product(plain(x), turned(a), 1.0, x.dtype())?));
        }
        let projected = Tensor::zeros((x.dim(0)?, a.dim(0)?), x.dtype(), x.device())?;
        for (slot, factor) in self.factors() {
            let x = dropped.apply(x, None, slot)?;
            let own = a.narrow(0, factor.first, factor.rank)?;
            product_into(&projected, factor.first, plain(&x), turned(&own), 1.0)?;
        }
        Ok(Some(projected))
    }

    fn factors(&self) -> impl Iterator<Item = (usize, &Factor)> {
        self.members
            .iter()
            .filter_map(|member| Some((member.linear.slot, member.factor.as_ref()?)))
    }

    /// The gradient of the input, if it is wanted; those of the factors go to `gradients`.
    pub(super) fn backward(
        &self,
        (x, projected): (&Tensor, &Projected),
        upstream: &[Tensor],
        dropped: Dropped,
        to_x: bool,
        gradients: &mut Gradients,
    ) -> Result<Option<Tensor>> {
        let mut dx = None;
        let shape = projected.as_ref().map(Tensor::shape);
        let by_rank = shape
            .map(|shape| Tensor::zeros(shape, x.dtype(), x.device()))
            .transpose()?;
        for (member, g) in self.members.iter().zip(upstream) {
            if let (Some(factor), Some(projected), Some(by_rank)) =
                (&member.factor, projected, &by_rank)
            {
                let own = projected.narrow(1, factor.first, factor.rank)?;
                let db = product(turned(g), plain(&own), factor.scaling, DType::F32)?;
                gradients.put(factor.variable + 1, db)?;
                product_into(
                    by_rank,
                    factor.first,
                    plain(g),
                    plain(&factor.b),
                    factor.scaling,
                )?;
            }
            if to_x {
                let weight = member.linear.weight.dense()?;
                dx = Some(add_product(dx, plain(g), plain(&weight), 1.0)?);
            }
        }
        match (&self.a, by_rank) {
            (Some(a), Some(by_rank)) => self.backward_a((x, a, &by_rank), dropped, dx, gradients),
            _ => Ok(dx),
        }
    }

    fn backward_a(
        &self,
        (x, a, by_rank): (&Tensor, &Tensor, &Tensor),
        dropped: Dropped,
        mut dx: Option<Tensor>,
        gradients: &mut Gradients,
    ) -> Result<Option<Tensor>> {
        if dropped.is_none() {
            let da = product(turned(by_rank), plain(x), 1.0, DType::F32)?;
            for (_, factor) in self.factors() {
                gradients.put(factor.variable, da.narrow(0, factor.first, factor.rank)?)?;
            }
            return dx
                .map(|dx| add_product(Some(dx), plain(by_rank), plain(a), 1.0))
                .transpose();
        }
        for (slot, factor) in self.factors() {
            let own = by_rank.narrow(1, factor.first, factor.rank)?;
            let seen = dropped.apply(x, None, slot)?;
            gradients.put(
                factor.variable,
                product(turned(&own), plain(&seen), 1.0, DType::F32)?,
            )?;
            if let Some(sum) = dx {
                let a = a.narrow(0, factor.first, factor.rank)?;
                let through = product(plain(&own), plain(&a), 1.0, x.dtype())?;
                dx = Some(dropped.apply(&through, Some(&sum), slot)?);
            }
        }
        Ok(dx)
    }
}

impl Member<'_> {
    fn adapt(&self, y: Tensor, projected: Option<&Tensor>) -> Result<Tensor> {
        match (&self.factor, projected) {
            (Some(factor), Some(projected)) => {
                let own = projected.narrow(1, factor.first, factor.rank)?;
                add_product(Some(y), plain(&own), turned(&factor.b), factor.scaling)
            }
            _ => Ok(y),
        }
    }
}
