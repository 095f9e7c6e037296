//! Each operation on a GPU by its kernel, elsewhere by its reference.

use crate::decoder::Angles;
use crate::error::Result;
use crate::kernels::Heads;
use crate::reference::{self, Attention, Span};
use crate::settings::Activation;
use crate::train::dropout::Dropout;
use candle_core::{DType, Device, Tensor};

/// The values of a tensor of any device and type.
fn values(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// A tensor like `x` with other values.
fn like(x: &Tensor, values: Vec<f32>) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())?)
}

fn plus(x: Tensor, add: Option<&Tensor>) -> Result<Tensor> {
    add.map_or(Ok(x.clone()), |add| Ok((x + add)?))
}

/// x + delta, and its norm.
pub(super) fn norm(
    x: &Tensor,
    delta: Option<&Tensor>,
    weight: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::cuda::rms_norm(x, delta, weight, eps);
    }
    let sum = plus(x.clone(), delta)?;
    let normed = reference::rms_norm(&values(&sum)?, &values(weight)?, eps as f32);
    let normed = like(x, normed)?;
    Ok((sum, normed))
}

/// The gradient of what was normed, plus `add`.
pub(super) fn norm_backward(
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
    add: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::cuda::rms_norm_backward(x, weight, gradient, add, eps);
    }
    let dx = reference::rms_norm_backward(
        &values(x)?,
        &values(weight)?,
        &values(gradient)?,
        eps as f32,
    );
    plus(like(x, dx)?, add)
}

/// Turns (rows, heads · width); `back` undoes it.
pub(super) fn rotate(x: &Tensor, angles: &Angles, back: bool) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return crate::cuda::rotate(x, angles, back);
    }
    let (rows, half) = angles.cos.dims2()?;
    let heads = x.elem_count() / (rows * 2 * half);
    let (cos, sin) = (values(&angles.cos)?, values(&angles.sin)?);
    like(
        x,
        reference::rotate(&values(x)?, &cos, &sin, heads, half, back),
    )
}

/// activation(gate) · up.
pub(super) fn gate(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if gate.device().is_cuda() {
        return crate::cuda::gate(gate, up, activation);
    }
    like(
        gate,
        reference::gate(&values(gate)?, &values(up)?, activation),
    )
}

/// The gradients of gate and up.
pub(super) fn gate_backward(
    gate: &Tensor,
    up: &Tensor,
    gradient: &Tensor,
    activation: Activation,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if gate.device().is_cuda() {
        return crate::cuda::gate_backward(gate, up, gradient, activation);
    }
    let (to_gate, to_up) =
        reference::gate_backward(&values(gate)?, &values(up)?, &values(gradient)?, activation);
    Ok((like(gate, to_gate)?, like(up, to_up)?))
}

/// The sequences of one pass, prepared once for all layers.
pub(super) struct Sequences {
    spans: Vec<Span>,
    #[cfg(feature = "cuda")]
    tiles: Option<crate::cuda::Tiles>,
}

impl Sequences {
    #[cfg_attr(
        not(feature = "cuda"),
        expect(unused_variables, reason = "only a GPU needs preparation")
    )]
    pub(super) fn new(spans: Vec<Span>, device: &Device) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "cuda")]
            tiles: match device.is_cuda() {
                true => Some(crate::cuda::Tiles::new(&spans, device)?),
                false => None,
            },
            spans,
        })
    }

    /// Results and log-sums of causal attention within each sequence.
    pub(super) fn attend(&self, heads: &Heads, qkv: [&Tensor; 3]) -> Result<(Tensor, Tensor)> {
        #[cfg(feature = "cuda")]
        if let Some(tiles) = &self.tiles {
            return crate::cuda::attention(heads, qkv, tiles);
        }
        let [q, k, v] = [values(qkv[0])?, values(qkv[1])?, values(qkv[2])?];
        let (out, log_sums) = self.reference(heads).forward(&q, &k, &v);
        let shape = (heads.queries, qkv[0].dim(0)?);
        Ok((
            like(qkv[0], out)?,
            Tensor::from_vec(log_sums, shape, qkv[0].device())?,
        ))
    }

    fn reference(&self, heads: &Heads) -> Attention<'_> {
        Attention {
            heads: *heads,
            spans: &self.spans,
        }
    }

    /// The gradients of queries, keys and values.
    pub(super) fn attend_backward(
        &self,
        heads: &Heads,
        qkv: [&Tensor; 3],
        (out, log_sums): (&Tensor, &Tensor),
        gradient: &Tensor,
    ) -> Result<[Tensor; 3]> {
        #[cfg(feature = "cuda")]
        if let Some(tiles) = &self.tiles {
            return crate::cuda::attention_backward(heads, qkv, out, log_sums, gradient, tiles);
        }
        let [q, k, v] = [values(qkv[0])?, values(qkv[1])?, values(qkv[2])?];
        let [dq, dk, dv] = self.reference(heads).backward(
            [&q, &k, &v],
            &values(out)?,
            &values(log_sums)?,
            &values(gradient)?,
        );
        Ok([like(qkv[0], dq)?, like(qkv[1], dk)?, like(qkv[2], dv)?])
    }
}

/// The loss of each row of float32 logits, and where wanted `scale` times its derivative, in `dtype`.
pub(super) fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    scale: f64,
    with_gradient: bool,
    dtype: DType,
) -> Result<(Tensor, Option<Tensor>)> {
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        return crate::cuda::cross_entropy(logits, labels, scale, with_gradient);
    }
    let labels: Vec<u32> = labels.to_vec1()?;
    let (losses, gradient) = reference::cross_entropy(&values(logits)?, &labels, scale as f32);
    let losses = Tensor::from_vec(losses, labels.len(), logits.device())?;
    let gradient = match with_gradient {
        true => Some(like(logits, gradient)?.to_dtype(dtype)?),
        false => None,
    };
    Ok((losses, gradient))
}

/// Dropout of the adapters' inputs by seed and slot, or none.
#[derive(Clone, Copy)]
pub(super) struct Dropped {
    dropout: Dropout,
}

impl Dropped {
    pub(super) fn new(share: f64, seed: u64) -> Self {
        Self {
            dropout: Dropout { share, seed },
        }
    }

    pub(super) fn none() -> Self {
        Self::new(0.0, 0)
    }

    pub(super) fn is_none(self) -> bool {
        self.dropout.share <= 0.0
    }

    /// `x` with the values dropped that belong to `slot`, plus `add`; of a gradient, its way back.
    pub(super) fn apply(self, x: &Tensor, add: Option<&Tensor>, slot: usize) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let seed =
                crate::random::Random::derived(self.dropout.seed, slot as u64 + 1).next_u64();
            return crate::cuda::dropout(x, add, self.dropout.share, seed);
        }
        let dropped = self.dropout.apply(x, slot)?.unwrap_or_else(|| x.clone());
        plus(dropped, add)
    }
}
