use crate::error::{ModelError, Result};
use crate::kernels::RotateRows;
use crate::settings::{RopeScaling, RopeSettings};
use candle_core::{Device, Tensor};
use std::f64::consts::TAU;

/// Cosines and sines of every position: two tensors of (positions, `head_dim / 2`).
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

/// Cosines and sines of the rows of one pass: two tensors of (rows, `head_dim / 2`).
#[derive(Clone, Debug)]
pub(crate) struct Angles {
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
}

impl Rotary {
    pub(crate) fn new(
        rope: &RopeSettings,
        head_dim: usize,
        positions: usize,
        device: &Device,
    ) -> Result<Self> {
        let frequencies = frequencies(rope, head_dim);
        let angles: Vec<f32> = (0..positions)
            .flat_map(|position| {
                frequencies
                    .iter()
                    .map(move |frequency| position as f32 * *frequency)
            })
            .collect();
        let shape = (positions, head_dim / 2);
        let table = |function: fn(f32) -> f32| {
            Tensor::from_vec(
                angles.iter().map(|angle| function(*angle)).collect(),
                shape,
                device,
            )
        };
        Ok(Self {
            cos: table(f32::cos)?,
            sin: table(f32::sin)?,
        })
    }

    /// The angles of `positions`.
    pub(crate) fn angles(&self, positions: &Tensor) -> Result<Angles> {
        Ok(Angles {
            cos: self.cos.index_select(positions, 0)?,
            sin: self.sin.index_select(positions, 0)?,
        })
    }
}

impl Angles {
    /// Rotates (rows, heads, `head_dim`), without a graph.
    pub(crate) fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if crate::cuda::computes(x) {
            return crate::cuda::rotate(&x.contiguous()?, self, false);
        }
        if x.device().is_cpu() {
            let x = x.contiguous()?;
            return Ok(x.apply_op3_no_bwd(&self.cos, &self.sin, &RotateRows)?);
        }
        let rotated =
            candle_nn::rotary_emb::rope_thd(&x.unsqueeze(0)?.contiguous()?, &self.cos, &self.sin)?;
        Ok(rotated.squeeze(0)?)
    }

    /// Rotates (rows, heads, `head_dim`), with a graph.
    pub(crate) fn rotate_train(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(2)? / 2;
        let (first, second) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let (cos, sin) = (self.cos.unsqueeze(1)?, self.sin.unsqueeze(1)?); // (rows, 1, half)
        let left = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
        let right = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
        Ok(Tensor::cat(&[left, right], 2)?)
    }
}

/// Radians a position turns each pair of a head.
pub(crate) fn frequencies(rope: &RopeSettings, head_dim: usize) -> Vec<f32> {
    let plain =
        (0..head_dim / 2).map(|index| rope.theta.powf(-2.0 * index as f64 / head_dim as f64));
    let scaled = |(index, frequency): (usize, f64)| match &rope.scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear(factor) => frequency / factor,
        RopeScaling::Factors(factors) => {
            frequency / factors.get(index).copied().map_or(1.0, f64::from)
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => llama3(
            frequency,
            *factor,
            *low_freq_factor,
            *high_freq_factor,
            *original_max_position_embeddings,
        ),
    };
    plain
        .enumerate()
        .map(scaled)
        .map(|frequency| frequency as f32)
        .collect()
}

/// # Source
/// `_compute_llama3_parameters` of transformers: short wavelengths are kept, long ones divided by `factor`, and those
/// between are interpolated.
fn llama3(frequency: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let wavelength = TAU / frequency;
    if wavelength > original / low {
        return frequency / factor;
    }
    if wavelength < original / high {
        return frequency;
    }
    let smooth = (original / wavelength - low) / (high - low);
    (1.0 - smooth) * frequency / factor + smooth * frequency
}

/// The positions of rows as a tensor.
///
/// # Errors
/// When a position lies beyond the tables.
pub(crate) fn positions(rows: Vec<u32>, limit: usize, device: &Device) -> Result<Tensor> {
    if let Some(position) = rows.iter().find(|position| **position as usize >= limit) {
        return Err(ModelError::Invalid(format!(
            "position {position} lies beyond the context of {limit} tokens"
        )));
    }
    let count = rows.len();
    Ok(Tensor::from_vec(rows, count, device)?)
}
