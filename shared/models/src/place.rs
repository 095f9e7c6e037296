//! Where the files of a model lie, and which of them belong on this machine.

use std::path::{Path, PathBuf};

use crate::catalogue::{FileEntry, ModelEntry};

/// This machine as the catalogue writes it, for example `linux-x86_64`.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// One model's folder and its files for this platform.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) entry: ModelEntry,
}

impl Place {
    pub(crate) fn new(models_dir: &Path, entry: &ModelEntry) -> Self {
        Self {
            dir: models_dir.join(&entry.name),
            entry: entry.clone(),
        }
    }

    /// The files that are fetched on this platform.
    pub(crate) fn fetched(&self) -> impl Iterator<Item = &FileEntry> {
        self.here().filter(|file| !file.derived)
    }

    /// The files that are made on this platform.
    pub(crate) fn derived(&self) -> impl Iterator<Item = &FileEntry> {
        self.here().filter(|file| file.derived)
    }

    /// A file of another platform whose role no file of this platform has.
    pub(crate) fn unserved(&self) -> Option<&FileEntry> {
        let served = |file: &FileEntry| self.here().any(|here| here.role == file.role);
        self.entry.files.iter().find(|file| !served(file))
    }

    pub(crate) fn path(&self, file: &FileEntry) -> PathBuf {
        self.dir.join(&file.name)
    }

    /// Where downloads wait until they are assembled.
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join(".staging")
    }

    fn here(&self) -> impl Iterator<Item = &FileEntry> {
        let here = platform();
        self.entry
            .files
            .iter()
            .filter(move |file| file.platform.as_ref().is_none_or(|wanted| *wanted == here))
    }
}
