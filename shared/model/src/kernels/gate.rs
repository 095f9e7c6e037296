use super::{dispatch, math, values};
use crate::settings::Activation;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape};
use rayon::prelude::*;

/// Values that one thread handles at a time.
const PIECE: usize = 8 * 1024;

/// activation(gate) · up, without a graph.
pub(crate) struct Gated(pub(crate) Activation);

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated-activation"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (gate, up) = (values(gate, gate_layout)?, values(up, up_layout)?);
        let mut out = vec![0f32; gate.len()];
        let apply = match self.0 {
            Activation::Silu => silu,
            Activation::GeluTanh => gelu,
        };
        let pieces = out
            .par_chunks_mut(PIECE)
            .zip(gate.par_chunks(PIECE))
            .zip(up.par_chunks(PIECE));
        pieces.for_each(|((out, gate), up)| apply(out, gate, up));
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }
}

#[inline(always)]
fn silu_body<const FUSED: bool>(out: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + math::exp::<FUSED>(-gate)) * up;
    }
}

/// GELU by tanh(y) = 1 - 2 / (1 + e^2y).
#[inline(always)]
fn gelu_body<const FUSED: bool>(out: &mut [f32], gate: &[f32], up: &[f32]) {
    const SLOPE: f32 = 0.797_884_6; // √(2/π)
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        let inner = SLOPE * (gate + 0.044_715 * gate * gate * gate);
        let tanh = 1.0 - 2.0 / (1.0 + math::exp::<FUSED>(2.0 * inner));
        *out = 0.5 * gate * (1.0 + tanh) * up;
    }
}

dispatch!(silu, silu_body, (out: &mut [f32], gate: &[f32], up: &[f32]));
dispatch!(gelu, gelu_body, (out: &mut [f32], gate: &[f32], up: &[f32]));
