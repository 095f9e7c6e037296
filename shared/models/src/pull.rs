//! Fetching what is missing.

use crate::catalogue::FileEntry;
use crate::disk;
use crate::error::{Attempt, ModelError, SourceError, store_io};
use crate::event::{FileEvents, Progress};
use crate::files::ModelFiles;
use crate::lock::PullLock;
use crate::place::Place;
use crate::recorded::Recorded;
use crate::source::Fetch;
use crate::store::{Store, expected, files, missing, refuse_offline};
use crate::user_path;

impl Store {
    /// Fetches the missing files of the model with this name; a path is only resolved.
    ///
    /// # Guarantees
    /// With every file present nothing is contacted or locked. Files are fetched one by one; those that are whole stay when
    /// a later one fails. Dropping the future stops the download; the next pull continues it.
    ///
    /// # Errors
    /// As [`Store::path`]; the store is offline; no source gave a file (the error lists every source and why).
    pub async fn pull(&self, name: &str, progress: &Progress) -> Result<ModelFiles, ModelError> {
        let Some(place) = self.place(name)? else {
            return user_path::resolve(name);
        };
        if missing(&place).is_empty() {
            return Ok(files(&place));
        }
        if self.offline {
            return Err(refuse_offline(&place));
        }
        std::fs::create_dir_all(&place.dir).map_err(store_io("create", &place.dir))?;
        let _lock = PullLock::take(&self.dir, name, progress).await?;
        self.fetch_missing(&place, progress).await?;
        Ok(files(&place))
    }

    /// Removes the files of a model that are not what they should be, and fetches them again.
    ///
    /// # Errors
    /// As [`Store::pull`]. Offline, nothing is removed.
    pub async fn repair(&self, name: &str, progress: &Progress) -> Result<ModelFiles, ModelError> {
        let Some(place) = self.place(name)? else {
            return user_path::resolve(name);
        };
        let verification = self.verify(name, progress).await?;
        for file in verification.damaged() {
            if self.offline {
                return Err(refuse_offline(&place));
            }
            let path = place.dir.join(file);
            std::fs::remove_file(&path).map_err(store_io("remove", &path))?;
        }
        self.pull(name, progress).await
    }

    /// Under the lock: another process may have fetched everything by now.
    async fn fetch_missing(&self, place: &Place, progress: &Progress) -> Result<(), ModelError> {
        for file in missing(place) {
            self.fetch(place, &file, progress).await?;
        }
        let staging = place.staging();
        if staging.exists() {
            std::fs::remove_dir_all(&staging).map_err(store_io("remove", &staging))?;
        }
        Ok(())
    }

    async fn fetch(
        &self,
        place: &Place,
        file: &FileEntry,
        progress: &Progress,
    ) -> Result<(), ModelError> {
        let model = place.entry.name.clone();
        let events = FileEvents {
            model: model.clone(),
            file: file.name.clone(),
            progress: progress.clone(),
        };
        let fetch = Fetch {
            target: place.path(file),
            staging: place.staging(),
            expected: expected(file, &Recorded::load(&place.dir)),
            events: events.clone(),
        };
        let mut attempts = Vec::new();
        for source in &file.sources {
            let words = source.to_string();
            events.trying(&words);
            match self.sources.fetch(&fetch, source).await {
                Ok(measured) => return finish(place, file, &measured, &events),
                Err(error) => {
                    if !matches!(error, SourceError::HubSkipped) {
                        events.failed(&words, &error.to_string());
                    }
                    attempts.push(Attempt {
                        source: words,
                        error,
                    });
                }
            }
        }
        Err(ModelError::Pull {
            name: model,
            file: file.name.clone(),
            attempts,
        })
    }
}

fn finish(
    place: &Place,
    file: &FileEntry,
    measured: &disk::Measured,
    events: &FileEvents,
) -> Result<(), ModelError> {
    if file.sha256.is_none() {
        Recorded::remember(&place.dir, &file.name, measured).map_err(|error| ModelError::Pull {
            name: place.entry.name.clone(),
            file: file.name.clone(),
            attempts: vec![Attempt {
                source: "recording its hash".to_owned(),
                error,
            }],
        })?;
    }
    events.finished(measured.size);
    Ok(())
}
