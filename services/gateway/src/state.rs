use crate::adapters::{Adapters, Chosen};
use crate::error::GatewayError;
use lore_catalog::Catalog;
use lore_embed::EmbedderRegistry;
use lore_index::{DenseIndex, LexicalReader};
use lore_model::Generator;
use lore_retrieval::{CitationSettings, FusionSettings};
use lore_types::{Collection, Sampling};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Everything that answering takes.
pub struct GatewayParts {
    /// Decides which chunks can be found, and holds their texts.
    pub catalog: Catalog,
    /// The vector side.
    pub dense: Arc<dyn DenseIndex>,
    /// The BM25 side.
    pub lexical: Arc<dyn LexicalReader>,
    /// The embedders of the collections.
    pub embedders: EmbedderRegistry,
    /// The language model, or why there is none: searching works without.
    pub generator: Result<Arc<dyn Generator>, NoGenerator>,
    /// The adapters of the language model.
    pub adapters: Adapters,
    /// How to answer.
    pub settings: GatewaySettings,
}

/// Why there is no language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoGenerator {
    /// Its name in the configuration.
    pub model: String,
    /// Why it is not there, for a person.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// How to answer; the fields are those of the configuration's `[retrieval]` and `[answer]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewaySettings {
    /// Candidates asked of each side.
    pub candidates: usize,
    /// Passages shown to the model, at most.
    pub passages: usize,
    /// How the sides are joined.
    pub fusion: FusionSettings,
    /// Tokens that passages may take in the prompt.
    pub prompt_tokens: usize,
    /// The whole answer where nothing relevant is found.
    pub abstain_sentence: String,
    /// When a claim counts as supported.
    pub citations: CitationSettings,
    /// Longest answer in tokens, where the request says nothing.
    pub max_new_tokens: usize,
    /// Temperature, where the request says nothing.
    pub temperature: f32,
    /// Frequency penalty of an answer from passages, where the request says nothing.
    pub frequency_penalty: f32,
    /// Whether an answer with an unsupported claim is withheld, where the request says nothing.
    pub strict: bool,
    /// The embedder of `POST /v1/embeddings`, where the request names none that is known.
    pub embedder: String,
}

impl From<&lore_config::Config> for GatewaySettings {
    fn from(config: &lore_config::Config) -> Self {
        let (retrieval, answer) = (&config.retrieval, &config.answer);
        Self {
            candidates: retrieval.candidates,
            passages: retrieval.passages,
            fusion: FusionSettings {
                rrf_k: retrieval.rrf_k as f32,
                dense_weight: retrieval.dense_weight as f32,
                lexical_weight: retrieval.lexical_weight as f32,
            },
            prompt_tokens: retrieval.prompt_tokens,
            abstain_sentence: answer.abstain_sentence.clone(),
            citations: CitationSettings {
                support_threshold: answer.support_threshold as f32,
                ..CitationSettings::default()
            },
            max_new_tokens: answer.max_new_tokens,
            temperature: answer.temperature as f32,
            frequency_penalty: answer.frequency_penalty as f32,
            strict: answer.strict,
            embedder: config.models.embedder.clone(),
        }
    }
}

/// The gateway's state; clones share it.
#[derive(Clone)]
pub struct GatewayState {
    parts: Arc<GatewayParts>,
    backgrounds: Arc<crate::background::Backgrounds>,
    started: i64,
    ending: CancellationToken,
}

impl GatewayState {
    /// The state made of these parts.
    pub fn new(parts: GatewayParts) -> Self {
        let started = time::OffsetDateTime::now_utc().unix_timestamp();
        Self {
            parts: Arc::new(parts),
            backgrounds: Arc::default(),
            started,
            ending: CancellationToken::new(),
        }
    }

    /// The same, whose answers under way end with an error as soon as `ending` is cancelled.
    #[must_use]
    pub fn until(self, ending: CancellationToken) -> Self {
        Self { ending, ..self }
    }

    pub(crate) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// How tokens of an answer from passages are chosen, where the request says nothing. An answer is never given more than
    /// half of the model's context, so that a question has room beside it.
    pub(crate) fn sampling(&self) -> Sampling {
        let settings = self.settings();
        let context = self
            .generator()
            .map_or(usize::MAX, |generator| generator.info().context_length);
        Sampling {
            temperature: settings.temperature,
            frequency_penalty: settings.frequency_penalty,
            max_new_tokens: settings.max_new_tokens.min(context / 2).max(1),
            ..Sampling::default()
        }
    }

    pub(crate) fn parts(&self) -> &GatewayParts {
        &self.parts
    }

    pub(crate) fn settings(&self) -> &GatewaySettings {
        &self.parts.settings
    }

    pub(crate) fn backgrounds(&self) -> &crate::background::Backgrounds {
        &self.backgrounds
    }

    /// When this gateway started, in seconds since 1970.
    pub(crate) fn started(&self) -> i64 {
        self.started
    }

    pub(crate) fn generator(&self) -> Result<&Arc<dyn Generator>, GatewayError> {
        self.parts
            .generator
            .as_ref()
            .map_err(|missing| GatewayError::NoGenerator(missing.clone()))
    }

    /// The base model, without an adapter.
    pub(crate) fn base(&self) -> Result<Chosen, GatewayError> {
        let generator = Arc::clone(self.generator()?);
        let name = generator.info().model;
        Ok(Chosen {
            generator,
            adapter: None,
            name,
        })
    }

    /// What `model` means, where it names the base model or an adapter.
    pub(crate) async fn choose(&self, model: &str) -> Result<Option<Chosen>, GatewayError> {
        let base = self.base()?;
        if base.name == model {
            return Ok(Some(base));
        }
        self.parts.adapters.choose(model).await
    }

    /// What answers a collection's questions where a request names nothing, and what to say of it. An adapter that is not
    /// served does not keep the base model from answering.
    pub(crate) async fn default_of(
        &self,
        collection: &Collection,
    ) -> Result<(Chosen, Option<String>), GatewayError> {
        let base = self.base()?;
        let Some(adapter) = &collection.default_adapter else {
            return Ok((base, None));
        };
        let why = match self.parts.adapters.choose(adapter).await {
            Ok(Some(chosen)) => return Ok((chosen, None)),
            Ok(None) => format!("no adapter `{adapter}` is served"),
            Err(error) => error.to_string(),
        };
        let notice = format!(
            "the default adapter of collection `{}` did not answer, but `{}`: {why}",
            collection.name, base.name
        );
        Ok((base, Some(notice)))
    }

    /// No such model, with those there are.
    pub(crate) fn no_model(&self, name: &str) -> GatewayError {
        let base = self.generator().map(|generator| generator.info().model);
        let adapters = self.parts.adapters.served();
        let known = base
            .into_iter()
            .chain(adapters.into_iter().map(|one| one.adapter.name));
        GatewayError::NoModel {
            name: name.to_owned(),
            known: known.collect(),
        }
    }

    /// The collection of that name, or an error that lists those there are.
    pub(crate) async fn collection(&self, name: &str) -> Result<Collection, GatewayError> {
        match self.parts.catalog.collection(name).await {
            Err(lore_catalog::CatalogError::NoCollection(name)) => {
                Err(GatewayError::NoCollection {
                    name,
                    known: self.collection_names().await?,
                })
            }
            other => Ok(other?),
        }
    }

    /// Names of the first collections, for messages.
    pub(crate) async fn collection_names(&self) -> Result<Vec<String>, GatewayError> {
        let page = self.parts.catalog.collections(None, 20).await?;
        Ok(page
            .items
            .into_iter()
            .map(|collection| collection.name)
            .collect())
    }
}
