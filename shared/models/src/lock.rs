//! One puller of a model at a time, across processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::{ModelError, store_io};
use crate::event::{Progress, PullEvent};

const POLL: Duration = Duration::from_millis(150);

/// Held until dropped. The system frees it when the process ends, however it ends.
pub(crate) struct PullLock {
    _file: File,
}

impl PullLock {
    /// Takes the lock of `model`, saying once when it has to wait.
    pub(crate) async fn take(
        models_dir: &Path,
        model: &str,
        progress: &Progress,
    ) -> Result<Self, ModelError> {
        let folder = models_dir.join(".locks");
        std::fs::create_dir_all(&folder).map_err(store_io("create", &folder))?;
        let path = folder.join(format!("{model}.lock"));
        let file = open(&path).map_err(store_io("open", &path))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(store_io("lock", &path)(source)),
            }
            if !told {
                progress(PullEvent::Waiting {
                    model: model.to_owned(),
                });
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}
