use super::ParseRequest;
use super::process::{Process, cause_of_death};
use crate::parse::Parsed;
use crate::parse::error::ParseError;
use crate::parse::settings::ParseSettings;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Documents after which a child is replaced, so that what a parser leaks stays small.
const MAX_DOCUMENTS: usize = 500;

/// The program that runs [`worker_main`](super::worker_main).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program, such as `lore` itself.
    pub exe: PathBuf,
    /// Its arguments, such as `parse-worker`.
    pub args: Vec<String>,
}

/// How documents are parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// What to run.
    pub worker: WorkerCommand,
    /// Children that may run at once, at least 1.
    pub workers: usize,
    /// How long one document may take, by the clock.
    pub timeout: Duration,
    /// Bytes of memory that one document may take.
    pub memory: u64,
    /// What the parsers need to know.
    pub parse: ParseSettings,
}

/// Parses documents in child processes, a bounded number at a time.
///
/// # Guarantees
/// Whatever the document, [`ParserPool::parse`] ends after the timeout and a few seconds at most, the parent's memory grows by
/// the size of the text only, and the next document meets a sound child. Dropping a running `parse` kills its child.
pub struct ParserPool {
    settings: PoolSettings,
    slots: Semaphore,
    idle: Mutex<Vec<(Process, usize)>>,
}

impl ParserPool {
    /// A pool without children yet: each starts with the first document that needs it.
    pub fn new(settings: PoolSettings) -> Self {
        let slots = Semaphore::new(settings.workers.max(1));
        Self {
            settings,
            slots,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Parses one document, once a child is free.
    ///
    /// # Errors
    /// Every [`ParseError`]; only [`ParseError::Unavailable`] is not the document's fault.
    pub async fn parse(&self, request: &ParseRequest) -> Result<Parsed, ParseError> {
        let _slot = self.slots.acquire().await.map_err(|_closed| closing())?;
        let (mut process, documents) = match self.take_idle() {
            Some(idle) => idle,
            None => (Process::start(&self.settings).await?, 0),
        };
        match timeout(self.settings.timeout, process.ask(request)).await {
            Ok(Ok(answer)) => {
                if documents + 1 < MAX_DOCUMENTS
                    && !matches!(answer, Err(ParseError::Crashed { .. }))
                {
                    self.idle
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((process, documents + 1));
                }
                answer
            }
            Ok(Err(error)) => {
                let (status, log) = process.autopsy().await;
                tracing::warn!(name = request.name, %error, ?status, log, "a document ended its parser");
                Err(cause_of_death(status, &log, &self.settings))
            }
            Err(_elapsed) => {
                tracing::warn!(name = request.name, timeout = ?self.settings.timeout, "a document took its parser too long");
                Err(ParseError::TimedOut {
                    seconds: self.settings.timeout.as_secs().max(1),
                })
            }
        }
    }

    /// A living child without work.
    fn take_idle(&self) -> Option<(Process, usize)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((mut process, documents)) = idle.pop() {
            if process.is_alive() {
                return Some((process, documents));
            }
        }
        None
    }
}

fn closing() -> ParseError {
    ParseError::Unavailable {
        reason: "the parsers are shutting down".to_owned(),
        remedy: "try again".to_owned(),
    }
}
