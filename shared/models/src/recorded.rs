//! Hashes of files that the catalogue does not pin, as they were at their first pull.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{Expected, Measured};
use crate::error::{SourceError, io};

/// One file as it was at its first pull.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// `recorded.toml` in the model's folder.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Recorded {
    #[serde(default)]
    files: BTreeMap<String, Record>,
}

fn path(model_dir: &Path) -> PathBuf {
    model_dir.join("recorded.toml")
}

impl Recorded {
    /// What was recorded; nothing where there is no record or it cannot be read, so that the files count as missing.
    pub(crate) fn load(model_dir: &Path) -> Self {
        std::fs::read_to_string(path(model_dir))
            .ok()
            .and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default()
    }

    pub(crate) fn expected(&self, file: &str) -> Option<Expected> {
        let record = self.files.get(file)?;
        Some(Expected {
            sha256: Some(record.sha256.clone()),
            size: Some(record.size),
        })
    }

    /// Remembers `file` for good.
    pub(crate) fn remember(
        model_dir: &Path,
        file: &str,
        measured: &Measured,
    ) -> Result<(), SourceError> {
        let mut recorded = Self::load(model_dir);
        let record = Record {
            sha256: measured.sha256.clone(),
            size: measured.size,
        };
        recorded.files.insert(file.to_owned(), record);
        let text = toml::to_string(&recorded).unwrap_or_default();
        let target = path(model_dir);
        let mut part = tempfile::NamedTempFile::new_in(model_dir)
            .map_err(io("create a file in", model_dir))?;
        part.write_all(text.as_bytes())
            .map_err(io("write", &target))?;
        part.as_file().sync_all().map_err(io("sync", &target))?;
        part.persist(&target)
            .map(|_| ())
            .map_err(|error| io("rename", &target)(error.error))
    }
}
