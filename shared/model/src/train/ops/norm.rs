use super::OpResult;
use crate::error::Result;
use crate::kernels::{values, with_values};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

/// x / √(mean(x²) + eps) · weight over the last dimension, with gradients to the weight only where it is a variable.
pub(in crate::train) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
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
