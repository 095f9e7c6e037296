//! Checking what is here, byte by byte.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::disk::{self, Expected};
use crate::error::{ModelError, SourceError};
use crate::event::{FileEvents, Progress};
use crate::place::Place;
use crate::recorded::Recorded;
use crate::store::{Store, expected};

/// What one file was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FileState {
    /// The bytes that the catalogue, or the record of the first pull, names.
    Whole,
    /// Here, but neither pinned nor recorded, so that nothing can be said of it.
    Unpinned,
    /// Not here.
    Missing,
    /// Another length.
    WrongSize {
        /// The length it should have.
        expected: u64,
        /// The length it has.
        actual: u64,
    },
    /// Other bytes.
    WrongHash {
        /// The sha256 it should have.
        expected: String,
        /// The sha256 it has.
        actual: String,
    },
    /// Here, but it cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// A derived file that is here.
    Made,
    /// A derived file that will be made at first use: no damage.
    MadeAtFirstUse,
}

/// What a model's files were found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The model.
    pub model: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Each file's name and state, in the catalogue's order.
    pub files: Vec<(String, FileState)>,
}

impl Verification {
    /// Whether every file that is fetched is here and right.
    pub fn is_whole(&self) -> bool {
        self.damaged().next().is_none() && self.missing().next().is_none()
    }

    /// The files that are here and wrong.
    pub fn damaged(&self) -> impl Iterator<Item = &str> {
        self.named(|state| {
            matches!(
                state,
                FileState::WrongSize { .. }
                    | FileState::WrongHash { .. }
                    | FileState::Unreadable { .. }
            )
        })
    }

    /// The files that are not here.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.named(|state| *state == FileState::Missing)
    }

    fn named(&self, wanted: impl Fn(&FileState) -> bool) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .filter(move |(_, state)| wanted(state))
            .map(|(name, _)| name.as_str())
    }
}

impl Store {
    /// Hashes every file of a model and compares it with its pin. Progress comes as [`crate::PullEvent::Written`].
    ///
    /// # Errors
    /// The name is unknown. What is wrong with the files is in the result.
    pub async fn verify(
        &self,
        name: &str,
        progress: &Progress,
    ) -> Result<Verification, ModelError> {
        let Some(place) = self.place(name)? else {
            let what = "only models of the catalogue have hashes to verify".to_owned();
            return Err(ModelError::UserPath {
                path: name.into(),
                what,
            });
        };
        let progress = progress.clone();
        let check = move || verify(&place, &progress);
        tokio::task::spawn_blocking(check)
            .await
            .map_err(|_| ModelError::Stopped {
                file: name.to_owned(),
            })
    }
}

fn verify(place: &Place, progress: &Progress) -> Verification {
    let recorded = Recorded::load(&place.dir);
    let model = place.entry.name.clone();
    let fetched = place.fetched().map(|file| {
        let events = FileEvents {
            model: model.clone(),
            file: file.name.clone(),
            progress: progress.clone(),
        };
        (
            file.name.clone(),
            check(&place.path(file), &pinned(file, &recorded), &events),
        )
    });
    let derived = place
        .derived()
        .map(|file| (file.name.clone(), derived(&place.dir, &file.name)));
    Verification {
        model: model.clone(),
        dir: place.dir.clone(),
        files: fetched.chain(derived).collect(),
    }
}

/// Inline files are pinned by their text.
fn pinned(file: &crate::FileEntry, recorded: &Recorded) -> Expected {
    let inline = file.sources.iter().find_map(|source| match source {
        crate::Source::Inline { content } => Some(crate::source::inline_expected(content)),
        _ => None,
    });
    inline.unwrap_or_else(|| expected(file, recorded))
}

fn derived(dir: &Path, name: &str) -> FileState {
    let (front, back) = name.split_once('*').unwrap_or((name, ""));
    let names = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let matches = |name: &str| {
        name.strip_prefix(front)
            .is_some_and(|rest| rest.ends_with(back))
    };
    if names
        .into_iter()
        .any(|found| found.to_str().is_some_and(matches))
    {
        FileState::Made
    } else {
        FileState::MadeAtFirstUse
    }
}

fn check(path: &Path, expected: &Expected, events: &FileEvents) -> FileState {
    let Ok(found) = std::fs::metadata(path) else {
        return FileState::Missing;
    };
    let measured = disk::measure(path, &|done| events.written(done, Some(found.len())));
    match measured.and_then(|measured| expected.check(&measured)) {
        Ok(()) if expected.sha256.is_none() => FileState::Unpinned,
        Ok(()) => FileState::Whole,
        Err(SourceError::WrongSize { expected, actual }) => {
            FileState::WrongSize { expected, actual }
        }
        Err(SourceError::WrongHash { expected, actual }) => {
            FileState::WrongHash { expected, actual }
        }
        Err(other) => FileState::Unreadable {
            reason: other.to_string(),
        },
    }
}
