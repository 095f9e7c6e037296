//! What an encoder looks like: its sizes, its names, and what it computes beside plain BERT.

use super::{
    E5s1, Family, Names, Table, Weights,
    config::{Activation, EncoderConfig},
};
use crate::EmbedError;
use std::path::Path;

/// Everything that the graph depends on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EncoderSpec {
    pub names: Names,
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub feed_forward: usize,
    pub epsilon: f32,
    pub activation: Activation,
    /// Rows of the position table.
    pub positions: usize,
    /// First position: 0 for BERT; `pad_token_id + 1` for RoBERTa and MPNet, which count tokens that are not padding.
    pub first_position: usize,
    /// Rows of the table of token types; 0 where there is none.
    pub token_types: usize,
    /// Buckets of MPNet's relative attention bias.
    pub relative_buckets: Option<usize>,
    /// What stands on top of the last layer.
    pub head: Head,
}

/// What the graph gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// `last_hidden_state`, (batch, sequence, hidden).
    Hidden,
    /// `logits`, (batch, 1): how well the second text of a pair answers the first.
    Score(ScoreHead),
}

/// How the families compute a score from the first token's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScoreHead {
    /// `pooler.dense`, tanh, `classifier`.
    Bert,
    /// `classifier.dense`, tanh, `classifier.out_proj`.
    Roberta,
    /// `pre_classifier`, ReLU, `classifier`.
    DistilBert,
}

impl EncoderSpec {
    /// Reads the configuration that belongs to `weights`.
    ///
    /// `config` is `config.json`; an `E5S1` file needs none. `score` asks for a cross-encoder's head.
    pub(crate) fn read(weights: &Weights, config: &Path, score: bool) -> Result<Self, EmbedError> {
        match weights {
            Weights::E5s1(_) if score => Err(EmbedError::invalid(
                weights.path(),
                "an E5S1 file is not a cross-encoder",
            )),
            Weights::E5s1(file) => Ok(Self::of_e5s1(file)),
            Weights::SafeTensors(_) => {
                Self::of_config(&EncoderConfig::read(config)?, weights, config, score)
            }
        }
    }

    fn of_e5s1(file: &E5s1) -> Self {
        let header = &file.header;
        Self {
            names: Names {
                family: Family::E5s1,
                prefix: String::new(),
            },
            vocabulary: header.vocabulary,
            hidden: header.hidden,
            layers: header.layers,
            heads: header.heads,
            feed_forward: header.feed_forward,
            epsilon: header.epsilon,
            activation: Activation::Gelu,
            positions: header.positions,
            first_position: 0,
            token_types: header.token_types,
            relative_buckets: None,
            head: Head::Hidden,
        }
    }

    fn of_config(
        config: &EncoderConfig,
        weights: &Weights,
        path: &Path,
        score: bool,
    ) -> Result<Self, EmbedError> {
        let model = ModelType::of(config, path)?;
        let names = Names {
            family: model.family,
            prefix: find_prefix(weights, model.prefix)?,
        };
        let rows = |table| {
            weights
                .shape(&names.table(table))
                .and_then(|shape| shape.first().copied())
        };
        Ok(Self {
            vocabulary: rows(Table::Word).unwrap_or(0),
            positions: rows(Table::Position).unwrap_or(0),
            token_types: rows(Table::TokenType).unwrap_or(0),
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            feed_forward: config.intermediate_size,
            epsilon: config.layer_norm_eps,
            activation: config.activation(path)?,
            first_position: if model.counts_from_padding {
                config.pad_token_id.unwrap_or(1) + 1
            } else {
                0
            },
            relative_buckets: (model.family == Family::MpNet)
                .then_some(config.relative_attention_num_buckets),
            head: if score {
                Head::Score(model.score_head(config, path)?)
            } else {
                Head::Hidden
            },
            names,
        })
    }

    /// The most tokens that the positions allow.
    pub(crate) fn max_tokens(&self) -> usize {
        self.positions.saturating_sub(self.first_position)
    }

    /// Refuses sizes that no graph can be made of.
    pub(crate) fn check(&self, path: &Path) -> Result<(), EmbedError> {
        let problem =
            if self.hidden == 0 || self.layers == 0 || self.heads == 0 || self.vocabulary == 0 {
                "hidden size, layers, heads and vocabulary must be above 0"
            } else if !self.hidden.is_multiple_of(self.heads) {
                "the hidden size is not a multiple of the number of heads"
            } else if self.max_tokens() == 0 {
                "the position table is missing or empty"
            } else {
                return Ok(());
            };
        Err(EmbedError::invalid(path, problem))
    }
}

/// What `model_type` implies.
struct ModelType {
    family: Family,
    prefix: &'static str,
    counts_from_padding: bool,
}

impl ModelType {
    fn of(config: &EncoderConfig, path: &Path) -> Result<Self, EmbedError> {
        let (family, prefix, counts_from_padding) = match config.model_type.as_str() {
            "bert" => (Family::Bert, "bert.", false),
            "roberta" | "xlm-roberta" | "camembert" => (Family::Bert, "roberta.", true),
            "mpnet" => (Family::MpNet, "mpnet.", true),
            "distilbert" => (Family::DistilBert, "distilbert.", false),
            other => {
                let reason = format!(
                    "model_type `{other}` cannot be exported (bert, roberta, xlm-roberta, camembert, mpnet and \
                     distilbert can); put the model's own model.onnx into the folder"
                );
                return Err(EmbedError::invalid(path, reason));
            }
        };
        Ok(Self {
            family,
            prefix,
            counts_from_padding,
        })
    }

    fn score_head(&self, config: &EncoderConfig, path: &Path) -> Result<ScoreHead, EmbedError> {
        if config.labels() != 1 {
            let reason = format!(
                "a reranker gives one score, this model gives {}",
                config.labels()
            );
            return Err(EmbedError::invalid(path, reason));
        }
        match (self.family, self.counts_from_padding) {
            (Family::Bert, false) => Ok(ScoreHead::Bert),
            (Family::Bert, true) => Ok(ScoreHead::Roberta),
            (Family::DistilBert, _) => Ok(ScoreHead::DistilBert),
            (Family::MpNet | Family::E5s1, _) => Err(EmbedError::invalid(
                path,
                "no scoring head is known for this family",
            )),
        }
    }
}

/// The tensors of a bare encoder have no prefix, those of a model with a head have the family's.
fn find_prefix(weights: &Weights, family: &str) -> Result<String, EmbedError> {
    let has_words = |prefix: &&str| {
        weights
            .shape(&format!("{prefix}embeddings.word_embeddings.weight"))
            .is_some()
    };
    let known = ["", family, "bert.", "model.", "auto_model."];
    let Some(prefix) = known.into_iter().find(has_words) else {
        return Err(EmbedError::invalid(
            weights.path(),
            "no tensor `embeddings.word_embeddings.weight` in it",
        ));
    };
    Ok(prefix.into())
}
