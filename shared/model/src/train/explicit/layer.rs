use super::attention::Attention;
use super::batch::Batch;
use super::buffers::Buffers;
use super::heads::{join, split};
use super::linear::Fan;
use super::rows;
use super::sink::Sink;
use super::values::Values;
use crate::decoder::Layer;
use crate::error::Result;
use crate::lora::Adapter;
use crate::train::dropout::Dropout;
use candle_core::Tensor;

/// A layer's weights and adapters, ready to be computed with.
pub(super) struct Block<'a> {
    layer: &'a Layer,
    qkv: Fan<'a>,
    o: Fan<'a>,
    gate_up: Fan<'a>,
    down: Fan<'a>,
    input_norm: Values<'a>,
    mlp_norm: Values<'a>,
    query_norm: Option<Values<'a>>,
    key_norm: Option<Values<'a>>,
    attention_norm: Option<Values<'a>>,
    output_norm: Option<Values<'a>>,
    eps: f32,
}

/// What the way back through a layer needs; norms and gates are computed again.
pub(super) struct Kept {
    /// The layer's input (rows, hidden).
    x: Vec<f32>,
    /// Queries and keys before their norms, where the family has these.
    raw: [Vec<f32>; 2],
    /// Turned queries, turned keys, and values, by heads.
    heads: [Vec<f32>; 3],
    /// What attention gave (rows, heads · width).
    attended: Vec<f32>,
    /// The output of attention before its norm, where the family has one.
    changed: Vec<f32>,
    /// The residual stream between attention and MLP.
    middle: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    /// The output of the MLP before its norm, where the family has one.
    output: Vec<f32>,
    /// x Aᵀ of q, k, v; of o; of gate, up; of down.
    inner: [Vec<f32>; 4],
}

impl Kept {
    /// Gives back everything but the layer's input.
    pub(super) fn into_input(self, buffers: &mut Buffers) -> Vec<f32> {
        self.raw
            .into_iter()
            .chain(self.heads)
            .chain(self.inner)
            .for_each(|buffer| buffers.give(buffer));
        for buffer in [
            self.attended,
            self.changed,
            self.middle,
            self.gate,
            self.up,
            self.output,
        ] {
            buffers.give(buffer);
        }
        self.x
    }
}

impl<'a> Block<'a> {
    /// # Errors
    /// Weights that are not float32.
    pub(super) fn new(layer: &'a Layer, adapter: Option<&'a Adapter>) -> Result<Self> {
        let [q, k, v, o, gate, up, down] = &layer.linears;
        let norm = |norm: &'a Option<Tensor>| norm.as_ref().map(Values::of).transpose();
        Ok(Self {
            qkv: Fan::new(&[q, k, v], adapter)?,
            o: Fan::new(&[o], adapter)?,
            gate_up: Fan::new(&[gate, up], adapter)?,
            down: Fan::new(&[down], adapter)?,
            input_norm: Values::of(&layer.input_norm)?,
            mlp_norm: Values::of(&layer.mlp_norm)?,
            query_norm: norm(&layer.query_norm)?,
            key_norm: norm(&layer.key_norm)?,
            attention_norm: norm(&layer.attention_norm)?,
            output_norm: norm(&layer.output_norm)?,
            eps: layer.eps,
            layer,
        })
    }

    fn query_size(&self) -> usize {
        self.layer.heads.queries * self.layer.heads.width
    }

    fn key_size(&self) -> usize {
        self.layer.heads.keys * self.layer.heads.width
    }

    fn norm(&self, x: &[f32], weight: &Values<'_>, buffers: &mut Buffers) -> Vec<f32> {
        let mut out = buffers.take(self.qkv.inputs);
        rows::norm(&mut out, x, weight.get(), self.eps);
        out
    }

    /// (rows, hidden) → (rows, hidden).
    pub(super) fn forward(
        &self,
        x: Vec<f32>,
        batch: &Batch<'_>,
        buffers: &mut Buffers,
    ) -> Result<(Vec<f32>, Kept)> {
        let none = Vec::new;
        let mut kept = Kept {
            raw: [none(), none()],
            heads: [none(), none(), none()],
            attended: buffers.take(self.query_size()),
            changed: none(),
            middle: none(),
            gate: buffers.take(self.down.inputs),
            up: buffers.take(self.down.inputs),
            output: none(),
            inner: [none(), none(), none(), none()],
            x,
        };
        self.attend(&mut kept, batch, buffers)?;
        let mut middle = buffers.take(self.qkv.inputs);
        let dropout = batch.dropout;
        kept.inner[1] = self
            .o
            .forward(&kept.attended, &mut [&mut middle], dropout, buffers)?;
        (kept.middle, kept.changed) =
            self.residual(middle, &kept.x, self.attention_norm.as_ref(), buffers);

        let normed = self.norm(&kept.middle, &self.mlp_norm, buffers);
        let outs = &mut [kept.gate.as_mut_slice(), &mut kept.up];
        kept.inner[2] = self.gate_up.forward(&normed, outs, dropout, buffers)?;
        buffers.give(normed);
        let hidden = self.hidden(&kept, buffers);
        let mut y = buffers.take(self.qkv.inputs);
        kept.inner[3] = self
            .down
            .forward(&hidden, &mut [&mut y], dropout, buffers)?;
        buffers.give(hidden);
        let (y, output) = self.residual(y, &kept.middle, self.output_norm.as_ref(), buffers);
        kept.output = output;
        Ok((y, kept))
    }

    /// x + change, or x + norm(change), with the change where it is still needed.
    fn residual(
        &self,
        mut change: Vec<f32>,
        x: &[f32],
        norm: Option<&Values<'_>>,
        buffers: &mut Buffers,
    ) -> (Vec<f32>, Vec<f32>) {
        let Some(weight) = norm else {
            rows::add(&mut change, x);
            return (change, Vec::new());
        };
        let mut sum = self.norm(&change, weight, buffers);
        rows::add(&mut sum, x);
        (sum, change)
    }

    /// activation(gate) · up.
    fn hidden(&self, kept: &Kept, buffers: &mut Buffers) -> Vec<f32> {
        let mut hidden = buffers.take(self.down.inputs);
        rows::gate(&mut hidden, &kept.gate, &kept.up, self.layer.activation);
        hidden
    }

    /// From the layer's input to what attention gives.
    fn attend(&self, kept: &mut Kept, batch: &Batch<'_>, buffers: &mut Buffers) -> Result<()> {
        let sizes = [self.query_size(), self.key_size(), self.key_size()];
        let mut linear = sizes.map(|size| buffers.take(size));
        let normed = self.norm(&kept.x, &self.input_norm, buffers);
        let [q, k, v] = &mut linear;
        kept.inner[0] = self
            .qkv
            .forward(&normed, &mut [q, k, v], batch.dropout, buffers)?;
        buffers.give(normed);
        let [q, k, v] = linear;
        for (index, (rows, norm)) in [(q, &self.query_norm), (k, &self.key_norm), (v, &None)]
            .into_iter()
            .enumerate()
        {
            let (normed, raw) = self.head_norm(rows, norm.as_ref(), buffers);
            let angles = (index < 2).then(|| batch.angles(self.layer.settings.rope));
            let (size, width) = (sizes[index], self.layer.heads.width);
            let mut heads = buffers.take(size);
            split(&mut heads, &normed, &batch.segments, size, width, angles);
            buffers.give(normed);
            kept.heads[index] = heads;
            if let Some(kept) = kept.raw.get_mut(index) {
                *kept = raw;
            }
        }
        let mut out = buffers.take(self.query_size());
        self.attention(&kept.heads, batch).forward(&mut out);
        let (size, width) = (self.query_size(), self.layer.heads.width);
        join(&mut kept.attended, &out, &batch.segments, size, width, None);
        buffers.give(out);
        Ok(())
    }

    /// The heads normed where the family does so, and then what they were before.
    fn head_norm(
        &self,
        rows: Vec<f32>,
        norm: Option<&Values<'_>>,
        buffers: &mut Buffers,
    ) -> (Vec<f32>, Vec<f32>) {
        let Some(weight) = norm else {
            return (rows, Vec::new());
        };
        let mut normed = buffers.take_as(&rows);
        rows::norm(&mut normed, &rows, weight.get(), self.eps);
        (normed, rows)
    }

    fn attention<'b>(&'b self, heads: &'b [Vec<f32>; 3], batch: &'b Batch<'_>) -> Attention<'b> {
        let [queries, keys, values] = heads;
        Attention {
            heads: &self.layer.heads,
            segments: &batch.segments,
            queries,
            keys,
            values,
        }
    }

    /// The gradient by the layer's input from that by its output (`gradient`), or nothing where `wanted` is not set. Those of the
    /// adapters go to `sink`.
    pub(super) fn backward(
        &self,
        mut kept: Kept,
        mut gradient: Vec<f32>,
        wanted: bool,
        batch: &Batch<'_>,
        buffers: &mut Buffers,
        sink: &mut Sink,
    ) -> Result<Vec<f32>> {
        self.back_through_mlp(&mut kept, &mut gradient, batch.dropout, buffers, sink)?;
        let by_heads = self.back_through_attention(&kept, &gradient, batch, buffers, sink)?;
        let by_rows = self.back_to_rows(&kept, by_heads, batch, buffers);
        let normed = self.norm(&kept.x, &self.input_norm, buffers);
        let mut by_normed = buffers.take(self.qkv.inputs);
        let [q, k, v] = &by_rows;
        self.qkv.backward(
            (&normed, &kept.inner[0]),
            &[q, k, v],
            wanted.then_some(by_normed.as_mut_slice()),
            batch.dropout,
            buffers,
            sink,
        )?;
        if wanted {
            let weight = self.input_norm.get();
            rows::norm_back(&mut gradient, &kept.x, weight, &by_normed, self.eps);
        }
        by_rows.into_iter().for_each(|rows| buffers.give(rows));
        buffers.give(normed);
        buffers.give(by_normed);
        let x = kept.into_input(buffers);
        buffers.give(x);
        Ok(gradient)
    }

    /// The gradient by a change that was added to the residual stream, through its norm where there is one.
    fn back_through_residual(
        &self,
        gradient: &[f32],
        change: &[f32],
        norm: Option<&Values<'_>>,
        buffers: &mut Buffers,
    ) -> Option<Vec<f32>> {
        let weight = norm?;
        let mut out = buffers.take(self.qkv.inputs);
        out.fill(0.0);
        rows::norm_back(&mut out, change, weight.get(), gradient, self.eps);
        Some(out)
    }

    fn back_through_mlp(
        &self,
        kept: &mut Kept,
        gradient: &mut [f32],
        dropout: Dropout,
        buffers: &mut Buffers,
        sink: &mut Sink,
    ) -> Result<()> {
        let hidden = self.hidden(kept, buffers);
        let mut by_hidden = buffers.take(self.down.inputs);
        let norm = self.output_norm.as_ref();
        let changed = self.back_through_residual(gradient, &kept.output, norm, buffers);
        self.down.backward(
            (&hidden, &kept.inner[3]),
            &[changed.as_deref().unwrap_or(gradient)],
            Some(&mut by_hidden),
            dropout,
            buffers,
            sink,
        )?;
        buffers.give(hidden);
        buffers.give(changed.unwrap_or_default());
        let activation = self.layer.activation;
        rows::gate_back(&mut kept.gate, &mut kept.up, &by_hidden, activation);
        buffers.give(by_hidden);

        let normed = self.norm(&kept.middle, &self.mlp_norm, buffers);
        let mut by_normed = buffers.take(self.qkv.inputs);
        self.gate_up.backward(
            (&normed, &kept.inner[2]),
            &[&kept.gate, &kept.up],
            Some(&mut by_normed),
            dropout,
            buffers,
            sink,
        )?;
        let weight = self.mlp_norm.get();
        rows::norm_back(gradient, &kept.middle, weight, &by_normed, self.eps);
        buffers.give(normed);
        buffers.give(by_normed);
        Ok(())
    }

    /// The gradients by queries, keys and values, by heads.
    fn back_through_attention(
        &self,
        kept: &Kept,
        gradient: &[f32],
        batch: &Batch<'_>,
        buffers: &mut Buffers,
        sink: &mut Sink,
    ) -> Result<[Vec<f32>; 3]> {
        let mut by_attended = buffers.take(self.query_size());
        let norm = self.attention_norm.as_ref();
        let changed = self.back_through_residual(gradient, &kept.changed, norm, buffers);
        self.o.backward(
            (&kept.attended, &kept.inner[1]),
            &[changed.as_deref().unwrap_or(gradient)],
            Some(&mut by_attended),
            batch.dropout,
            buffers,
            sink,
        )?;
        buffers.give(changed.unwrap_or_default());
        let size = self.query_size();
        let mut by_out = buffers.take(size);
        split(
            &mut by_out,
            &by_attended,
            &batch.segments,
            size,
            self.layer.heads.width,
            None,
        );
        buffers.give(by_attended);
        let mut out = [size, self.key_size(), self.key_size()].map(|size| buffers.take(size));
        let [q, k, v] = &mut out;
        self.attention(&kept.heads, batch)
            .backward(&by_out, [q, k, v]);
        buffers.give(by_out);
        Ok(out)
    }

    /// Gradients by heads as rows, turned back and through the norms of the heads.
    fn back_to_rows(
        &self,
        kept: &Kept,
        by_heads: [Vec<f32>; 3],
        batch: &Batch<'_>,
        buffers: &mut Buffers,
    ) -> [Vec<f32>; 3] {
        let norms = [self.query_norm.as_ref(), self.key_norm.as_ref(), None];
        let mut index = 0;
        by_heads.map(|heads| {
            let (norm, angles) = (
                norms[index],
                (index < 2).then(|| batch.angles(self.layer.settings.rope)),
            );
            let mut rows = buffers.take_as(&heads);
            let size = if index == 0 {
                self.query_size()
            } else {
                self.key_size()
            };
            join(
                &mut rows,
                &heads,
                &batch.segments,
                size,
                self.layer.heads.width,
                angles,
            );
            buffers.give(heads);
            if let Some(weight) = norm {
                let mut through = buffers.take_as(&rows);
                through.fill(0.0);
                rows::norm_back(
                    &mut through,
                    &kept.raw[index],
                    weight.get(),
                    &rows,
                    self.eps,
                );
                buffers.give(std::mem::replace(&mut rows, through));
            }
            index += 1;
            rows
        })
    }
}
