//! What a pull says while it works.

use std::sync::Arc;

/// One thing that happened. Enough for a progress bar and a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// Another process is pulling this model; this one waits for it.
    Waiting {
        /// The model.
        model: String,
    },
    /// A source is tried.
    Trying {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// The source in words.
        source: String,
    },
    /// Bytes have come over the network.
    Downloaded {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// Bytes so far, those of an earlier pull that was interrupted included.
        done: u64,
        /// Bytes in all, where known. May be a little off for packages.
        total: Option<u64>,
    },
    /// Bytes have been unpacked, hashed and written.
    Written {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A source failed; the next one is tried. A hub that does not answer is reported once, not for every file.
    Failed {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// The source in words.
        source: String,
        /// Why.
        reason: String,
    },
    /// The file is whole and in place.
    Finished {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
    },
}

/// Hears the events of a pull, from any thread; it should return at once.
pub type Progress = Arc<dyn Fn(PullEvent) + Send + Sync>;

/// Hears nothing.
pub fn silent() -> Progress {
    Arc::new(|_| {})
}

/// The events of one file of one model.
#[derive(Clone)]
pub(crate) struct FileEvents {
    pub(crate) model: String,
    pub(crate) file: String,
    pub(crate) progress: Progress,
}

impl FileEvents {
    pub(crate) fn trying(&self, source: &str) {
        tracing::debug!(model = self.model, file = self.file, source, "trying");
        let (model, file) = self.names();
        (self.progress)(PullEvent::Trying {
            model,
            file,
            source: source.to_owned(),
        });
    }

    pub(crate) fn downloaded(&self, done: u64, total: Option<u64>) {
        let (model, file) = self.names();
        (self.progress)(PullEvent::Downloaded {
            model,
            file,
            done,
            total,
        });
    }

    pub(crate) fn written(&self, done: u64, total: Option<u64>) {
        let (model, file) = self.names();
        (self.progress)(PullEvent::Written {
            model,
            file,
            done,
            total,
        });
    }

    pub(crate) fn failed(&self, source: &str, reason: &str) {
        tracing::info!(
            model = self.model,
            file = self.file,
            source,
            reason,
            "model source failed"
        );
        let (model, file) = self.names();
        (self.progress)(PullEvent::Failed {
            model,
            file,
            source: source.to_owned(),
            reason: reason.to_owned(),
        });
    }

    pub(crate) fn finished(&self, bytes: u64) {
        tracing::info!(
            model = self.model,
            file = self.file,
            bytes,
            "model file is in place"
        );
        let (model, file) = self.names();
        (self.progress)(PullEvent::Finished { model, file, bytes });
    }

    fn names(&self) -> (String, String) {
        (self.model.clone(), self.file.clone())
    }
}
