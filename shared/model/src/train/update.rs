use super::adamw::{AdamWSettings, Moments};
use crate::error::Result;
use crate::kernels::{dispatch, values};
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor};
use rayon::prelude::*;

/// Values that one thread handles at a time.
const PIECE: usize = 8 * 1024;

/// A step of `AdamW` on the CPU, in place: three passes over the values instead of one for every operation.
#[derive(Clone, Copy)]
pub(super) struct Update {
    betas: [f32; 2],
    /// 1 - β, taken in float64: 1 - 0.999 in float32 is off by 5e-5.
    rest: [f32; 2],
    eps: f32,
    /// 1 - learning rate · weight decay.
    keep: f32,
    /// Learning rate, corrected for the first moment's start at zero.
    rate: f32,
    /// Root of the same correction of the second.
    root: f32,
}

impl Update {
    pub(super) fn new(settings: AdamWSettings, learning_rate: f64, [rate, root]: [f64; 2]) -> Self {
        let (beta1, beta2) = settings.betas;
        Self {
            betas: [beta1 as f32, beta2 as f32],
            rest: [(1.0 - beta1) as f32, (1.0 - beta2) as f32],
            eps: settings.eps as f32,
            keep: (1.0 - learning_rate * settings.weight_decay) as f32,
            rate: rate as f32,
            root: root as f32,
        }
    }

    /// Changes a parameter and its moments by its gradient.
    pub(super) fn apply(
        self,
        parameter: &Tensor,
        gradient: &Tensor,
        moments: &mut Option<Moments>,
    ) -> Result<()> {
        let gradient = gradient.contiguous()?;
        if moments.is_none() {
            *moments = Some(Moments {
                first: gradient.zeros_like()?,
                second: gradient.zeros_like()?,
            });
        }
        if let Some(moments) = moments {
            moments.first.inplace_op2(&gradient, &First(self))?;
            moments.second.inplace_op2(&gradient, &Second(self))?;
            parameter.inplace_op3(&moments.first, &moments.second, &Change(self))?;
        }
        Ok(())
    }
}

/// m = β₁ m + (1 - β₁) g.
struct First(Update);
/// v = β₂ v + (1 - β₂) g².
struct Second(Update);
/// p = keep · p - rate · m / (√v / root + eps).
struct Change(Update);

/// The float32 values of a contiguous layout, to be changed.
fn values_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
    else {
        candle_core::bail!("the optimiser takes contiguous float32 only")
    };
    match values.get_mut(start..end) {
        Some(values) => Ok(values),
        None => candle_core::bail!("a layout reaches past its storage"),
    }
}

impl InplaceOp2 for First {
    fn name(&self) -> &'static str {
        "adamw-first"
    }

    fn cpu_fwd(
        &self,
        moment: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = values(gradient, gradient_layout)?;
        let factors = [self.0.betas[0], self.0.rest[0]];
        values_mut(moment, layout)?
            .par_chunks_mut(PIECE)
            .zip(gradient.par_chunks(PIECE))
            .for_each(|(moment, gradient)| first(moment, gradient, factors));
        Ok(())
    }
}

impl InplaceOp2 for Second {
    fn name(&self) -> &'static str {
        "adamw-second"
    }

    fn cpu_fwd(
        &self,
        moment: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = values(gradient, gradient_layout)?;
        let factors = [self.0.betas[1], self.0.rest[1]];
        values_mut(moment, layout)?
            .par_chunks_mut(PIECE)
            .zip(gradient.par_chunks(PIECE))
            .for_each(|(moment, gradient)| second(moment, gradient, factors));
        Ok(())
    }
}

impl InplaceOp3 for Change {
    fn name(&self) -> &'static str {
        "adamw-change"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        layout: &Layout,
        first: &CpuStorage,
        first_layout: &Layout,
        second: &CpuStorage,
        second_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (first, second) = (values(first, first_layout)?, values(second, second_layout)?);
        values_mut(parameter, layout)?
            .par_chunks_mut(PIECE)
            .zip(first.par_chunks(PIECE).zip(second.par_chunks(PIECE)))
            .for_each(|(parameter, (first, second))| change(parameter, first, second, &self.0));
        Ok(())
    }
}

#[inline(always)]
fn first_body<const FUSED: bool>(moment: &mut [f32], gradient: &[f32], [beta, rest]: [f32; 2]) {
    for (moment, gradient) in moment.iter_mut().zip(gradient) {
        *moment = beta * *moment + rest * gradient;
    }
}
dispatch!(first, first_body, (moment: &mut [f32], gradient: &[f32], factors: [f32; 2]));

#[inline(always)]
fn second_body<const FUSED: bool>(moment: &mut [f32], gradient: &[f32], [beta, rest]: [f32; 2]) {
    for (moment, gradient) in moment.iter_mut().zip(gradient) {
        *moment = beta * *moment + rest * (gradient * gradient);
    }
}
dispatch!(second, second_body, (moment: &mut [f32], gradient: &[f32], factors: [f32; 2]));

#[inline(always)]
fn change_body<const FUSED: bool>(
    parameter: &mut [f32],
    first: &[f32],
    second: &[f32],
    update: &Update,
) {
    for ((parameter, first), second) in parameter.iter_mut().zip(first).zip(second) {
        let divisor = second.sqrt() / update.root + update.eps;
        *parameter = update.keep * *parameter - update.rate * (first / divisor);
    }
}
dispatch!(change, change_body, (parameter: &mut [f32], first: &[f32], second: &[f32], update: &Update));
