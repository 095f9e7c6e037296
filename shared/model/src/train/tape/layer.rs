use super::factors::{Groups, Projected};
use super::ops;
use super::pass::Pass;
use crate::decoder::Layer;
use crate::error::{ModelError, Result};
use crate::train::gradients::Gradients;
use candle_core::Tensor;

/// What the backward pass of a layer needs; norms and the gated product are computed again.
pub(super) struct Kept {
    x: Tensor,
    /// Queries and keys before the norms of their heads, where the family has them.
    unnormed: [Option<Tensor>; 2],
    qkv: [Tensor; 3],
    attended: Tensor,
    log_sums: Tensor,
    /// What the output projection gave, where a norm follows.
    attention: Option<Tensor>,
    middle: Tensor,
    gate: Tensor,
    up: Tensor,
    /// What the MLP gave, where a norm follows.
    mlp: Option<Tensor>,
    projected: [Projected; 4],
}

fn one(mut tensors: Vec<Tensor>) -> Result<Tensor> {
    tensors
        .pop()
        .ok_or_else(|| ModelError::Training("a product is missing".to_owned()))
}

fn several<const N: usize>(tensors: Vec<Tensor>) -> Result<[Tensor; N]> {
    tensors
        .try_into()
        .map_err(|_| ModelError::Training("a product is missing".to_owned()))
}

fn wanted(gradient: Option<Tensor>) -> Result<Tensor> {
    gradient.ok_or_else(|| ModelError::Training("a product gave no gradient".to_owned()))
}

/// A layer with its factors.
pub(super) struct Step<'a> {
    pub(super) layer: &'a Layer,
    pub(super) groups: &'a Groups<'a>,
}

impl Step<'_> {
    /// (rows, hidden) → (rows, hidden).
    pub(super) fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<(Tensor, Kept)> {
        let layer = self.layer;
        let (_, normed) = ops::norm(x, None, &layer.input_norm, pass.eps)?;
        let (qkv, joined) = self.groups.qkv.forward(&normed, pass.dropped)?;
        drop(normed);
        let [q, k, v] = several(qkv)?;
        let (q, before_q) = self.heads(q, layer.query_norm.as_ref(), pass)?;
        let (k, before_k) = self.heads(k, layer.key_norm.as_ref(), pass)?;
        let (attended, log_sums) = pass.sequences.attend(&layer.heads, [&q, &k, &v])?;
        let (output, through_output) = self.groups.output.forward(&attended, pass.dropped)?;
        let (attention, raw) = sandwich(one(output)?, layer.attention_norm.as_ref(), pass)?;
        let (middle, normed) = ops::norm(x, Some(&attention), &layer.mlp_norm, pass.eps)?;
        let (gate_up, wide) = self.groups.gate_up.forward(&normed, pass.dropped)?;
        drop(normed);
        let [gate, up] = several(gate_up)?;
        let hidden = ops::gate(&gate, &up, layer.activation)?;
        let (down, narrow) = self.groups.down.forward(&hidden, pass.dropped)?;
        let (changed, mlp) = sandwich(one(down)?, layer.output_norm.as_ref(), pass)?;
        let y = (&middle + changed)?;
        let kept = Kept {
            x: x.clone(),
            unnormed: [before_q, before_k],
            qkv: [q, k, v],
            attended,
            log_sums,
            attention: raw,
            middle,
            gate,
            up,
            mlp,
            projected: [joined, through_output, wide, narrow],
        };
        Ok((y, kept))
    }

    /// Heads normed where the family does so, then turned; and what they were before the norm.
    fn heads(
        &self,
        x: Tensor,
        norm: Option<&Tensor>,
        pass: &Pass<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let angles = &pass.angles[self.layer.settings.rope];
        match norm {
            None => Ok((ops::rotate(&x, angles, false)?, None)),
            Some(norm) => {
                let (_, normed) = ops::norm(&x, None, norm, pass.eps)?;
                Ok((ops::rotate(&normed, angles, false)?, Some(x)))
            }
        }
    }

    fn heads_backward(
        &self,
        gradient: &Tensor,
        norm: Option<&Tensor>,
        before: Option<&Tensor>,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let turned = ops::rotate(gradient, &pass.angles[self.layer.settings.rope], true)?;
        match (norm, before) {
            (Some(norm), Some(before)) => ops::norm_backward(before, norm, &turned, None, pass.eps),
            _ => Ok(turned),
        }
    }

    /// The gradient of the layer's input, if it is wanted, from that of its output.
    pub(super) fn backward(
        &self,
        kept: &Kept,
        upstream: &Tensor,
        pass: &Pass<'_>,
        to_x: bool,
        gradients: &mut Gradients,
    ) -> Result<Option<Tensor>> {
        let middle = self.backward_mlp(kept, upstream, pass, gradients)?;
        let [q, k, v] = self.backward_attention(kept, &middle, pass, gradients)?;
        let layer = self.layer;
        let q = self.heads_backward(
            &q,
            layer.query_norm.as_ref(),
            kept.unnormed[0].as_ref(),
            pass,
        )?;
        let k =
            self.heads_backward(&k, layer.key_norm.as_ref(), kept.unnormed[1].as_ref(), pass)?;
        let (_, normed) = ops::norm(&kept.x, None, &layer.input_norm, pass.eps)?;
        let input = (&normed, &kept.projected[0]);
        let by_normed =
            self.groups
                .qkv
                .backward(input, &[q, k, v], pass.dropped, to_x, gradients)?;
        by_normed
            .map(|by_normed| {
                ops::norm_backward(
                    &kept.x,
                    &layer.input_norm,
                    &by_normed,
                    Some(&middle),
                    pass.eps,
                )
            })
            .transpose()
    }

    /// The gradient of the residual stream between attention and MLP.
    fn backward_mlp(
        &self,
        kept: &Kept,
        upstream: &Tensor,
        pass: &Pass<'_>,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let layer = self.layer;
        let changed = sandwich_backward(
            upstream,
            layer.output_norm.as_ref(),
            kept.mlp.as_ref(),
            pass,
        )?;
        let hidden = ops::gate(&kept.gate, &kept.up, layer.activation)?;
        let input = (&hidden, &kept.projected[3]);
        let by_hidden =
            wanted(
                self.groups
                    .down
                    .backward(input, &[changed], pass.dropped, true, gradients)?,
            )?;
        drop(hidden);
        let (gate, up) = ops::gate_backward(&kept.gate, &kept.up, &by_hidden, layer.activation)?;
        drop(by_hidden);
        let (_, normed) = ops::norm(&kept.middle, None, &layer.mlp_norm, pass.eps)?;
        let input = (&normed, &kept.projected[2]);
        let by_normed = wanted(self.groups.gate_up.backward(
            input,
            &[gate, up],
            pass.dropped,
            true,
            gradients,
        )?)?;
        ops::norm_backward(
            &kept.middle,
            &layer.mlp_norm,
            &by_normed,
            Some(upstream),
            pass.eps,
        )
    }

    /// The gradients of queries, keys and values as attention saw them.
    fn backward_attention(
        &self,
        kept: &Kept,
        middle: &Tensor,
        pass: &Pass<'_>,
        gradients: &mut Gradients,
    ) -> Result<[Tensor; 3]> {
        let layer = self.layer;
        let attention = sandwich_backward(
            middle,
            layer.attention_norm.as_ref(),
            kept.attention.as_ref(),
            pass,
        )?;
        let input = (&kept.attended, &kept.projected[1]);
        let attended = wanted(self.groups.output.backward(
            input,
            &[attention],
            pass.dropped,
            true,
            gradients,
        )?)?;
        let [q, k, v] = &kept.qkv;
        pass.sequences.attend_backward(
            &layer.heads,
            [q, k, v],
            (&kept.attended, &kept.log_sums),
            &attended,
        )
    }
}

/// The norm after a block where the family has one (Gemma), and what it was given.
fn sandwich(x: Tensor, norm: Option<&Tensor>, pass: &Pass<'_>) -> Result<(Tensor, Option<Tensor>)> {
    match norm {
        None => Ok((x, None)),
        Some(norm) => Ok((ops::norm(&x, None, norm, pass.eps)?.1, Some(x))),
    }
}

fn sandwich_backward(
    gradient: &Tensor,
    norm: Option<&Tensor>,
    before: Option<&Tensor>,
    pass: &Pass<'_>,
) -> Result<Tensor> {
    match (norm, before) {
        (Some(norm), Some(before)) => ops::norm_backward(before, norm, gradient, None, pass.eps),
        _ => Ok(gradient.clone()),
    }
}
