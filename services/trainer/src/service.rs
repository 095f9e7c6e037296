use crate::error::TrainerError;
use crate::run::chain;
use crate::state::State;
use crate::{http, worker};
use lore_catalog::{Catalog, Lease, Originals};
use lore_config::Config;
use lore_model::DeviceChoice;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use utoipa_axum::router::OpenApiRouter;

/// How long a start waits for a predecessor that is about to end.
const PREDECESSOR: Duration = Duration::from_secs(10);

/// From a model's name to its GGUF file or folder on this machine, or why there is none.
pub type FindModel = Arc<dyn Fn(&str) -> Result<PathBuf, String> + Send + Sync>;

/// How the service works; the defaults are those of `configs/lore.toml`.
#[derive(Clone, Debug)]
pub struct TrainerSettings {
    /// Threads that compute; 0 for one a physical core.
    pub threads: usize,
    /// What base models are loaded on.
    pub device: DeviceChoice,
    /// Most memory that the process may hold while it trains; none: what the machine has.
    pub max_memory: Option<u64>,
    /// Jobs that may wait; more are refused with 429.
    pub max_queue: u64,
    /// Bytes of the largest request, and of the largest file.
    pub max_body: u64,
    /// Deaths of the process without a checkpoint in between after which a job is given up.
    pub max_crashes: u32,
    /// How long a job stays a worker's without a word from him.
    pub lease: Duration,
}

impl Default for TrainerSettings {
    fn default() -> Self {
        Self {
            threads: 0,
            device: DeviceChoice::Cpu,
            max_memory: None,
            max_queue: 100,
            max_body: 256 << 20,
            max_crashes: 3,
            lease: Duration::from_secs(30),
        }
    }
}

impl From<&Config> for TrainerSettings {
    fn from(config: &Config) -> Self {
        Self {
            threads: config.trainer.threads.get(),
            device: device(config),
            max_memory: config.trainer.max_memory.map(lore_config::ByteSize::bytes),
            max_queue: config.trainer.max_queue as u64,
            max_body: config.server.max_body.bytes(),
            ..Self::default()
        }
    }
}

/// What the configuration asks models to compute on.
pub fn device(config: &Config) -> DeviceChoice {
    match config.models.device {
        lore_config::Device::Auto => DeviceChoice::Auto,
        lore_config::Device::Cpu => DeviceChoice::Cpu,
        lore_config::Device::Cuda => DeviceChoice::Cuda,
    }
}

/// What the service is made of.
pub struct TrainerParts {
    /// The catalog.
    pub catalog: Catalog,
    /// `training/` and `adapters/` lie in it; `trainer.lock` keeps a second process away.
    pub data_dir: PathBuf,
    /// Finds base models.
    pub find_model: FindModel,
    /// How to work.
    pub settings: TrainerSettings,
}

/// The running service.
///
/// # Guarantees
/// What was acknowledged is on disk. Dropping it is like killing the process: the next one goes on from the last checkpoint.
pub struct TrainerService {
    state: Arc<State>,
    worker: JoinHandle<()>,
    heartbeat: JoinHandle<()>,
    /// Held for as long as this process may write.
    _lock: File,
}

impl TrainerService {
    /// Starts: takes the data folder's training for itself, takes over what a dead predecessor left, and begins to work.
    ///
    /// # Errors
    /// [`TrainerError::Locked`] where another process trains in the folder and goes on for ten seconds.
    pub async fn start(parts: TrainerParts) -> Result<Self, TrainerError> {
        let lock = lock(&parts.data_dir).await?;
        let originals = Originals::open(parts.data_dir.join("training").join("files")).await?;
        let lease = Lease {
            owner: owner(),
            length: parts.settings.lease,
        };
        let state = Arc::new(State::new(
            parts.catalog,
            originals,
            parts.data_dir,
            parts.find_model,
            parts.settings,
            lease,
        ));
        take_over(&state).await?;
        Ok(Self {
            worker: tokio::spawn(worker::work(state.clone())),
            heartbeat: tokio::spawn(heartbeat(state.clone())),
            state,
            _lock: lock,
        })
    }

    /// Its routes under `/v1`, with their documentation.
    pub fn router(&self) -> OpenApiRouter {
        http::router(self.state.clone())
    }

    /// Whether it can work: the catalog answers.
    ///
    /// # Errors
    /// What does not answer.
    pub async fn check(&self) -> Result<(), TrainerError> {
        Ok(self.state.catalog.check().await?)
    }

    /// Halts the running job and ends the event streams, so that the server can close its connections.
    pub fn stop(&self) {
        self.state.stopping.cancel();
    }

    /// Ends in order: the running job writes a checkpoint and is handed back to the queue.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop();
        if timeout(grace, &mut self.worker).await.is_err() {
            tracing::warn!(
                seconds = grace.as_secs(),
                "the job did not reach the end of a micro-batch in time; it goes on from its last checkpoint"
            );
        }
        match self
            .state
            .catalog
            .hand_back_fine_tuning(&self.state.lease)
            .await
        {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "jobs were handed back to the queue"),
            Err(error) => tracing::warn!(
                error = chain(&error),
                "jobs stay leased; the next start takes them over"
            ),
        }
    }
}

impl Drop for TrainerService {
    fn drop(&mut self) {
        self.state.stopping.cancel();
        self.worker.abort();
        self.heartbeat.abort();
    }
}

/// A name that no other process has or had.
fn owner() -> String {
    format!("{}-{}", std::process::id(), uuid::Uuid::now_v7().simple())
}

/// Takes the training of a data folder for this process. The kernel gives the lock back however the process ends.
async fn lock(data_dir: &Path) -> Result<File, TrainerError> {
    let cannot = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| TrainerError::File {
            doing,
            path,
            source,
        }
    };
    tokio::fs::create_dir_all(data_dir)
        .await
        .map_err(cannot("make", data_dir))?;
    let path = data_dir.join("trainer.lock");
    let file = File::create(&path).map_err(cannot("make", &path))?;
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(TrainerError::Locked {
                    data_dir: data_dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &path)(error)),
        }
    }
}

/// Puts right what a dead predecessor left: his jobs, and files that were never acknowledged.
async fn take_over(state: &State) -> Result<(), TrainerError> {
    let most = state.settings.max_crashes;
    // The lock is ours, so every other worker is dead.
    for job in state
        .catalog
        .take_over_fine_tuning(&state.lease, most)
        .await?
    {
        tracing::warn!(%job, "the process died too often during a job; it is given up");
        state
            .event(
                job,
                "error",
                "the process died too often during this job; it is given up",
            )
            .await;
    }
    let there = state.originals.all().await?;
    let collected = state.originals.collect(&state.catalog, &there).await?;
    if collected > 0 {
        tracing::info!(
            collected,
            "files that were never acknowledged were cleared away"
        );
    }
    Ok(())
}

/// Renews the lease until the service ends.
async fn heartbeat(state: Arc<State>) {
    loop {
        if let Err(error) = state.catalog.renew_fine_tuning(&state.lease).await {
            tracing::warn!(
                error = chain(&error),
                "leases cannot be renewed; trying again"
            );
        }
        tokio::time::sleep(state.lease.length / 3).await;
    }
}
