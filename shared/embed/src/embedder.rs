use crate::{
    EmbedError, EmbedFiles, EmbedSettings, EmbedTokenizer, Pooling, Precision,
    batch::{Batch, Embeddings},
    fastembed_files::id_reader,
    onnx::EncoderSpec,
    prepare::{Prepared, open_weights, prepare},
    profile::{TokenizerFacts, read_profile},
    runtime::{environment, physical_cores},
};
use fastembed::{InitOptionsUserDefined, QuantizationMode, TextEmbedding, UserDefinedEmbeddingModel};
use ort::environment::Environment;
use std::path::Path;

/// The most tokens where nothing says how many.
const DEFAULT_MAX_TOKENS: usize = 512;

/// Text → unit vectors, on the calling thread. One session of ONNX Runtime.
///
/// # Guarantees
/// The same text gives the same vector alone and in a batch (cosine above 0.9999), whatever the order of the batch.
pub struct Embedder {
    model: TextEmbedding,
    tokenizer: EmbedTokenizer,
    info: EmbedderInfo,
    /// Texts in one computation: padding does not change float32 vectors, but it changes how inputs are quantised.
    single: bool,
}

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

/// Queries and passages have different prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    Query,
    Passage,
}

impl Embedder {
    /// Loads an embedder; exports its weights first where that has not been done.
    ///
    /// # Errors
    /// Missing files, an unusable ONNX Runtime, a model that does not run or whose vectors have another length than declared.
    pub fn load(settings: &EmbedSettings) -> Result<Self, EmbedError> {
        environment(&settings.runtime_library)?; // before an export that may take seconds
        let Prepared { onnx, .. } = prepare(settings)?;
        Self::open(settings, &onnx)
    }

    /// Loads the model at `onnx` with the tokenizer and profile of `settings`.
    pub(crate) fn open(settings: &EmbedSettings, onnx: &Path) -> Result<Self, EmbedError> {
        let environment = environment(&settings.runtime_library)?;
        let mut info = read_info(settings)?;
        let tokenizer = EmbedTokenizer::read(&settings.files.tokenizer, &info.passage_prefix, info.max_tokens)?;
        let model = open_model(settings, onnx, &info, &tokenizer, environment)?;
        info.dimensions = 0; // until the model has shown it
        let single = settings.files.onnx.is_none() && settings.precision == Precision::Int8;
        let mut this = Self { model, tokenizer, info, single };
        this.info.dimensions = this.probe()?;
        check_dimensions(settings.profile.dimensions, &this.info)?;
        Ok(this)
    }

    /// What it is.
    pub fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &EmbedTokenizer {
        &self.tokenizer
    }

    /// The vectors of passages, in their order.
    ///
    /// # Errors
    /// [`EmbedError::Inference`], and [`EmbedError::NoVector`] where a text has none. A text that is too long is cut, and
    /// listed in [`Embeddings::truncated`].
    pub fn embed_passages<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Embeddings, EmbedError> {
        self.embed(TextKind::Passage, texts)
    }

    /// The vectors of queries, in their order; otherwise as [`Embedder::embed_passages`].
    pub fn embed_queries<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Embeddings, EmbedError> {
        self.embed(TextKind::Query, texts)
    }

    /// The vector of one query.
    pub fn embed_query(&mut self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let mut embeddings = self.embed(TextKind::Query, &[text])?;
        embeddings.vectors.pop().ok_or_else(|| self.no_vector(0, "the model gave none"))
    }

    fn embed<S: AsRef<str>>(&mut self, kind: TextKind, texts: &[S]) -> Result<Embeddings, EmbedError> {
        let mut batch = self.begin(kind, texts)?;
        while self.step(&mut batch)? {}
        Ok(batch.finish())
    }

    /// Tokenizes and groups texts; [`Embedder::step`] computes.
    pub(crate) fn begin<S: AsRef<str>>(&self, kind: TextKind, texts: &[S]) -> Result<Batch, EmbedError> {
        let prefix = match kind {
            TextKind::Query => &self.info.query_prefix,
            TextKind::Passage => &self.info.passage_prefix,
        };
        Batch::plan(&self.tokenizer, &self.info.name, prefix, texts, self.single)
    }

    /// Computes the next group of a batch; `false` when nothing is left.
    pub(crate) fn step(&mut self, batch: &mut Batch) -> Result<bool, EmbedError> {
        let Some(group) = batch.next_group() else { return Ok(false) };
        let texts = batch.texts_of(&group);
        let failed = |reason| EmbedError::Inference { name: self.info.name.clone(), texts: group.len(), reason };
        let vectors = self.model.embed(&texts, None).map_err(|e| failed(e.to_string()))?;
        if vectors.len() != group.len() {
            return Err(failed(format!("it gave {} vectors", vectors.len())));
        }
        for (index, vector) in group.into_iter().zip(vectors) {
            if !is_unit(&vector) {
                return Err(self.no_vector(index, "the model computed something that has no direction"));
            }
            batch.set(index, vector);
        }
        Ok(true)
    }

    /// Runs the model once, so that a graph that does not fit is found now; gives the vectors' length.
    fn probe(&mut self) -> Result<usize, EmbedError> {
        self.embed_query("lore").map(|vector| vector.len())
    }

    fn no_vector(&self, index: usize, reason: &'static str) -> EmbedError {
        EmbedError::NoVector { name: self.info.name.clone(), index, reason }
    }
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("info", &self.info).finish_non_exhaustive()
    }
}

fn is_unit(vector: &[f32]) -> bool {
    let square: f32 = vector.iter().map(|x| x * x).sum();
    (square - 1.0).abs() < 1e-3
}

fn check_dimensions(expected: Option<usize>, info: &EmbedderInfo) -> Result<(), EmbedError> {
    match expected {
        Some(expected) if expected != info.dimensions => {
            Err(EmbedError::Dimensions { name: info.name.clone(), expected, actual: info.dimensions })
        }
        _ => Ok(()),
    }
}

/// Brings together what the settings, the files and the positions of the model say.
fn read_info(settings: &EmbedSettings) -> Result<EmbedderInfo, EmbedError> {
    let files = &settings.files;
    let profile = settings.profile.clone().or(read_profile(files)?);
    let declared = profile.max_tokens.or(TokenizerFacts::read(files)?.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
    let max_tokens = declared.min(max_positions(files)?.unwrap_or(usize::MAX));
    Ok(EmbedderInfo {
        name: files.name.clone(),
        dimensions: profile.dimensions.unwrap_or(0),
        max_tokens,
        pooling: profile.pooling.unwrap_or_default(),
        query_prefix: profile.query_prefix.unwrap_or_default(),
        passage_prefix: profile.passage_prefix.unwrap_or_default(),
    })
}

/// The number of positions of the weights; unknown for a model that is brought as ONNX.
pub(crate) fn max_positions(files: &EmbedFiles) -> Result<Option<usize>, EmbedError> {
    if files.onnx.is_some() {
        return Ok(None);
    }
    let spec = EncoderSpec::read(&open_weights(files)?, &files.config(), false)?;
    Ok(Some(spec.max_tokens()))
}

fn open_model(
    settings: &EmbedSettings,
    onnx: &Path,
    info: &EmbedderInfo,
    tokenizer: &EmbedTokenizer,
    environment: Environment,
) -> Result<TextEmbedding, EmbedError> {
    let bytes = std::fs::read(onnx).map_err(EmbedError::read(onnx))?;
    let pooling = match info.pooling {
        Pooling::Mean => fastembed::Pooling::Mean,
        Pooling::Cls => fastembed::Pooling::Cls,
    };
    let mut model = UserDefinedEmbeddingModel::new(bytes, id_reader(&settings.files, tokenizer)?)
        .with_pooling(pooling)
        .with_quantization(QuantizationMode::None); // batches are formed here, singly where quantisation asks for it
    if let Some((name, path)) = EmbedFiles::external_data(onnx) {
        let data = std::fs::read(&path).map_err(EmbedError::read(&path))?;
        model = model.with_external_initializer(name, data);
    }
    let options = InitOptionsUserDefined::new()
        .with_environment(environment)
        .with_max_length(info.max_tokens)
        .with_intra_threads(threads(settings))
        .with_session_config(NO_SPINNING.0, NO_SPINNING.1);
    TextEmbedding::try_new_from_user_defined(model, options).map_err(|e| EmbedError::load(&info.name, e))
}

/// Idle threads of a session sleep: the generator wants the same cores.
pub(crate) const NO_SPINNING: (&str, &str) = ("session.intra_op.allow_spinning", "0");

/// Threads for a session.
pub(crate) fn threads(settings: &EmbedSettings) -> usize {
    if settings.threads == 0 { physical_cores() } else { settings.threads }
}
