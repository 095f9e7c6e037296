use crate::base::Base;
use crate::run::{Ask, chain};
use crate::service::{FindModel, TrainerSettings};
use lore_catalog::{Catalog, Lease, Originals};
use lore_types::FineTuningId;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// What the handlers and the worker share.
pub(crate) struct State {
    pub(crate) catalog: Catalog,
    pub(crate) originals: Originals,
    pub(crate) data_dir: PathBuf,
    pub(crate) find_model: FindModel,
    pub(crate) settings: TrainerSettings,
    pub(crate) lease: Lease,
    /// Rings when jobs were queued.
    pub(crate) queued: Notify,
    /// Says which job has news; what they are stands in the catalog.
    pub(crate) news: broadcast::Sender<FineTuningId>,
    pub(crate) stopping: CancellationToken,
    /// The job that runs, and what is asked of it.
    pub(crate) running: Mutex<Option<(FineTuningId, Arc<Wish>)>>,
    /// The base that was loaded last, kept while jobs wait for it.
    base: tokio::sync::Mutex<Option<Arc<Base>>>,
    /// Held from the choice of a version's number until it is registered.
    pub(crate) registering: tokio::sync::Mutex<()>,
}

/// What is asked of a run; the strongest wish counts.
#[derive(Debug, Default)]
pub(crate) struct Wish(AtomicU8);

impl Wish {
    pub(crate) fn set(&self, ask: Ask) {
        let strength = match ask {
            Ask::Go => 0,
            Ask::Halt => 1,
            Ask::Drop => 2,
        };
        self.0.fetch_max(strength, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Ask {
        match self.0.load(Ordering::Relaxed) {
            0 => Ask::Go,
            1 => Ask::Halt,
            _ => Ask::Drop,
        }
    }
}

impl State {
    pub(crate) fn new(
        catalog: Catalog,
        originals: Originals,
        data_dir: PathBuf,
        find_model: FindModel,
        settings: TrainerSettings,
        lease: Lease,
    ) -> Self {
        Self {
            catalog,
            originals,
            data_dir,
            find_model,
            settings,
            lease,
            queued: Notify::new(),
            news: broadcast::channel(256).0,
            stopping: CancellationToken::new(),
            running: Mutex::default(),
            base: tokio::sync::Mutex::default(),
            registering: tokio::sync::Mutex::default(),
        }
    }

    /// Asks the run of a job to stop, if it runs here.
    pub(crate) fn ask(&self, job: FineTuningId, ask: Ask) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, wish)) = running.as_ref().filter(|(id, _)| *id == job) {
            wish.set(ask);
        }
    }

    /// Notes which job runs, or that none does.
    pub(crate) fn runs(&self, job: Option<(FineTuningId, Arc<Wish>)>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    /// Tells those who watch a job that there is news.
    pub(crate) fn tell(&self, job: FineTuningId) {
        // Nobody watching is the usual case, and no error.
        let _ = self.news.send(job);
    }

    /// Notes an event; that it cannot be is no reason to stop a job.
    pub(crate) async fn event(&self, job: FineTuningId, level: &str, message: &str) {
        if let Err(error) = self.catalog.add_event(job, level, message, None).await {
            tracing::warn!(%job, error = chain(&error), "an event cannot be kept");
        }
        self.tell(job);
    }

    /// Where a job keeps its checkpoints and measured values.
    pub(crate) fn job_folder(&self, job: FineTuningId) -> PathBuf {
        self.data_dir
            .join("training")
            .join("jobs")
            .join(job.to_string())
    }

    /// A base model by its name; loaded once while jobs on it follow each other.
    ///
    /// # Errors
    /// Why it cannot be used, for a person.
    pub(crate) async fn base(&self, name: &str) -> Result<Arc<Base>, String> {
        let mut kept = self.base.lock().await;
        if let Some(base) = kept.as_ref().filter(|base| base.name == name) {
            return Ok(base.clone());
        }
        *kept = None;
        let path = (self.find_model)(name)?;
        let (owned, threads, device) =
            (name.to_owned(), self.settings.threads, self.settings.device);
        let load = move || Base::load(&owned, &path, threads, device);
        let loaded = tokio::task::spawn_blocking(load).await;
        let base = loaded
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("model `{name}` cannot be used: {}", chain(&error)))?;
        let base = Arc::new(base);
        *kept = Some(base.clone());
        Ok(base)
    }

    /// Gives the memory of the base back.
    pub(crate) async fn release_base(&self) {
        *self.base.lock().await = None;
    }
}
