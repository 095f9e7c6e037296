use super::OpResult;
use crate::decoder::Angles;
use crate::error::Result;
use crate::kernels::{values, with_values};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

/// Rotates (rows, heads, width) by the angles of the rows.
pub(in crate::train) fn rotate(x: &Tensor, angles: &Angles) -> Result<Tensor> {
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
