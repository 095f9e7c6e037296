//! Hugging Face's `config.json`, as far as an encoder's graph depends on it.

use crate::EmbedError;
use serde::Deserialize;
use std::path::Path;

/// The fields, under Hugging Face's names; DistilBERT's own names are read as well.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EncoderConfig {
    pub model_type: String,
    #[serde(alias = "dim")]
    pub hidden_size: usize,
    #[serde(alias = "n_layers")]
    pub num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    pub num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    pub intermediate_size: usize,
    #[serde(alias = "activation", default = "gelu")]
    pub hidden_act: String,
    #[serde(default = "bert_epsilon")]
    pub layer_norm_eps: f32,
    pub pad_token_id: Option<usize>,
    pub position_embedding_type: Option<String>,
    #[serde(default = "mpnet_buckets")]
    pub relative_attention_num_buckets: usize,
    pub num_labels: Option<usize>,
    pub id2label: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The function between the two halves of the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// The same with `tanh` in place of `erf`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl EncoderConfig {
    pub(crate) fn read(path: &Path) -> Result<Self, EmbedError> {
        let bytes = std::fs::read(path).map_err(EmbedError::read(path))?;
        let config: Self =
            serde_json::from_slice(&bytes).map_err(|e| EmbedError::invalid(path, e))?;
        match config.position_embedding_type.as_deref() {
            None | Some("absolute") => Ok(config),
            Some(other) => {
                let reason = format!(
                    "position_embedding_type `{other}` cannot be exported; bring the model as ONNX"
                );
                Err(EmbedError::invalid(path, reason))
            }
        }
    }

    pub(crate) fn activation(&self, path: &Path) -> Result<Activation, EmbedError> {
        match self.hidden_act.as_str() {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            other => Err(EmbedError::invalid(
                path,
                format!("hidden_act `{other}` cannot be exported"),
            )),
        }
    }

    /// Number of scores that the model gives.
    pub(crate) fn labels(&self) -> usize {
        self.num_labels
            .or(self.id2label.as_ref().map(|labels| labels.len()))
            .unwrap_or(2)
    }
}

fn gelu() -> String {
    "gelu".into()
}

fn bert_epsilon() -> f32 {
    1e-12
}

fn mpnet_buckets() -> usize {
    32
}
