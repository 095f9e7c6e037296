use crate::{
    EmbedError, EmbedSettings,
    batch::{GROUP_TOKENS, group},
    fastembed_files::own_tokenizer,
    info::max_positions,
    prepare::{Purpose, prepare_as},
    profile::TokenizerFacts,
    queue::Lane,
    runtime::environment,
    session::{NO_SPINNING, threads},
    tokens::pieces,
    worker::{Model, Worker},
};
use fastembed::{OnnxSource, RerankInitOptionsUserDefined, TextRerank, UserDefinedRerankingModel};
use std::sync::Arc;

/// The most tokens of a pair where nothing says how many.
const DEFAULT_MAX_TOKENS: usize = 512;
/// Special tokens of a pair, and some of its texts.
const MIN_TOKENS: usize = 8;

/// A cross-encoder: reads question and passage together and says how well the passage answers. On the calling thread.
pub struct Reranker {
    model: TextRerank,
    max_tokens: usize,
    name: String,
}

impl Reranker {
    /// Loads a cross-encoder: `model.onnx` whose output `logits` has one column, or the safetensors of a
    /// `…ForSequenceClassification` with one label, which are exported first. Of the profile, only `max_tokens` counts.
    ///
    /// # Errors
    /// As for [`crate::Embedder::load`].
    pub fn load(settings: &EmbedSettings) -> Result<Self, EmbedError> {
        let environment = environment(&settings.runtime_library)?;
        let onnx = prepare_as(settings, Purpose::Rerank)?.onnx;
        let files = &settings.files;
        let declared = settings
            .profile
            .max_tokens
            .or(TokenizerFacts::read(files)?.max_tokens);
        let max_tokens = declared
            .unwrap_or(DEFAULT_MAX_TOKENS)
            .min(max_positions(files)?.unwrap_or(usize::MAX));
        if max_tokens < MIN_TOKENS {
            return Err(EmbedError::load(
                &files.name,
                format!("max_tokens = {max_tokens} leaves no room for a pair"),
            ));
        }
        let source = UserDefinedRerankingModel::new(
            OnnxSource::File(onnx),
            own_tokenizer(files, max_tokens)?,
        );
        let options = RerankInitOptionsUserDefined::new()
            .with_environment(environment)
            .with_max_length(max_tokens)
            .with_intra_threads(threads(settings))
            .with_session_config(NO_SPINNING.0, NO_SPINNING.1);
        let model = TextRerank::try_new_from_user_defined(source, options)
            .map_err(|e| EmbedError::load(&files.name, e))?;
        Ok(Self {
            model,
            max_tokens,
            name: files.name.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How well each passage answers `query`, in the order of the passages: the model's logits, higher is better, comparable for
    /// one query only. A pair that is too long loses its end, which is logged.
    ///
    /// # Errors
    /// [`EmbedError::Inference`], and [`EmbedError::NoVector`] where a score is not a number.
    pub fn rerank<S: AsRef<str>>(
        &mut self,
        query: &str,
        passages: &[S],
    ) -> Result<Vec<f32>, EmbedError> {
        let mut pairs = self.plan(query, passages)?;
        while self.step(&mut pairs)? {}
        Ok(pairs.scores)
    }

    fn plan<S: AsRef<str>>(&self, query: &str, passages: &[S]) -> Result<Pairs, EmbedError> {
        let (query, query_tokens) = self.fit(query)?;
        let fitted = passages
            .iter()
            .map(|p| self.fit(p.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let (passages, tokens): (Vec<String>, Vec<usize>) = fitted.into_iter().unzip();
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens + query_tokens).collect();
        let cut = lengths
            .iter()
            .filter(|length| **length > self.max_tokens)
            .count();
        if cut > 0 {
            tracing::warn!(
                model = self.name,
                pairs = cut,
                "pairs of query and passage are too long and were cut"
            );
        }
        let lengths: Vec<usize> = lengths
            .iter()
            .map(|length| self.max_tokens.min(*length))
            .collect();
        let mut groups = group(&lengths, GROUP_TOKENS);
        groups.make_contiguous();
        Ok(Pairs {
            query,
            scores: vec![0.0; passages.len()],
            passages,
            groups: groups.into(),
        })
    }

    /// The start of `text` that the model can read, and its tokens with the special ones; the model's own tokenizer counts no
    /// further than its length.
    fn fit(&self, text: &str) -> Result<(String, usize), EmbedError> {
        let (mut tokens, mut start) = (0, String::new());
        for piece in pieces(text) {
            let encoded = self
                .model
                .tokenizer
                .encode_fast(piece, true)
                .map_err(|e| EmbedError::load(&self.name, e))?;
            tokens += encoded.len();
            start.push_str(piece);
            if tokens >= self.max_tokens {
                break;
            }
        }
        Ok((start, tokens))
    }

    /// Scores the next group; `false` when nothing is left.
    fn step(&mut self, pairs: &mut Pairs) -> Result<bool, EmbedError> {
        let Some(group) = pairs.groups.pop() else {
            return Ok(false);
        };
        let texts: Vec<&str> = group
            .iter()
            .filter_map(|i| pairs.passages.get(*i).map(String::as_str))
            .collect();
        let failed = |e: fastembed::Error| EmbedError::Inference {
            name: self.name.clone(),
            texts: texts.len(),
            reason: e.to_string(),
        };
        let results = self
            .model
            .rerank(pairs.query.as_str(), &texts, false, Some(texts.len()))
            .map_err(failed)?;
        for result in results {
            let (Some(index), score) = (group.get(result.index), result.score) else {
                continue;
            };
            if !score.is_finite() {
                let reason = "the model computed something that is not a number";
                return Err(EmbedError::NoVector {
                    name: self.name.clone(),
                    index: *index,
                    reason,
                });
            }
            if let Some(slot) = pairs.scores.get_mut(*index) {
                *slot = score;
            }
        }
        Ok(true)
    }
}

impl std::fmt::Debug for Reranker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reranker")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Pairs on their way to scores.
struct Pairs {
    query: String,
    passages: Vec<String>,
    groups: Vec<Vec<usize>>,
    scores: Vec<f32>,
}

/// A question and the passages to order.
pub(crate) struct Question {
    query: String,
    passages: Vec<String>,
}

impl Model for Reranker {
    type Request = Question;
    type Reply = Vec<f32>;

    fn work(
        &mut self,
        question: Question,
        pause: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Result<Option<Vec<f32>>, EmbedError> {
        let mut pairs = self.plan(&question.query, &question.passages)?;
        loop {
            if !pause(self) {
                return Ok(None);
            }
            if !self.step(&mut pairs)? {
                return Ok(Some(pairs.scores));
            }
        }
    }
}

/// A reranker for async callers; otherwise as [`crate::EmbedPool`].
#[derive(Clone)]
pub struct RerankPool {
    worker: Arc<Worker<Reranker>>,
}

impl RerankPool {
    /// Loads the reranker on a thread of its own.
    ///
    /// # Errors
    /// Those of [`Reranker::load`].
    pub async fn load(settings: EmbedSettings) -> Result<Self, EmbedError> {
        let (name, places) = (settings.files.name.clone(), settings.queue);
        let (worker, ()) =
            Worker::start(name, places, move || Reranker::load(&settings), |_| ()).await?;
        Ok(Self {
            worker: Arc::new(worker),
        })
    }

    /// As [`Reranker::rerank`].
    ///
    /// # Errors
    /// Also [`EmbedError::Busy`] and [`EmbedError::Stopped`].
    pub async fn rerank(
        &self,
        query: String,
        passages: Vec<String>,
    ) -> Result<Vec<f32>, EmbedError> {
        self.worker
            .ask(Lane::Urgent, Question { query, passages })
            .await
    }
}
