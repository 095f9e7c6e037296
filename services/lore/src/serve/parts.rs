use super::Role;
use super::models::ModelStore;
use super::readiness::{self, Readiness};
use crate::exit::{Exit, Failure};
use lore_catalog::Catalog;
use lore_config::{Backend, Config, Dense};
use lore_embed::EmbedderRegistry;
use lore_gateway::{
    AdapterParts, Adapters, GatewayParts, GatewaySettings, GatewayState, NoGenerator,
};
use lore_index::{
    DenseIndex, EdgeDense, IndexError, LexicalReader, ServerDense, ServerSettings, TantivyReader,
    TantivyWriter,
};
use lore_ingest::parse::{ParseSettings, ParserPool, PoolSettings, WorkerCommand};
use lore_ingest::{IngestParts, IngestService, IngestSettings};
use lore_model::{Generator, LocalGenerator, LocalSettings};
use lore_trainer::{TrainerParts, TrainerService, TrainerSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often a Qdrant server that does not answer is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// The services that have to be stopped in good order.
#[derive(Clone, Default)]
pub struct Running {
    ingest: Arc<Mutex<Option<IngestService>>>,
    trainer: Arc<Mutex<Option<TrainerService>>>,
    /// Tasks beside the services; they end when this is dropped.
    beside: Arc<Mutex<JoinSet<()>>>,
    /// Cancelled when the server begins to stop.
    pub stopping: CancellationToken,
    /// Cancelled when its grace period is over.
    pub ending: CancellationToken,
    /// Cancelled where a service ended by itself, which it never should.
    pub broken: CancellationToken,
}

impl Running {
    /// Documents are ingested from now on.
    pub async fn ingests(&self, service: IngestService) {
        let (ended, broken) = (service.ended(), self.broken.clone());
        self.beside(async move {
            ended.await;
            broken.cancel();
        })
        .await;
        *self.ingest.lock().await = Some(service);
    }

    /// Adapters are trained from now on.
    pub async fn trains(&self, service: TrainerService) {
        *self.trainer.lock().await = Some(service);
    }

    /// Runs a task for as long as the server lives.
    pub async fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.beside.lock().await.spawn(task);
    }

    /// Finishes what runs within `grace`, and hands the rest back.
    pub async fn stop(&self, grace: Duration) {
        let ingest = async {
            if let Some(service) = self.ingest.lock().await.take() {
                service.stop();
                service.shutdown(grace).await;
            }
        };
        let trainer = async {
            if let Some(service) = self.trainer.lock().await.take() {
                service.shutdown(grace).await;
            }
        };
        tokio::join!(ingest, trainer);
    }
}

/// What the services of one process share.
#[derive(Clone)]
pub struct Parts {
    /// The catalog.
    pub catalog: Catalog,
    /// The vector side.
    pub dense: Arc<dyn DenseIndex>,
    /// The BM25 side, for reading.
    pub lexical: Arc<dyn LexicalReader>,
    /// Embedders by name.
    pub embedders: EmbedderRegistry,
}

impl Parts {
    /// Opens the catalog and both indexes.
    pub async fn open(
        config: &Config,
        role: Role,
        models: &ModelStore,
        readiness: &Readiness,
    ) -> Result<Self, Failure> {
        let catalog = open_catalog(config).await?;
        Ok(Self {
            catalog,
            dense: open_dense(config, role, readiness).await?,
            lexical: Arc::new(TantivyReader::open(&config.storage.lexical)),
            embedders: models.embedders(),
        })
    }

    /// Whether the catalog and the vector side answer, and why not.
    pub async fn check(&self) -> Result<(), String> {
        let catalog = self.catalog.check().await;
        catalog.map_err(|error| crate::exit::chain(&error))?;
        let dense = self.dense.check().await;
        dense.map_err(|error| crate::exit::chain(&error))
    }

    /// The gateway over these parts.
    pub fn gateway(
        &self,
        config: &Config,
        generator: Result<Arc<dyn Generator>, NoGenerator>,
        adapters: Adapters,
    ) -> GatewayState {
        GatewayState::new(GatewayParts {
            catalog: self.catalog.clone(),
            dense: self.dense.clone(),
            lexical: self.lexical.clone(),
            embedders: self.embedders.clone(),
            generator,
            adapters,
            settings: GatewaySettings::from(config),
        })
    }

    /// The adapters of a language model, as the catalog promotes them.
    pub async fn adapters(
        &self,
        config: &Config,
        local: Option<(LocalGenerator, LocalSettings)>,
    ) -> Adapters {
        let Some((base, settings)) = local else {
            return Adapters::none();
        };
        Adapters::follow(AdapterParts {
            catalog: self.catalog.clone(),
            base,
            settings,
            data_dir: config.storage.data_dir.clone(),
        })
        .await
    }
}

/// Starts ingesting.
pub async fn start_ingest(
    config: &Config,
    parts: &Parts,
    models: &ModelStore,
) -> Result<IngestService, Failure> {
    let folder = config.storage.lexical.clone();
    let lexical = tokio::task::spawn_blocking(move || TantivyWriter::open(folder)).await;
    let lexical = lexical
        .map_err(|error| Failure::of(&error))?
        .map_err(|error| Failure::of(&error))?;
    let parts = IngestParts {
        catalog: parts.catalog.clone(),
        data_dir: config.storage.data_dir.clone(),
        dense: parts.dense.clone(),
        lexical: Arc::new(lexical),
        embedders: parts.embedders.clone(),
        parser: Arc::new(ParserPool::new(parser(config, models)?)),
        settings: settings(config, models),
    };
    IngestService::start(parts)
        .await
        .map_err(|error| Failure::of(&error))
}

/// Opens the catalog.
pub async fn open_catalog(config: &Config) -> Result<Catalog, Failure> {
    Catalog::open(&config.storage.catalog)
        .await
        .map_err(|error| Failure::of(&error))
}

/// Starts training.
pub async fn start_trainer(
    config: &Config,
    catalog: Catalog,
    models: &ModelStore,
) -> Result<TrainerService, Failure> {
    let models = models.clone();
    let parts = TrainerParts {
        catalog,
        data_dir: config.storage.data_dir.clone(),
        find_model: Arc::new(move |name| models.base(name)),
        settings: TrainerSettings::from(config),
    };
    TrainerService::start(parts)
        .await
        .map_err(|error| Failure::of(&error))
}

fn settings(config: &Config, models: &ModelStore) -> IngestSettings {
    let generator = match &config.generator.backend {
        Backend::Local => models.generator_id(),
        Backend::OpenAi { model, .. } => model.clone(),
    };
    IngestSettings {
        reserved: vec![generator],
        ..IngestSettings::from(config)
    }
}

/// Documents are parsed by children of this very program.
fn parser(config: &Config, models: &ModelStore) -> Result<PoolSettings, Failure> {
    let exe = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program's own file: {error}")))?;
    let pdfium = models.pdfium();
    if let Err(error) = &pdfium {
        tracing::warn!(%error, "PDF documents cannot be read");
    }
    Ok(PoolSettings {
        worker: WorkerCommand {
            exe,
            args: vec!["parse-worker".to_owned()],
        },
        workers: config.ingest.workers.get(),
        timeout: config.ingest.parse_timeout,
        memory: config.ingest.parse_memory.bytes(),
        parse: ParseSettings {
            pdfium: pdfium.ok(),
            ..ParseSettings::default()
        },
    })
}

async fn open_dense(
    config: &Config,
    role: Role,
    readiness: &Readiness,
) -> Result<Arc<dyn DenseIndex>, Failure> {
    match &config.dense {
        Dense::Embedded { .. } if role != Role::All => Err(Failure::new(
            "the embedded vector index belongs to one process, so services cannot run apart with it",
        )
        .hint("set dense.backend = \"server\" and dense.url, as configs/split.toml does, or run `lore serve` alone")
        .exit(Exit::Config)),
        Dense::Embedded { dir } => {
            let dir = dir.clone();
            let opened = tokio::task::spawn_blocking(move || EdgeDense::open(dir)).await;
            let opened = opened.map_err(|error| Failure::of(&error))?;
            Ok(Arc::new(opened.map_err(|error| Failure::of(&error))?))
        }
        Dense::Server {
            url,
            api_key,
            prefix,
        } => {
            let mut settings = ServerSettings::new(url);
            settings.prefix.clone_from(prefix);
            settings.api_key = api_key.as_ref().map(|key| key.expose().to_owned());
            connect(settings, readiness).await
        }
    }
}

/// Waits for a server that is not up yet, as it happens when all start together.
async fn connect(
    settings: ServerSettings,
    readiness: &Readiness,
) -> Result<Arc<dyn DenseIndex>, Failure> {
    let mut said = false;
    loop {
        match ServerDense::connect(settings.clone()).await {
            Ok(dense) => return Ok(Arc::new(dense)),
            Err(error @ IndexError::Unreachable { .. }) => {
                readiness.tell(readiness::STORAGE, format!("({error})"));
                if !said {
                    tracing::warn!(%error, "waiting for the Qdrant server");
                }
                said = true;
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(Failure::of(&error)),
        }
    }
}
