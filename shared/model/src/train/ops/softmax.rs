use super::OpResult;
use crate::error::Result;
use crate::kernels::{values, visible, with_values};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};
use rayon::prelude::*;

/// Softmax of causal scores (heads, tokens · group, tokens), where row r belongs to token r / group.
#[derive(Clone, Copy)]
pub(in crate::train) struct Causal {
    pub(in crate::train) group: usize,
    pub(in crate::train) window: Option<usize>,
    pub(in crate::train) scale: f32,
}

impl Causal {
    pub(in crate::train) fn softmax(
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
