//! The operations of the training path. On the CPU each is one pass forward and one back; elsewhere they are composed of
//! candle's differentiable ones, to the same numbers.

use crate::decoder::Angles;
use crate::error::Result;
use crate::kernels::{values, visible, with_values};
use crate::settings::Activation;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

type OpResult<T> = candle_core::Result<T>;

/// x / √(mean(x²) + eps) · weight over the last dimension, with gradients to the weight only where it is a variable.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if x.device().is_cpu() && !weight.is_variable() {
        return Ok(x.contiguous()?.apply_op1(RmsNorm {
            weight: weight.clone(),
            eps: eps as f32,
        })?);
    }
    let mean = x.sqr()?.mean_keepdim(candle_core::D::Minus1)?;
    Ok(x.broadcast_div(&(mean + eps)?.sqrt()?)?
        .broadcast_mul(weight)?)
}

struct RmsNorm {
    weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    /// 1 / √(mean(x²) + eps).
    fn inverse(&self, row: &[f32]) -> f32 {
        let squares: f32 = row.iter().map(|x| x * x).sum();
        1.0 / (squares / row.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm-train"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> OpResult<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let mut out = vec![0f32; x.len()];
        with_values(&self.weight, |weight| {
            out.par_chunks_mut(weight.len())
                .zip(x.par_chunks(weight.len()))
                .for_each(|(out, x)| {
                    let inverse = self.inverse(x);
                    out.iter_mut()
                        .zip(x)
                        .zip(weight)
                        .for_each(|((out, x), weight)| *out = x * inverse * weight);
                });
            Ok(())
        })?;
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// dx = r g w - x r³ / n · Σ g w x.
    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> OpResult<Option<Tensor>> {
        let mut out = vec![0f32; x.elem_count()];
        with_values(x, |x| {
            with_values(&gradient.contiguous()?, |gradient| {
                with_values(&self.weight, |weight| {
                    let width = weight.len();
                    out.par_chunks_mut(width)
                        .zip(x.par_chunks(width))
                        .zip(gradient.par_chunks(width))
                        .for_each(|((out, x), gradient)| {
                            let inverse = self.inverse(x);
                            let dot: f32 = x
                                .iter()
                                .zip(gradient)
                                .zip(weight)
                                .map(|((x, g), w)| x * g * w)
                                .sum();
                            let shrink = dot * inverse * inverse * inverse / width as f32;
                            out.iter_mut()
                                .zip(x)
                                .zip(gradient.iter().zip(weight))
                                .for_each(|((out, x), (g, w))| *out = inverse * g * w - x * shrink);
                        });
                    Ok(())
                })
            })
        })?;
        Tensor::from_vec(out, x.dims(), x.device()).map(Some)
    }
}

/// Rotates (rows, heads, width) by the angles of the rows.
pub(super) fn rotate(x: &Tensor, angles: &Angles) -> Result<Tensor> {
    if x.device().is_cpu() {
        return Ok(x.contiguous()?.apply_op1(Rotate {
            angles: angles.clone(),
            back: false,
        })?);
    }
    angles.rotate_train(x)
}

struct Rotate {
    angles: Angles,
    /// The other way round, which is the derivative.
    back: bool,
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotate-train"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> OpResult<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let (_, heads, width) = layout.shape().dims3()?;
        let (half, sign) = (width / 2, if self.back { -1.0 } else { 1.0 });
        let mut out = vec![0f32; x.len()];
        with_values(&self.angles.cos, |cos| {
            with_values(&self.angles.sin, |sin| {
                let rows = out
                    .par_chunks_mut(heads * width)
                    .zip(x.par_chunks(heads * width))
                    .zip(cos.par_chunks(half).zip(sin.par_chunks(half)));
                rows.for_each(|((out, x), (cos, sin))| {
                    for (out, x) in out.chunks_mut(width).zip(x.chunks(width)) {
                        for index in 0..half {
                            let (a, b, sin) = (x[index], x[index + half], sign * sin[index]);
                            out[index] = a * cos[index] - b * sin;
                            out[index + half] = b * cos[index] + a * sin;
                        }
                    }
                });
                Ok(())
            })
        })?;
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> OpResult<Option<Tensor>> {
        let back = Self {
            angles: self.angles.clone(),
            back: !self.back,
        };
        gradient.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}

/// activation(gate) · up.
pub(super) fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
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

/// Softmax of causal scores (heads, tokens · group, tokens), where row r belongs to token r / group.
#[derive(Clone, Copy)]
pub(super) struct Causal {
    pub(super) group: usize,
    pub(super) window: Option<usize>,
    pub(super) scale: f32,
}

impl Causal {
    pub(super) fn softmax(
        self,
        scores: &Tensor,
        mask: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        if scores.device().is_cpu() {
            return Ok(scores.contiguous()?.apply_op1(self)?);
        }
        let scores = (scores * f64::from(self.scale))?.broadcast_add(&mask()?)?;
        Ok(candle_nn::ops::softmax(&scores.to_dtype(DType::F32)?, 2)?)
    }
}

impl CustomOp1 for Causal {
    fn name(&self) -> &'static str {
        "causal-softmax-train"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> OpResult<(CpuStorage, Shape)> {
        let scores = values(storage, layout)?;
        let (_, rows, keys) = layout.shape().dims3()?;
        let mut out = vec![0f32; scores.len()];
        out.par_chunks_mut(keys)
            .zip(scores.par_chunks(keys))
            .enumerate()
            .for_each(|(row, (out, scores))| {
                let seen = visible(row % rows / self.group, self.window);
                let largest = scores[seen.clone()]
                    .iter()
                    .fold(f32::NEG_INFINITY, |largest, score| largest.max(*score));
                out[seen.clone()]
                    .iter_mut()
                    .zip(&scores[seen.clone()])
                    .for_each(|(out, score)| *out = ((score - largest) * self.scale).exp());
                let sum: f32 = out[seen.clone()].iter().sum();
                out[seen].iter_mut().for_each(|out| *out /= sum);
            });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// ds = scale · p (g - Σ g p).
    fn bwd(
        &self,
        _: &Tensor,
        probabilities: &Tensor,
        gradient: &Tensor,
    ) -> OpResult<Option<Tensor>> {
        let (_, rows, keys) = probabilities.dims3()?;
        let mut out = vec![0f32; probabilities.elem_count()];
        with_values(probabilities, |probabilities| {
            with_values(&gradient.contiguous()?, |gradient| {
                let ins = probabilities
                    .par_chunks(keys)
                    .zip(gradient.par_chunks(keys));
                out.par_chunks_mut(keys)
                    .zip(ins)
                    .enumerate()
                    .for_each(|(row, (out, (p, g)))| {
                        let seen = visible(row % rows / self.group, self.window);
                        let dot: f32 = p[seen.clone()]
                            .iter()
                            .zip(&g[seen.clone()])
                            .map(|(p, g)| p * g)
                            .sum();
                        seen.for_each(|key| out[key] = self.scale * p[key] * (g[key] - dot));
                    });
                Ok(())
            })
        })?;
        Tensor::from_vec(out, probabilities.dims(), probabilities.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use candle_core::{Device, Var};

    fn random(shape: &[usize], seed: u64) -> Tensor {
        let mut random = Random::new(seed);
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| random.uniform() * 4.0 - 2.0)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        let values: Vec<f32> = (a - b)
            .and_then(|d| d.abs()?.flatten_all()?.to_vec1())
            .expect("one shape");
        values.into_iter().fold(0.0, f32::max)
    }

    /// Values and gradients of two ways to compute the same, from one x.
    fn agree(shape: &[usize], one: impl Fn(&Tensor) -> Tensor, other: impl Fn(&Tensor) -> Tensor) {
        let run = |function: &dyn Fn(&Tensor) -> Tensor| {
            let x = Var::from_tensor(&random(shape, 1)).expect("a variable");
            let y = function(x.as_tensor());
            let weights = random(y.dims(), 2);
            let gradients = (&y * weights)
                .and_then(|y| y.sum_all()?.backward())
                .expect("a backward pass");
            (y, gradients.get(x.as_tensor()).expect("a gradient").clone())
        };
        let ((y, dy), (z, dz)) = (run(&one), run(&other));
        assert!(
            distance(&y, &z) < 1e-5,
            "values differ by {}",
            distance(&y, &z)
        );
        assert!(
            distance(&dy, &dz) < 1e-5,
            "gradients differ by {}",
            distance(&dy, &dz)
        );
    }

    #[test]
    fn the_norm_is_the_composed_one() {
        let weight = random(&[8], 3);
        let composed = |x: &Tensor| {
            let mean = x.sqr().and_then(|x| x.mean_keepdim(1)).expect("a mean");
            let root = (mean + 1e-6).and_then(|mean| mean.sqrt()).expect("a root");
            x.broadcast_div(&root)
                .and_then(|x| x.broadcast_mul(&weight))
                .expect("a norm")
        };
        agree(
            &[5, 8],
            |x| rms_norm(x, &weight, 1e-6).expect("a norm"),
            composed,
        );
    }

    #[test]
    fn the_rotation_is_the_composed_one() {
        let angles = Angles {
            cos: random(&[3, 4], 4),
            sin: random(&[3, 4], 5),
        };
        agree(
            &[3, 2, 8],
            |x| rotate(x, &angles).expect("a rotation"),
            |x| angles.rotate_train(x).expect("a rotation"),
        );
    }

    #[test]
    fn gates_are_the_composed_ones() {
        let up = random(&[4, 6], 6);
        agree(
            &[4, 6],
            |x| gated(x, &up, Activation::Silu).expect("a gate"),
            |x| (x.silu().expect("silu") * &up).expect("a product"),
        );
        agree(
            &[4, 6],
            |x| gated(x, &up, Activation::GeluTanh).expect("a gate"),
            |x| (x.gelu().expect("gelu") * &up).expect("a product"),
        );
        agree(
            &[4, 6],
            |x| gated(&up, x, Activation::Silu).expect("a gate"),
            |x| (up.silu().expect("silu") * x).expect("a product"),
        );
    }

    #[test]
    fn the_softmax_is_the_composed_one() {
        let causal = Causal {
            group: 2,
            window: Some(3),
            scale: 0.5,
        };
        let mut mask = vec![f32::NEG_INFINITY; 10 * 5];
        for (row, mask) in mask.chunks_mut(5).enumerate() {
            mask[visible(row / 2, Some(3))].fill(0.0);
        }
        let mask = Tensor::from_vec(mask, (1, 10, 5), &Device::Cpu).expect("a mask");
        let composed = |x: &Tensor| {
            candle_nn::ops::softmax(
                &(x * 0.5)
                    .and_then(|x| x.broadcast_add(&mask))
                    .expect("masked"),
                2,
            )
            .expect("a softmax")
        };
        agree(
            &[3, 10, 5],
            |x| causal.softmax(x, || Ok(mask.clone())).expect("a softmax"),
            composed,
        );
    }
}
