use super::gradients::Gradients;
use super::parameters::Parameters;
use super::update::Update;
use crate::error::{ModelError, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings of `AdamW`; names are torch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWSettings {
    /// Decay of the first and second moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self {
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.01,
        }
    }
}

/// First and second moment of one parameter.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Running mean of gradients.
    pub first: Tensor,
    /// Running mean of squared gradients.
    pub second: Tensor,
}

/// `AdamW` with decoupled weight decay.
///
/// # Source
/// Loshchilov and Hutter, 2019; the order of operations is torch's, so that the numbers agree.
pub struct AdamW {
    settings: AdamWSettings,
    steps: u64,
    moments: Vec<Option<Moments>>,
}

impl AdamW {
    /// An optimiser that has seen nothing.
    pub fn new(parameters: &Parameters, settings: AdamWSettings) -> Self {
        Self {
            settings,
            steps: 0,
            moments: vec![None; parameters.vars().len()],
        }
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step at a learning rate.
    ///
    /// # Errors
    /// As [`Gradients::all`].
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let (beta1, beta2) = self.settings.betas;
        let exponent = self.steps as f64;
        let (correction1, correction2) = (1.0 - beta1.powf(exponent), 1.0 - beta2.powf(exponent));
        let all = gradients.all(parameters)?;
        #[cfg(feature = "cuda")]
        if all.iter().all(|gradient| gradient.device().is_cuda()) {
            let step = crate::cuda::AdamWStep {
                betas: (beta1, beta2),
                eps: self.settings.eps,
                rate1: learning_rate / correction1,
                root2: correction2.sqrt(),
                keep: 1.0 - learning_rate * self.settings.weight_decay,
            };
            return self.step_on_gpu(parameters, &all, step);
        }
        for ((named, gradient), moments) in parameters.vars().iter().zip(all).zip(&mut self.moments)
        {
            if gradient.device().is_cpu() {
                let corrected = [learning_rate / correction1, correction2.sqrt()];
                let update = Update::new(self.settings, learning_rate, corrected);
                update.apply(named.var.as_tensor(), gradient, moments)?;
                continue;
            }
            let squared = gradient.sqr()?;
            let updated = match moments.take() {
                Some(old) => Moments {
                    first: ((old.first * beta1)? + (gradient * (1.0 - beta1))?)?,
                    second: ((old.second * beta2)? + (squared * (1.0 - beta2))?)?,
                },
                None => Moments {
                    first: (gradient * (1.0 - beta1))?,
                    second: (squared * (1.0 - beta2))?,
                },
            };
            let decayed = (named.var.as_tensor().detach()
                * (1.0 - learning_rate * self.settings.weight_decay))?;
            let divisor = ((updated.second.sqrt()? / correction2.sqrt())? + self.settings.eps)?;
            let change = ((&updated.first / divisor)? * (learning_rate / correction1))?;
            named.var.set(&(decayed - change)?)?;
            *moments = Some(updated);
        }
        Ok(())
    }

    /// The same in place and in one launch.
    #[cfg(feature = "cuda")]
    fn step_on_gpu(
        &mut self,
        parameters: &Parameters,
        gradients: &[&Tensor],
        step: crate::cuda::AdamWStep,
    ) -> Result<()> {
        for (moments, gradient) in self.moments.iter_mut().zip(gradients) {
            if moments.is_none() {
                let (first, second) = (gradient.zeros_like()?, gradient.zeros_like()?);
                *moments = Some(Moments { first, second });
            }
        }
        let all = parameters
            .vars()
            .iter()
            .zip(gradients)
            .zip(self.moments.iter().flatten());
        let tensors = all.map(|((named, gradient), moments)| {
            [
                named.var.as_tensor(),
                *gradient,
                &moments.first,
                &moments.second,
            ]
        });
        crate::cuda::adamw(&tensors.collect::<Vec<_>>(), step)
    }

    /// The state by the parameters' names, for a checkpoint: `{name}.first` and `{name}.second`. The tensors follow later
    /// steps.
    pub fn state(&self, parameters: &Parameters) -> BTreeMap<String, Tensor> {
        let named = parameters.vars().iter().zip(&self.moments);
        let entries = named
            .filter_map(|(named, moments)| moments.as_ref().map(|moments| (&named.name, moments)));
        entries
            .flat_map(|(name, moments)| {
                [
                    (format!("{name}.first"), moments.first.clone()),
                    (format!("{name}.second"), moments.second.clone()),
                ]
            })
            .collect()
    }

    /// Puts back what [`AdamW::state`] gave after `steps` steps.
    ///
    /// # Errors
    /// A moment that is missing.
    pub fn restore(
        &mut self,
        parameters: &Parameters,
        steps: u64,
        mut value: impl FnMut(&str) -> Option<Tensor>,
    ) -> Result<()> {
        self.steps = steps;
        for (named, moments) in parameters.vars().iter().zip(&mut self.moments) {
            let mut get = |kind: &str| {
                let name = format!("{}.{kind}", named.name);
                let moment = value(&name).ok_or(ModelError::MissingTensor(name))?;
                Ok::<_, ModelError>(moment.to_device(named.var.device())?)
            };
            *moments = if steps == 0 {
                None
            } else {
                Some(Moments {
                    first: get("first")?,
                    second: get("second")?,
                })
            };
        }
        Ok(())
    }
}
