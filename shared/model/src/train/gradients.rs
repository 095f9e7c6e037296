use super::parameters::{NamedVar, Parameters};
use crate::error::{ModelError, Result};
use candle_core::Tensor;
use candle_core::backprop::GradStore;

/// Gradients of all [`Parameters`], in their order; those of micro-batches add up.
#[derive(Clone, Debug)]
pub struct Gradients {
    tensors: Vec<Option<Tensor>>,
}

impl Gradients {
    /// None yet.
    pub fn none(parameters: &Parameters) -> Self {
        Self {
            tensors: vec![None; parameters.vars().len()],
        }
    }

    /// From values for each parameter, in their order.
    pub(super) fn from_values(
        parameters: &Parameters,
        values: Vec<Option<Vec<f32>>>,
    ) -> Result<Self> {
        let tensor = |(values, named): (Option<Vec<f32>>, &NamedVar)| {
            let like = named.var.as_tensor();
            let tensor = values.map(|values| Tensor::from_vec(values, like.dims(), like.device()));
            Ok(tensor.transpose()?)
        };
        let tensors = values.into_iter().zip(parameters.vars()).map(tensor);
        Ok(Self {
            tensors: tensors.collect::<Result<_>>()?,
        })
    }

    /// Adds what a backward pass left for the parameters that it reached.
    pub(super) fn collect(&mut self, parameters: &Parameters, store: &mut GradStore) -> Result<()> {
        for (own, named) in self.tensors.iter_mut().zip(parameters.vars()) {
            if let Some(gradient) = store.remove(named.var.as_tensor()) {
                let gradient = gradient.detach();
                *own = Some(match own.take() {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                });
            }
        }
        Ok(())
    }

    /// Adds the gradient of one parameter, by its place.
    #[cfg(any(feature = "cuda", test))]
    pub(super) fn put(&mut self, index: usize, gradient: Tensor) -> Result<()> {
        let Some(own) = self.tensors.get_mut(index) else {
            return Err(ModelError::Training(format!(
                "there is no parameter {index}"
            )));
        };
        *own = Some(match own.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        });
        Ok(())
    }

    /// The gradients that are there and lie on a GPU.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Vec<&Tensor> {
        let all = self.tensors.iter().flatten();
        all.filter(|gradient| gradient.device().is_cuda()).collect()
    }

    /// Adds the gradients of another micro-batch.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn add(&mut self, other: Self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if self.on_gpu().len() == self.tensors.len() && other.on_gpu().len() == self.tensors.len() {
            let pairs = self.on_gpu().into_iter().zip(other.on_gpu());
            return crate::cuda::add_all(
                &pairs.map(|(own, other)| [own, other]).collect::<Vec<_>>(),
            );
        }
        for (own, gradient) in self.tensors.iter_mut().zip(other.tensors) {
            *own = match (own.take(), gradient) {
                (Some(sum), Some(gradient)) => Some((sum + gradient)?),
                (sum, gradient) => sum.or(gradient),
            };
        }
        Ok(())
    }

    /// The gradients, one for each parameter.
    ///
    /// # Errors
    /// Names a parameter that got none: it would never learn.
    pub fn all<'a>(&'a self, parameters: &'a Parameters) -> Result<Vec<&'a Tensor>> {
        let missing = |name: &str| {
            ModelError::Training(format!("`{name}` got no gradient, so it would never learn"))
        };
        let pairs = self.tensors.iter().zip(parameters.vars());
        pairs
            .map(|(gradient, named)| gradient.as_ref().ok_or_else(|| missing(&named.name)))
            .collect()
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// As [`Gradients::all`].
    pub fn norm(&self, parameters: &Parameters) -> Result<f64> {
        let all = self.all(parameters)?;
        #[cfg(feature = "cuda")]
        if self.on_gpu().len() == all.len() {
            return Ok(crate::cuda::squares(&all)?.sqrt());
        }
        let mut sum = 0f64;
        for gradient in all {
            sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok(sum.sqrt())
    }

    /// Shrinks the gradients so that their norm is at most `limit`, and says what it was before.
    ///
    /// # Source
    /// torch's `clip_grad_norm_`, its 1e-6 included.
    ///
    /// # Errors
    /// As [`Gradients::all`]; a norm that is no number, since nothing sensible can follow.
    pub fn clip(&mut self, parameters: &Parameters, limit: f64) -> Result<f64> {
        let norm = self.norm(parameters)?;
        if !norm.is_finite() {
            return Err(ModelError::NotFinite {
                what: "gradient norm",
                value: norm,
            });
        }
        let factor = limit / (norm + 1e-6);
        #[cfg(feature = "cuda")]
        if factor < 1.0 && self.on_gpu().len() == self.tensors.len() {
            crate::cuda::scale_all(&self.on_gpu(), factor)?;
            return Ok(norm);
        }
        if factor < 1.0 {
            for gradient in self.tensors.iter_mut().flatten() {
                *gradient = (&*gradient * factor)?;
            }
        }
        Ok(norm)
    }
}
