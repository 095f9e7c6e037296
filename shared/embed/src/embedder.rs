use crate::{
    EmbedError, EmbedSettings, EmbedTokenizer, EmbedderInfo,
    batch::{Batch, Embeddings},
    prepare::{Prepared, prepare},
    runtime::environment,
    session::Session,
};
use lore_telemetry::names::{EMBED_BATCH_SECONDS, EMBED_TEXTS};
use std::{path::Path, time::Instant};

/// Texts that are tokenized at a time.
const TOKENIZED_TOGETHER: usize = 32;

/// Text → unit vectors, on the calling thread. One session of ONNX Runtime.
///
/// # Guarantees
/// The same text gives the same vector alone and in a batch (cosine above 0.9999), whatever the order of the batch.
pub struct Embedder {
    session: Session,
    tokenizer: EmbedTokenizer,
    info: EmbedderInfo,
}

/// Queries and passages have different prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    Query,
    Passage,
}

impl TextKind {
    /// Its name in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Passage => "passage",
        }
    }
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
        let info = EmbedderInfo::read(settings)?;
        let tokenizer = EmbedTokenizer::read(
            &settings.files.tokenizer,
            &info.passage_prefix,
            info.max_tokens,
        )?;
        let session = Session::open(settings, onnx, &info, &tokenizer)?;
        let mut this = Self {
            session,
            tokenizer,
            info,
        };
        let dimensions = this.probe()?;
        this.info
            .set_dimensions(dimensions, settings.profile.dimensions)?;
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
        embeddings
            .vectors
            .pop()
            .ok_or_else(|| self.no_vector(0, "the model gave none"))
    }

    fn embed<S: AsRef<str>>(
        &mut self,
        kind: TextKind,
        texts: &[S],
    ) -> Result<Embeddings, EmbedError> {
        let embedded = self.embed_with_pauses(kind, texts, &mut |_| true)?;
        Ok(embedded.unwrap_or_default()) // it only ends early where a pause says so
    }

    /// Calls `pause` every few milliseconds of tokenizing and before each computation; gives `None` once it says `false`.
    pub(crate) fn embed_with_pauses<S: AsRef<str>>(
        &mut self,
        kind: TextKind,
        texts: &[S],
        pause: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Result<Option<Embeddings>, EmbedError> {
        let mut batch = Batch::new(kind);
        for slice in texts.chunks(TOKENIZED_TOGETHER) {
            if !pause(self) {
                return Ok(None);
            }
            slice
                .iter()
                .try_for_each(|text| self.tokenize(&mut batch, text.as_ref()))?;
        }
        batch.form_groups(self.session.single);
        while let Some(group) = batch.next_group() {
            if !pause(self) {
                return Ok(None);
            }
            self.compute(&mut batch, group)?;
        }
        Ok(Some(batch.finish()))
    }

    /// Adds a text to the batch, behind its prefix.
    fn tokenize(&self, batch: &mut Batch, text: &str) -> Result<(), EmbedError> {
        let prefix = match batch.kind {
            TextKind::Query => &self.info.query_prefix,
            TextKind::Passage => &self.info.passage_prefix,
        };
        let tokens = self.tokenizer.ids(&format!("{prefix}{text}"));
        let tokens = tokens.map_err(|e| EmbedError::load(&self.info.name, e))?;
        if tokens.ids.is_empty() {
            return Err(self.no_vector(batch.len(), "it has no tokens"));
        }
        batch.add(&tokens);
        Ok(())
    }

    /// Computes a group of a batch.
    fn compute(&mut self, batch: &mut Batch, group: Vec<usize>) -> Result<(), EmbedError> {
        let texts = batch.texts_of(&group);
        let failed = |reason| EmbedError::Inference {
            name: self.info.name.clone(),
            texts: group.len(),
            reason,
        };
        let began = Instant::now();
        let vectors = self
            .session
            .model
            .embed(&texts, None)
            .map_err(|e| failed(e.to_string()))?;
        metrics::histogram!(EMBED_BATCH_SECONDS).record(began.elapsed().as_secs_f64());
        metrics::counter!(EMBED_TEXTS, "kind" => batch.kind.as_str()).increment(group.len() as u64);
        if vectors.len() != group.len() {
            return Err(failed(format!("it gave {} vectors", vectors.len())));
        }
        for (index, vector) in group.into_iter().zip(vectors) {
            if !is_unit(&vector) {
                return Err(
                    self.no_vector(index, "the model computed something that has no direction")
                );
            }
            batch.set(index, vector);
        }
        Ok(())
    }

    /// Runs the model once, so that a graph that does not fit is found now; gives the vectors' length.
    fn probe(&mut self) -> Result<usize, EmbedError> {
        self.embed_query("lore").map(|vector| vector.len())
    }

    fn no_vector(&self, index: usize, reason: &'static str) -> EmbedError {
        EmbedError::NoVector {
            name: self.info.name.clone(),
            index,
            reason,
        }
    }
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

fn is_unit(vector: &[f32]) -> bool {
    let square: f32 = vector.iter().map(|x| x * x).sum();
    (square - 1.0).abs() < 1e-3
}
