use crate::{
    EmbedError, EmbedFiles, EmbedSettings, Pooling,
    onnx::EncoderSpec,
    prepare::open_weights,
    profile::{TokenizerFacts, read_profile},
};

/// The most tokens where nothing says how many.
const DEFAULT_MAX_TOKENS: usize = 512;

/// What an embedder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderInfo {
    /// Its name.
    pub name: String,
    /// Length of its vectors.
    pub dimensions: usize,
    /// The most tokens that it reads, special tokens and prefix counted; the rest of a text is cut off.
    pub max_tokens: usize,
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// Stands before each query.
    pub query_prefix: String,
    /// Stands before each passage.
    pub passage_prefix: String,
}

impl EmbedderInfo {
    /// Brings together what the settings, the files and the positions of the model say. The dimensions are 0 until the model has
    /// shown them.
    pub(crate) fn read(settings: &EmbedSettings) -> Result<Self, EmbedError> {
        let files = &settings.files;
        let profile = settings.profile.clone().or(read_profile(files)?);
        let declared = profile
            .max_tokens
            .or(TokenizerFacts::read(files)?.max_tokens)
            .unwrap_or(DEFAULT_MAX_TOKENS);
        Ok(Self {
            name: files.name.clone(),
            dimensions: 0,
            max_tokens: declared.min(max_positions(files)?.unwrap_or(usize::MAX)),
            pooling: profile.pooling.unwrap_or_default(),
            query_prefix: profile.query_prefix.unwrap_or_default(),
            passage_prefix: profile.passage_prefix.unwrap_or_default(),
        })
    }

    /// Takes over the length of the model's vectors, if it is what was declared.
    pub(crate) fn set_dimensions(
        &mut self,
        actual: usize,
        declared: Option<usize>,
    ) -> Result<(), EmbedError> {
        self.dimensions = actual;
        match declared {
            Some(expected) if expected != actual => Err(EmbedError::Dimensions {
                name: self.name.clone(),
                expected,
                actual,
            }),
            _ => Ok(()),
        }
    }
}

/// The number of positions of the weights; unknown for a model that is brought as ONNX.
pub(crate) fn max_positions(files: &EmbedFiles) -> Result<Option<usize>, EmbedError> {
    if files.onnx.is_some() {
        return Ok(None);
    }
    let spec = EncoderSpec::read(&open_weights(files)?, &files.config(), false)?;
    Ok(Some(spec.max_tokens()))
}
