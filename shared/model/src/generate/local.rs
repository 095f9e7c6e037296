use super::engine::Engine;
use super::prefix::Prefixes;
use super::running::Job;
use super::sampler::Sampler;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::generator::{GenerateError, GenerateEvent, GenerateRequest, Generator, GeneratorInfo};
use crate::lora::Adapter;
use crate::tokenizer::Tokenizer;
use crate::weights::Source;
use async_trait::async_trait;
use candle_core::Device;
use lore_types::Message;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::mpsc;

/// How a local model is served.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// What requests call the base model.
    pub name: String,
    /// Tokens of prompt and answer together; `None` for the model's own limit, but at most 8192, since the KV cache
    /// grows with it.
    pub context_length: Option<usize>,
    /// Requests that may wait before the next one is refused as [`GenerateError::Busy`].
    pub max_queue: usize,
    /// Requests that are answered together.
    pub max_batch: usize,
    /// KV caches of finished requests that are kept, so that a prompt with the same beginning starts faster.
    pub cached_prefixes: usize,
    /// Threads that compute; 0 for one a physical core.
    pub threads: usize,
    /// Where the weights go.
    pub device: Device,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            name: "local".to_owned(),
            context_length: None,
            max_queue: 32,
            max_batch: 8,
            cached_prefixes: 4,
            threads: 0,
            device: Device::Cpu,
        }
    }
}

/// The context that is served when none is asked for.
const DEFAULT_CONTEXT: usize = 8192;

/// Lore's own decoder behind the [`Generator`] seam. One thread owns the model; requests reach it through a queue.
///
/// Cloning copies a handle. When the last handle is dropped, the thread ends.
#[derive(Clone)]
pub struct LocalGenerator {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    jobs: std::sync::mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
    max_queue: usize,
    adapters: RwLock<BTreeMap<String, Arc<Adapter>>>,
}

impl LocalGenerator {
    /// Loads a GGUF file or a Hugging Face folder and starts its thread. It blocks for a second or two.
    ///
    /// # Errors
    /// Names the file, the tensor or the setting that is wrong.
    pub fn load(path: &Path, settings: LocalSettings) -> Result<Self> {
        let source = Source::open(path)?;
        let tokenizer = Tokenizer::load(&source)?;
        if tokenizer.template().is_none() {
            return Err(ModelError::NoTemplate);
        }
        let own = source.settings()?.max_position_embeddings;
        let context = settings.context_length.unwrap_or(DEFAULT_CONTEXT).min(own);
        let decoder = Decoder::load(&source, Some(context), settings.threads, &settings.device)?;
        Self::start(decoder, tokenizer, settings)
    }

    /// Serves a decoder that is loaded already.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(decoder: Decoder, tokenizer: Tokenizer, settings: LocalSettings) -> Result<Self> {
        let (jobs, receiver) = std::sync::mpsc::channel();
        let decoder = Arc::new(decoder);
        let waiting = Arc::new(AtomicUsize::new(0));
        let engine = Engine {
            decoder: Arc::clone(&decoder),
            tokenizer: tokenizer.clone(),
            jobs: receiver,
            waiting: Arc::clone(&waiting),
            max_batch: settings.max_batch.max(1),
            prefixes: Prefixes::new(settings.cached_prefixes),
            running: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("lore-model".to_owned());
        thread.spawn(move || engine.run()).map_err(|error| {
            ModelError::Invalid(format!("the model's thread cannot be started: {error}"))
        })?;
        let shared = Shared {
            name: settings.name,
            decoder,
            tokenizer,
            jobs,
            waiting,
            max_queue: settings.max_queue,
            adapters: RwLock::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.shared.decoder
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.shared.tokenizer
    }

    /// The names of the adapters that requests may ask for.
    pub fn adapters(&self) -> Vec<String> {
        self.shared
            .adapters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    /// Makes an adapter usable under `name`, from a PEFT folder; requests in flight go on with what they began with.
    ///
    /// # Errors
    /// As [`Adapter::load`]; what was loaded under `name` before stays then. A name that is the base model's.
    pub async fn load_adapter(&self, name: &str, folder: &Path) -> Result<()> {
        if name == self.shared.name {
            return Err(ModelError::Invalid(format!(
                "`{name}` is the base model's name, so no adapter can have it"
            )));
        }
        let (shared, folder, owned) =
            (Arc::clone(&self.shared), folder.to_owned(), name.to_owned());
        let load = move || Adapter::load(&folder, &shared.decoder, &owned, &shared.name);
        let adapter = tokio::task::spawn_blocking(load)
            .await
            .map_err(|_| ModelError::Stopped)??;
        self.write_adapters()
            .insert(name.to_owned(), Arc::new(adapter));
        Ok(())
    }

    /// Forgets an adapter; requests in flight keep it. Says whether it was there.
    pub fn unload_adapter(&self, name: &str) -> bool {
        self.write_adapters().remove(name).is_some()
    }

    fn write_adapters(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Adapter>>> {
        self.shared
            .adapters
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn adapter(&self, name: Option<&str>) -> Result<Option<Arc<Adapter>>, GenerateError> {
        let Some(name) = name.filter(|name| *name != self.shared.name) else {
            return Ok(None);
        };
        let adapters = self
            .shared
            .adapters
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        adapters
            .get(name)
            .cloned()
            .map(Some)
            .ok_or_else(|| GenerateError::NoAdapter(name.to_owned()))
    }

    /// Takes a place in the queue.
    fn enter(&self) -> Result<(), GenerateError> {
        let limit = self.shared.max_queue;
        let next = |waiting: usize| (waiting < limit.max(1)).then_some(waiting + 1);
        let entered = self
            .shared
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        entered
            .map(|_| ())
            .map_err(|queued| GenerateError::Busy { queued })
    }
}

fn invalid(error: ModelError) -> GenerateError {
    GenerateError::Invalid(error.to_string())
}

#[async_trait]
impl Generator for LocalGenerator {
    fn info(&self) -> GeneratorInfo {
        GeneratorInfo {
            model: self.shared.name.clone(),
            context_length: self.shared.decoder.context_length(),
        }
    }

    fn count_tokens(&self, messages: &[Message]) -> Result<usize, GenerateError> {
        Ok(self
            .shared
            .tokenizer
            .prompt(messages, true)
            .map_err(invalid)?
            .tokens
            .len())
    }

    fn render(&self, messages: &[Message]) -> Result<String, GenerateError> {
        Ok(self
            .shared
            .tokenizer
            .prompt(messages, true)
            .map_err(invalid)?
            .text)
    }

    async fn generate(
        &self,
        request: GenerateRequest,
    ) -> Result<mpsc::Receiver<Result<GenerateEvent, GenerateError>>, GenerateError> {
        Sampler::check(&request.sampling).map_err(GenerateError::Invalid)?;
        let adapter = self.adapter(request.adapter.as_deref())?;
        let tokenizer = self.shared.tokenizer.clone();
        let prompt =
            tokio::task::spawn_blocking(move || tokenizer.prompt(&request.messages, true)).await;
        let prompt = prompt
            .map_err(|error| GenerateError::Failed(error.to_string()))?
            .map_err(invalid)?
            .tokens;
        let context = self.shared.decoder.context_length();
        if prompt.is_empty() {
            return Err(GenerateError::Invalid("the prompt is empty".to_owned()));
        }
        if prompt.len() >= context {
            return Err(GenerateError::TooLong {
                model: self.shared.name.clone(),
                prompt: prompt.len(),
                context,
            });
        }
        let most_events = request.sampling.max_new_tokens.min(context - prompt.len()) + 2;
        let (events, receiver) = mpsc::channel(most_events);
        self.enter()?;
        let job = Job {
            prompt,
            adapter,
            sampling: request.sampling,
            events,
        };
        self.shared
            .jobs
            .send(job)
            .map_err(|_| GenerateError::Failed(ModelError::Stopped.to_string()))?;
        Ok(receiver)
    }
}
