use crate::job::{JobEnd, JobRun, pieces};
use crate::registry::{self, PlaceError, Staged, intact};
use crate::run::metrics::{csv, read};
use crate::run::{Ask, Notice, RunError, chain};
use crate::state::{State, Wish};
use lore_catalog::{CatalogError, FineTuningEnd};
use lore_types::{
    AdapterReference, FilePurpose, FineTuningError, FineTuningJob, FineTuningStatus, Progress,
    StepMetrics,
};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How often an idle worker looks for jobs by himself; the bell of `State::queued` comes first.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Least time between two events with measured values, so that fast steps do not flood the catalog.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Tries to note how a job ended.
const TRIES: u32 = 10;

/// Leases jobs and trains them one by one, until the service stops.
pub(crate) async fn work(state: Arc<State>) {
    while !state.stopping.is_cancelled() {
        // The bell is listened to from before the look, so that no job in between is overheard.
        let mut bell = pin!(state.queued.notified());
        bell.as_mut().enable();
        match state.catalog.claim_fine_tuning(&state.lease).await {
            Ok(Some(job)) => handle(&state, job).await,
            Ok(None) => {
                state.release_base().await;
                tokio::select! {
                    () = bell => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = state.stopping.cancelled() => {}
                }
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "no job can be leased");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// Trains one job and notes how it ended.
async fn handle(state: &Arc<State>, job: FineTuningJob) {
    let id = job.id;
    let wish = Arc::new(Wish::default());
    state.runs(Some((id, wish.clone())));
    tracing::info!(job = %id, adapter = job.lore.name, base = job.model, "a job begins");
    let ended = match begin(state, &job, wish.clone()).await {
        Ok(running) => running.follow(state, &job, &wish).await,
        Err(reason) => Err(reason),
    };
    state.runs(None);
    let mut tries = 0;
    while let Err(error) = settle(state, &job, &ended).await {
        tries += 1;
        tracing::error!(job = %id, error = chain(&error), "how a job ended cannot be noted");
        if tries >= TRIES {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    state.tell(id);
}

/// A job's thread, and what it says.
struct Running {
    notices: mpsc::Receiver<Notice>,
    end: oneshot::Receiver<Result<JobEnd, RunError>>,
}

/// Loads what a job needs and starts its thread.
async fn begin(
    state: &Arc<State>,
    job: &FineTuningJob,
    wish: Arc<Wish>,
) -> Result<Running, FineTuningError> {
    let unusable = |code: &str, message: String| FineTuningError {
        code: code.to_owned(),
        message,
        param: None,
    };
    let base = state.base(&job.model).await;
    let base = base.map_err(|message| unusable("model_unusable", message))?;
    let pieces = pieces(state, job).await;
    let pieces = pieces.map_err(|error| unusable("bad_dataset", chain(&error)))?;
    let start = start(state, job).await?;
    let (notices, received) = mpsc::channel(64);
    let (sender, end) = oneshot::channel();
    let run = JobRun {
        state: state.clone(),
        job: job.clone(),
        base,
        pieces,
        start,
        wish,
        notices,
    };
    let thread = std::thread::Builder::new().name("lore-trainer".to_owned());
    let spawned = thread.spawn(move || {
        // Nobody listens any more only when the service was dropped.
        let _ = sender.send(run.run());
    });
    spawned.map_err(|error| unusable("internal", format!("no thread can be started: {error}")))?;
    Ok(Running {
        notices: received,
        end,
    })
}

/// The folder of the adapter that a job goes on from.
async fn start(state: &State, job: &FineTuningJob) -> Result<Option<PathBuf>, FineTuningError> {
    let Some(name) = &job.lore.continue_from else {
        return Ok(None);
    };
    let gone = |message: String| FineTuningError {
        code: "wrong_base".to_owned(),
        message,
        param: Some("lore.continue_from".to_owned()),
    };
    let reference: AdapterReference = name
        .parse()
        .map_err(|_| gone(format!("`{name}` names no adapter")))?;
    let version = state.catalog.adapter_version(&reference).await;
    let version = version.map_err(|error| gone(chain(&error)))?;
    let folder = intact(&state.data_dir, &version).map_err(|error| error.reason())?;
    Ok(Some(folder))
}

impl Running {
    /// Notes what the thread tells, until it ends.
    async fn follow(
        mut self,
        state: &State,
        job: &FineTuningJob,
        wish: &Wish,
    ) -> Result<JobEnd, FineTuningError> {
        let mut diary = Diary {
            state,
            job,
            wish,
            told: None,
        };
        while let Some(notice) = self.notices.recv().await {
            if let Err(error) = diary.note(notice).await {
                tracing::warn!(job = %job.id, error = chain(&error), "a job's progress cannot be noted");
            }
            state.tell(job.id);
        }
        match self.end.await {
            Ok(ended) => ended.map_err(|error| error.reason()),
            Err(_) => Err(FineTuningError {
                code: "internal".to_owned(),
                message: "a fault in Lore stopped this job; the server's log has the cause"
                    .to_owned(),
                param: None,
            }),
        }
    }
}

/// Writes what happens to a job into the catalog.
struct Diary<'a> {
    state: &'a State,
    job: &'a FineTuningJob,
    wish: &'a Wish,
    told: Option<Instant>,
}

impl Diary<'_> {
    async fn note(&mut self, notice: Notice) -> Result<(), CatalogError> {
        let (catalog, id) = (&self.state.catalog, self.job.id);
        match notice {
            Notice::Begun {
                after,
                steps,
                parameters,
            } => {
                self.heed().await?;
                let text = match after {
                    0 => format!("training begins: {steps} steps, {parameters} trained values"),
                    after => format!("training goes on after step {after} of {steps}"),
                };
                catalog.add_event(id, "info", &text, None).await
            }
            Notice::Measured(line, progress) => self.measured(&line, &progress).await,
            Notice::Checkpoint {
                step,
                best,
                metrics,
                gone,
            } => {
                catalog
                    .add_checkpoint(id, step, best, &metrics, &gone)
                    .await?;
                let word = if best { "the best so far" } else { "kept" };
                catalog
                    .add_event(
                        id,
                        "info",
                        &format!("checkpoint of step {step}: {word}"),
                        None,
                    )
                    .await
            }
            Notice::Warning(text) => catalog.add_event(id, "warn", &text, None).await,
        }
    }

    async fn measured(
        &mut self,
        line: &StepMetrics,
        progress: &Progress,
    ) -> Result<(), CatalogError> {
        let last = line.step >= line.total_steps || line.validation_loss.is_some();
        let recent = self.told.is_some_and(|told| told.elapsed() < TELL_EVERY);
        if recent && !last {
            return Ok(());
        }
        self.told = Some(Instant::now());
        let (catalog, id) = (&self.state.catalog, self.job.id);
        if !catalog
            .note_progress(&self.state.lease, id, progress)
            .await?
        {
            self.heed().await?;
        }
        let data = serde_json::to_value(line).unwrap_or_default();
        catalog
            .add_event(id, "info", &sentence(line), Some(&data))
            .await
    }

    /// Makes the run do what was asked of the job while nobody could tell it.
    async fn heed(&self) -> Result<(), CatalogError> {
        match self
            .state
            .catalog
            .fine_tuning_job(self.job.id)
            .await?
            .status
        {
            FineTuningStatus::Running => {}
            FineTuningStatus::Paused | FineTuningStatus::Queued => self.wish.set(Ask::Halt),
            FineTuningStatus::ValidatingFiles
            | FineTuningStatus::Succeeded
            | FineTuningStatus::Failed
            | FineTuningStatus::Cancelled => self.wish.set(Ask::Drop),
        }
        Ok(())
    }
}

fn sentence(line: &StepMetrics) -> String {
    let StepMetrics {
        step, total_steps, ..
    } = line;
    match (line.train_loss, line.validation_loss) {
        (Some(loss), _) => format!("Step {step}/{total_steps}: training loss={loss:.4}"),
        (None, Some(loss)) => format!("Step {step}/{total_steps}: validation loss={loss:.4}"),
        (None, None) => format!("Step {step}/{total_steps}"),
    }
}

/// Notes how a job ended; may be tried again.
async fn settle(
    state: &State,
    job: &FineTuningJob,
    ended: &Result<JobEnd, FineTuningError>,
) -> Result<(), CatalogError> {
    let id = job.id;
    match ended {
        Ok(JobEnd::Done(staged)) => match register(state, job, staged).await {
            Ok(text) => {
                state.event(id, "info", &text).await;
                Ok(())
            }
            Err(PlaceError::Catalog(error)) => Err(error),
            Err(PlaceError::Run(error)) => fail(state, job, &error.reason()).await,
        },
        Ok(JobEnd::Halted(step)) => {
            state.catalog.hand_back_fine_tuning(&state.lease).await?;
            state
                .event(
                    id,
                    "info",
                    &format!("halted after step {step}; a checkpoint is kept"),
                )
                .await;
            Ok(())
        }
        Ok(JobEnd::Dropped) => {
            state.event(id, "info", "the job was cancelled").await;
            Ok(())
        }
        Err(reason) => fail(state, job, reason).await,
    }
}

async fn fail(
    state: &State,
    job: &FineTuningJob,
    reason: &FineTuningError,
) -> Result<(), CatalogError> {
    if state
        .catalog
        .fail_fine_tuning(&state.lease, job.id, reason)
        .await?
    {
        tracing::warn!(job = %job.id, code = reason.code, "a job failed: {}", reason.message);
        state.event(job.id, "error", &reason.message).await;
    }
    Ok(())
}

/// Registers the version and ends the job with success, both or neither.
async fn register(
    state: &State,
    job: &FineTuningJob,
    staged: &Staged,
) -> Result<String, PlaceError> {
    let result = result_file(state, job).await?;
    let _alone = state.registering.lock().await;
    let placed = if staged.folder.exists() {
        registry::place(state, staged.clone()).await?
    } else {
        // A try before this one put it into its place and could not register it.
        registry::placed(state, staged.clone()).await?
    };
    let folder = state.data_dir.join(&placed.version.path);
    let end = FineTuningEnd {
        version: placed,
        result_files: vec![result],
    };
    match state
        .catalog
        .finish_fine_tuning(&state.lease, job.id, &end)
        .await?
    {
        Some(version) => {
            let name = version.reference();
            tracing::info!(job = %job.id, adapter = %name, "a job succeeded");
            Ok(format!("New fine-tuned model created: {name}"))
        }
        None => {
            registry::forget(&folder)?;
            Ok("the job ended while its result was being registered; nothing was kept".to_owned())
        }
    }
}

/// The measured values as a file, as OpenAI gives them.
async fn result_file(state: &State, job: &FineTuningJob) -> Result<lore_types::FileId, PlaceError> {
    let path = state.job_folder(job.id).join("metrics.jsonl");
    let text = csv(&read(&path)?);
    let original = state.originals.keep(text.as_bytes()).await?;
    let name = format!("{}-metrics.csv", job.id);
    let stored = state
        .catalog
        .add_file(&name, FilePurpose::FineTuneResults, &original)
        .await?;
    Ok(stored.file.id)
}
