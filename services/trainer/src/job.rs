//! A job on its thread: from the files it names to a version that is ready to be registered.

use crate::base::Base;
use crate::estimate::estimate;
use crate::material::{Piece, Role, gather};
use crate::problem::Problem;
use crate::registry::{Staged, stage};
use crate::run::{self, Ask, Ended, Hooks, Notice, RunError, Setup};
use crate::state::{State, Wish};
use lore_model::Adapter;
use lore_types::{Estimate, FineTuningJob};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How a job's thread ended.
pub(crate) enum JobEnd {
    Done(Box<Staged>),
    Halted(u64),
    Dropped,
}

/// What a job's thread needs.
pub(crate) struct JobRun {
    pub(crate) state: Arc<State>,
    pub(crate) job: FineTuningJob,
    pub(crate) base: Arc<Base>,
    pub(crate) pieces: Vec<Piece>,
    /// The folder of the adapter that it goes on from.
    pub(crate) start: Option<PathBuf>,
    pub(crate) wish: Arc<Wish>,
    pub(crate) notices: mpsc::Sender<Notice>,
}

impl JobRun {
    /// Does all of it; blocks for as long as the training takes.
    ///
    /// # Errors
    /// Why the job failed; its newest checkpoint stays.
    pub(crate) fn run(self) -> Result<JobEnd, RunError> {
        let settings = &self.job.lore.settings;
        let policy = self.job.lore.on_bad_line;
        let material = gather(&self.pieces, &self.base.tokenizer, settings, policy)
            .map_err(|problems| RunError::Request(joined(&problems)))?;
        let start = self.start()?;
        let folder = self.state.job_folder(self.job.id);
        fs::create_dir_all(&folder).map_err(run::file("make", &folder))?;
        let needed = estimate(&self.base, settings, start.as_ref(), &material.data)?;
        let limit = self.state.settings.max_memory;
        enough_memory(&needed, limit)?;
        let setup = Setup {
            decoder: &self.base.decoder,
            base: &self.base.name,
            settings,
            data: &material.data,
            start: start.as_ref(),
            folder: &folder,
            memory_limit: limit,
        };
        match run::train(&setup, &mut self.hooks())? {
            Ended::Done(done) => {
                let (data_dir, checkpoints) = (&self.state.data_dir, setup.checkpoints());
                let metrics = setup.metrics();
                let staged = stage(
                    data_dir,
                    &self.job,
                    &self.base,
                    &done,
                    &checkpoints,
                    &metrics,
                )?;
                Ok(JobEnd::Done(Box::new(staged)))
            }
            Ended::Halted(halted) => Ok(JobEnd::Halted(halted.step)),
            Ended::Dropped => Ok(JobEnd::Dropped),
        }
    }

    fn start(&self) -> Result<Option<Adapter>, RunError> {
        let Some(folder) = &self.start else {
            return Ok(None);
        };
        let name = self
            .job
            .lore
            .continue_from
            .as_deref()
            .unwrap_or("the adapter");
        let adapter = Adapter::load(folder, &self.base.decoder, name, &self.base.name)?;
        Ok(Some(adapter))
    }

    fn hooks(&self) -> Hooks<'_> {
        Hooks {
            ask: Box::new(|| {
                if self.state.stopping.is_cancelled() && self.wish.get() == Ask::Go {
                    return Ask::Halt;
                }
                self.wish.get()
            }),
            // The receiver is gone only when the service was dropped; the wish ends the run then.
            tell: Box::new(|notice| {
                if self.notices.blocking_send(notice).is_err() {
                    self.wish.set(Ask::Halt);
                }
            }),
        }
    }
}

/// Refuses a run that needs more memory than there is.
///
/// # Errors
/// [`RunError::Memory`] with both numbers.
pub(crate) fn enough_memory(needed: &Estimate, limit: Option<u64>) -> Result<(), RunError> {
    // 0: the kernel does not tell.
    let free = match needed.available_bytes {
        0 => u64::MAX,
        free => free,
    };
    let available = limit.map_or(free, |limit| limit.min(free));
    if needed.memory_bytes <= available {
        return Ok(());
    }
    Err(RunError::Memory {
        needed: needed.memory_bytes,
        available,
    })
}

/// Several problems in one line.
pub(crate) fn joined(problems: &[Problem]) -> String {
    let lines: Vec<&str> = problems.iter().map(|one| one.message.as_str()).collect();
    lines.join("; ")
}

/// The files of a job, in the order of its reports, as they lie on disk.
///
/// # Errors
/// A file that is gone.
pub(crate) async fn pieces(
    state: &State,
    job: &FineTuningJob,
) -> Result<Vec<Piece>, lore_catalog::CatalogError> {
    let mut pieces = Vec::new();
    for report in &job.lore.datasets {
        let Some(id) = report.file else { continue };
        let stored = state.catalog.file(id).await?;
        pieces.push(Piece {
            file: id,
            filename: stored.file.filename,
            path: state.originals.path(&stored.hash),
            role: Role::of(&report.role),
            weight: report.weight,
            param: "training_file".to_owned(),
        });
    }
    Ok(pieces)
}
