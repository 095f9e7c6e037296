//! The folders in which embedded collections live: one root, one folder per collection.
//!
//! A collection is built in a hidden folder and renamed into place, and renamed away before it is removed: whatever
//! moment the process dies at, a folder with a collection's name is whole. Hidden leftovers go when the root is opened.

use crate::IndexError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const LOCK: &str = ".lock";
const MARK: &str = "lore.json";
const LONGEST_NAME: usize = 64;

/// A root that this process alone writes, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    _lock: File,
}

/// What Lore notes of a collection in its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Changes when what is in the folder is written differently.
    pub(crate) format: u32,
    /// Length of the vectors; 0 on the lexical side.
    pub(crate) dimensions: u32,
}

impl Root {
    /// Opens a root for writing, making it where it is missing, and clears away what a dead process left half done.
    pub(crate) fn open(path: PathBuf) -> Result<Self, IndexError> {
        fs::create_dir_all(&path).map_err(|source| io("create", &path, source))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(|source| io("create", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IndexError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(io("lock", &lock_path, source)),
        }
        let root = Self { path, _lock: lock };
        root.sweep()?;
        Ok(root)
    }

    /// The folder of a collection.
    ///
    /// # Errors
    /// [`IndexError::CollectionName`] for names that could lead anywhere else.
    pub(crate) fn folder(&self, collection: &str) -> Result<PathBuf, IndexError> {
        folder(&self.path, collection)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the collections, in order.
    pub(crate) fn collections(&self) -> Result<Vec<String>, IndexError> {
        collections(&self.path)
    }

    /// Builds a collection's folder: `build` fills an empty one, which then takes its place at once.
    pub(crate) fn build(
        &self,
        collection: &str,
        mark: Mark,
        build: impl FnOnce(&Path) -> Result<(), IndexError>,
    ) -> Result<PathBuf, IndexError> {
        let folder = self.folder(collection)?;
        let building = self.path.join(format!(".new-{collection}"));
        remove(&building)?;
        fs::create_dir(&building).map_err(|source| io("create", &building, source))?;
        build(&building)?;
        write_mark(&building, mark)?;
        fs::rename(&building, &folder).map_err(|source| io("create", &folder, source))?;
        sync(&self.path)?;
        Ok(folder)
    }

    /// Removes a collection's folder; nothing to do where there is none.
    pub(crate) fn remove(&self, collection: &str) -> Result<(), IndexError> {
        let folder = self.folder(collection)?;
        let removing = self.path.join(format!(".old-{collection}"));
        remove(&removing)?;
        match fs::rename(&folder, &removing) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(io("remove", &folder, source)),
        }
        sync(&self.path)?;
        remove(&removing)
    }

    fn sweep(&self) -> Result<(), IndexError> {
        for name in names(&self.path)? {
            if name.starts_with(".new-") || name.starts_with(".old-") {
                remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }
}

/// The folder of a collection under a root.
pub(crate) fn folder(root: &Path, collection: &str) -> Result<PathBuf, IndexError> {
    check_name(collection)?;
    Ok(root.join(collection))
}

/// Refuses a name that no collection may have.
pub(crate) fn check_name(collection: &str) -> Result<(), IndexError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let fits = (1..=LONGEST_NAME).contains(&collection.len()) && !collection.starts_with('.');
    if fits && collection.bytes().all(known) {
        return Ok(());
    }
    Err(IndexError::CollectionName(collection.to_owned()))
}

/// The names of the collections under a root, in order; none where there is no root.
pub(crate) fn collections(root: &Path) -> Result<Vec<String>, IndexError> {
    let mut found = names(root)?;
    found.retain(|name| check_name(name).is_ok() && root.join(name).is_dir());
    found.sort_unstable();
    Ok(found)
}

/// Reads the note in a collection's folder: `None` where there is no such folder.
///
/// # Errors
/// [`IndexError::Damaged`] where the folder holds no note, or that of another format than `format`.
pub(crate) fn read_mark(folder: &Path, format: u32) -> Result<Option<Mark>, IndexError> {
    let path = folder.join(MARK);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => return Ok(None),
        Err(error) => return Err(damaged(folder, format!("{MARK}: {error}"))),
    };
    let mark: Mark = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(folder, format!("{MARK}: {error}")))?;
    if mark.format != format {
        return Err(damaged(
            folder,
            format!(
                "it has format {}, and this Lore reads format {format}",
                mark.format
            ),
        ));
    }
    Ok(Some(mark))
}

pub(crate) fn damaged(folder: &Path, reason: impl ToString) -> IndexError {
    IndexError::Damaged {
        path: folder.to_owned(),
        reason: reason.to_string(),
    }
}

pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> IndexError {
    IndexError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn write_mark(folder: &Path, mark: Mark) -> Result<(), IndexError> {
    let path = folder.join(MARK);
    let text = format!(
        "{{\"format\":{},\"dimensions\":{}}}\n",
        mark.format, mark.dimensions
    );
    fs::write(&path, text).map_err(|source| io("write", &path, source))?;
    sync(&path)?;
    sync(folder)
}

fn sync(path: &Path) -> Result<(), IndexError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| io("write", path, source))
}

fn remove(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", folder, error)),
        _ => Ok(()),
    }
}

fn names(root: &Path) -> Result<Vec<String>, IndexError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io("read", root, source)),
    };
    let names: Result<Vec<_>, _> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect();
    let names = names.map_err(|source| io("read", root, source))?;
    Ok(names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}
