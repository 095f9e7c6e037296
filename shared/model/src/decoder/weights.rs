use super::{Decoder, Layer, Linear};
use crate::error::{ModelError, Result};
use crate::weights::Matrix;
use candle_core::Tensor;

/// Gives a weight for a weight, by its Hugging Face name.
type Change<'a> = &'a mut dyn FnMut(&str, &Tensor) -> Result<Tensor>;

impl Decoder {
    /// A decoder with other weights: `change` gets each once, by its Hugging Face name. (Gemma's norm weights are seen
    /// with the one added that its files leave out.)
    ///
    /// # Errors
    /// A quantised weight; what `change` refuses.
    pub(crate) fn map_weights(&self, change: Change<'_>) -> Result<Self> {
        let mut mapped = self.clone();
        let embedding = "model.embed_tokens.weight";
        mapped.embedding = map_matrix(&self.embedding, embedding, change)?;
        for layer in &mut mapped.layers {
            map_layer(layer, change)?;
        }
        mapped.norm = change("model.norm.weight", &self.norm)?;
        if self.settings.tie_word_embeddings {
            mapped.head.weight = mapped.embedding.clone();
        } else {
            map_linear(&mut mapped.head, change)?;
        }
        Ok(mapped)
    }
}

fn map_layer(layer: &mut Layer, change: Change<'_>) -> Result<()> {
    for linear in &mut layer.linears {
        map_linear(linear, change)?;
    }
    let prefix = format!("model.layers.{}", layer.index);
    for (name, norm) in layer.norms_mut() {
        *norm = change(&format!("{prefix}.{name}.weight"), norm)?;
    }
    Ok(())
}

fn map_linear(linear: &mut Linear, change: Change<'_>) -> Result<()> {
    linear.weight = map_matrix(&linear.weight, &format!("{}.weight", linear.name), change)?;
    if let Some(bias) = &mut linear.bias {
        *bias = change(&format!("{}.bias", linear.name), bias)?;
    }
    Ok(())
}

fn map_matrix(matrix: &Matrix, name: &str, change: Change<'_>) -> Result<Matrix> {
    match matrix {
        Matrix::Dense(weight) => change(name, weight).map(Matrix::Dense),
        quantised => Err(ModelError::Training(format!(
            "full fine-tuning needs a base model in floating point, but `{name}` is {}; train an adapter on it, or export \
             it as safetensors first",
            quantised.dtype_name()
        ))),
    }
}
