use super::OpResult;
use crate::error::Result;
use crate::kernels::{values, with_values};
use crate::settings::Activation;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

/// activation(gate) · up.
pub(in crate::train) fn gated(
    gate: &Tensor,
    up: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    if gate.device().is_cpu() {
        return Ok(gate
            .contiguous()?
            .apply_op2(&up.contiguous()?, Gate(activation))?);
    }
    let activated = match activation {
        Activation::Silu => candle_nn::ops::silu(gate)?,
        Activation::GeluTanh => gate.gelu()?,
    };
    Ok((activated * up)?)
}

struct Gate(Activation);

impl Gate {
    /// The activation and its derivative at x.
    fn at(&self, x: f32) -> (f32, f32) {
        match self.0 {
            Activation::Silu => {
                let sigmoid = 1.0 / (1.0 + (-x).exp());
                (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)))
            }
            Activation::GeluTanh => {
                const SLOPE: f32 = 0.797_884_6; // √(2/π)
                let tanh = (SLOPE * (x + 0.044_715 * x * x * x)).tanh();
                let inner = SLOPE * (1.0 + 3.0 * 0.044_715 * x * x);
                (
                    0.5 * x * (1.0 + tanh),
                    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner,
                )
            }
        }
    }
}

/// Values that one thread handles at a time.
const PIECE: usize = 8 * 1024;

impl CustomOp2 for Gate {
    fn name(&self) -> &'static str {
        "gated-activation-train"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> OpResult<(CpuStorage, Shape)> {
        let (gate, up) = (values(gate, gate_layout)?, values(up, up_layout)?);
        let mut out = vec![0f32; gate.len()];
        out.par_chunks_mut(PIECE)
            .zip(gate.par_chunks(PIECE))
            .zip(up.par_chunks(PIECE))
            .for_each(|((out, gate), up)| {
                out.iter_mut()
                    .zip(gate)
                    .zip(up)
                    .for_each(|((out, gate), up)| *out = self.at(*gate).0 * up);
            });
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> OpResult<(Option<Tensor>, Option<Tensor>)> {
        let (mut to_gate, mut to_up) =
            (vec![0f32; gate.elem_count()], vec![0f32; gate.elem_count()]);
        with_values(gate, |gate| {
            with_values(up, |up| {
                with_values(&gradient.contiguous()?, |gradient| {
                    let outs = to_gate
                        .par_chunks_mut(PIECE)
                        .zip(to_up.par_chunks_mut(PIECE));
                    let ins = gate
                        .par_chunks(PIECE)
                        .zip(up.par_chunks(PIECE))
                        .zip(gradient.par_chunks(PIECE));
                    outs.zip(ins)
                        .for_each(|((to_gate, to_up), ((gate, up), gradient))| {
                            for (index, (to_gate, to_up)) in
                                to_gate.iter_mut().zip(to_up).enumerate()
                            {
                                let (value, slope) = self.at(gate[index]);
                                *to_gate = gradient[index] * up[index] * slope;
                                *to_up = gradient[index] * value;
                            }
                        });
                    Ok(())
                })
            })
        })?;
        let tensor = |values| Tensor::from_vec(values, gate.dims(), gate.device());
        Ok((Some(tensor(to_gate)?), Some(tensor(to_up)?)))
    }
}
