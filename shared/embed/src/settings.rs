use crate::EmbedFiles;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that decides how an embedder (or a reranker) is loaded.
#[derive(Clone, Debug)]
pub struct EmbedSettings {
    /// The model's files.
    pub files: EmbedFiles,
    /// ONNX Runtime's shared library; one process can use only one.
    pub runtime_library: PathBuf,
    /// Threads of one computation; 0 for the number of physical cores.
    pub threads: usize,
    /// What is known of the model besides its files; goes before what the files say.
    pub profile: EmbedProfile,
    /// The precision of an exported model. A model that is brought as ONNX has its own.
    pub precision: Precision,
    /// Requests that may wait before [`crate::EmbedError::Busy`], for queries and for passages each.
    pub queue: usize,
}

impl EmbedSettings {
    /// The defaults: physical cores, what the files say, the default precision, 64 waiting requests.
    pub fn new(files: EmbedFiles, runtime_library: impl Into<PathBuf>) -> Self {
        Self {
            files,
            runtime_library: runtime_library.into(),
            threads: 0,
            profile: EmbedProfile::default(),
            precision: Precision::default(),
            queue: 64,
        }
    }
}

/// How an embedder wants to be used. An absent field is read from the model's own files.
///
/// Also the content of `lore-embedder.json`, which may lie in the folder of a user's own model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedProfile {
    /// How tokens become one vector.
    pub pooling: Option<Pooling>,
    /// Stands before each query.
    pub query_prefix: Option<String>,
    /// Stands before each passage.
    pub passage_prefix: Option<String>,
    /// The most tokens that the model reads, special tokens and prefix counted.
    pub max_tokens: Option<usize>,
    /// Length of the vectors; checked when the model is loaded.
    pub dimensions: Option<usize>,
}

impl EmbedProfile {
    /// Itself, its gaps filled from `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            pooling: self.pooling.or(other.pooling),
            query_prefix: self.query_prefix.or(other.query_prefix),
            passage_prefix: self.passage_prefix.or(other.passage_prefix),
            max_tokens: self.max_tokens.or(other.max_tokens),
            dimensions: self.dimensions.or(other.dimensions),
        }
    }
}

/// How the states of a text's tokens become one vector. The vector is brought to unit length in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The first one.
    Cls,
}

/// The numbers of an exported model. The crate's documentation says what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits: exact.
    #[default]
    Float32,
    /// Weights in 8 bits and products in 8 bits (but for the second half of each feed-forward part on processors without VNNI);
    /// inputs are quantised as they come, so that texts are computed one by one: a smaller, faster, slightly different model.
    Int8,
}
