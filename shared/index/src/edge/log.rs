//! Keeping the engine's write-ahead log short.
//!
//! `qdrant-edge` 0.7 writes every operation to a log, takes the operations' numbers from it, and neither replays nor
//! shortens it. Lore flushes the segments after each write, so nothing in the log is ever needed again but its last
//! number. All closed pieces but the newest can go, oldest first: whatever remains after a crash is still one run.

use crate::IndexError;
use crate::folder::{damaged, io};
use std::fs;
use std::path::{Path, PathBuf};

/// One piece of the log.
pub(super) const PIECE_BYTES: usize = 8 << 20;
/// Closed pieces from which a collection that is open is reopened to shorten its log.
pub(super) const MOST_PIECES: usize = 32;

/// The closed pieces of the log of the shard in `folder`, oldest first.
///
/// # Errors
/// [`IndexError::Damaged`] where there is no log: the engine would begin to count anew, and take what is written then for
/// older than what is there.
pub(super) fn closed(folder: &Path) -> Result<Vec<PathBuf>, IndexError> {
    let log = folder.join("wal");
    let entries = fs::read_dir(&log).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| damaged(folder, format!("wal: {error}")))?;
    let mut pieces: Vec<(u64, PathBuf)> = entries
        .iter()
        .filter_map(|entry| piece(&entry.path()))
        .collect();
    pieces.sort_unstable();
    Ok(pieces.into_iter().map(|(_, path)| path).collect())
}

/// Removes what is not needed of the log of a shard that nobody has open.
pub(super) fn shorten(folder: &Path) -> Result<(), IndexError> {
    let mut pieces = closed(folder)?;
    pieces.pop();
    pieces
        .iter()
        .try_for_each(|path| fs::remove_file(path).map_err(|source| io("remove", path, source)))
}

fn piece(path: &Path) -> Option<(u64, PathBuf)> {
    let first = path
        .file_name()?
        .to_str()?
        .strip_prefix("closed-")?
        .parse()
        .ok()?;
    Some((first, path.to_owned()))
}
