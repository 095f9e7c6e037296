use lore_types::JobId;
use tokio::sync::broadcast::{self, error::RecvError};

/// Tells those who watch a job in this process that it changed. What it changed to stands in the catalog.
#[derive(Debug)]
pub(crate) struct JobFeed(broadcast::Sender<JobId>);

/// Somebody who watches.
#[derive(Debug)]
pub(crate) struct JobWatch(broadcast::Receiver<JobId>);

impl JobFeed {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(1_024).0)
    }

    /// Says that a job changed.
    pub(crate) fn changed(&self, job: JobId) {
        // Nobody watching is the usual case, and no error.
        let _ = self.0.send(job);
    }

    pub(crate) fn watch(&self) -> JobWatch {
        JobWatch(self.0.subscribe())
    }
}

impl JobWatch {
    /// Returns when `job` may have changed: also where this watcher was too slow to hear all.
    pub(crate) async fn change(&mut self, job: JobId) {
        loop {
            match self.0.recv().await {
                Ok(changed) if changed != job => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
