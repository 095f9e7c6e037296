use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock is tried: another process may look at it for a moment.
const TRIES: u32 = 10;
/// The wait between two tries.
const WAIT: Duration = Duration::from_millis(50);

/// Which service a lock stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Writes the catalog and the indexes.
    Ingest,
    /// Trains.
    Trainer,
    /// Answers; clients talk to it.
    Gateway,
}

impl Part {
    fn file(self, data_dir: &Path) -> PathBuf {
        let name = match self {
            Self::Ingest => "ingest",
            Self::Trainer => "trainer",
            Self::Gateway => "gateway",
        };
        data_dir.join(format!("serve-{name}.lock"))
    }
}

/// Who holds a lock, as its file says.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    url: Option<String>,
}

/// Keeps other servers off a data folder while it lives. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    files: Vec<File>,
}

impl DataDirLock {
    /// Takes a data folder for some services, and makes it where it does not exist.
    ///
    /// # Errors
    /// Where another server has it, which is named, or where it cannot be written.
    pub async fn acquire(data_dir: &Path, parts: &[Part]) -> Result<Self, Failure> {
        std::fs::create_dir_all(data_dir).map_err(|error| cannot_write(data_dir, &error))?;
        let mut files = Vec::new();
        for part in parts {
            files.push(take(data_dir, *part).await?);
        }
        let mut lock = Self { files };
        lock.write(data_dir, None)?;
        Ok(lock)
    }

    /// Tells client commands where the server listens.
    pub fn announce(&mut self, data_dir: &Path, url: &str) -> Result<(), Failure> {
        self.write(data_dir, Some(url))
    }

    fn write(&mut self, data_dir: &Path, url: Option<&str>) -> Result<(), Failure> {
        let holder = Holder {
            pid: std::process::id(),
            url: url.map(str::to_owned),
        };
        let text = serde_json::to_string(&holder).map_err(|error| Failure::of(&error))?;
        self.files.iter_mut().try_for_each(|file| {
            rewrite(file, &text).map_err(|error| cannot_write(data_dir, &error))
        })
    }
}

async fn take(data_dir: &Path, part: Part) -> Result<File, Failure> {
    let path = part.file(data_dir);
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = open.map_err(|error| cannot_write(data_dir, &error))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(WAIT).await,
            Err(TryLockError::Error(error)) => return Err(cannot_write(data_dir, &error)),
        }
    }
    Err(taken(data_dir, read(&mut file)))
}

fn taken(data_dir: &Path, holder: Option<Holder>) -> Failure {
    let who = holder
        .as_ref()
        .map_or("another process".to_owned(), |holder| {
            format!("process {}", holder.pid)
        });
    let place = holder
        .and_then(|holder| holder.url)
        .map(|url| format!(", which listens on {url}"))
        .unwrap_or_default();
    Failure::new(format!(
        "the data folder {} is in use by {who}{place}",
        data_dir.display()
    ))
    .hint("stop that server first, or give this one another folder with --data-dir")
}

fn cannot_write(data_dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "cannot write to the data folder {}: {error}",
        data_dir.display()
    ))
    .hint("choose a folder that this user may write to, with --data-dir or LORE_DATA_DIR")
}

fn rewrite(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Where the server listens that answers questions on this data folder, if one runs on this machine.
pub fn running_server(data_dir: &Path) -> Option<String> {
    let mut file = File::open(Part::Gateway.file(data_dir)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(&mut file)?.url,
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_folder_names_its_holder_and_is_free_afterwards() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut first = DataDirLock::acquire(dir.path(), &[Part::Ingest, Part::Gateway])
            .await
            .expect("the lock");
        assert_eq!(running_server(dir.path()), None, "it does not listen yet");
        first
            .announce(dir.path(), "http://127.0.0.1:1")
            .expect("written");
        assert_eq!(
            running_server(dir.path()).as_deref(),
            Some("http://127.0.0.1:1")
        );
        let refused = DataDirLock::acquire(dir.path(), &[Part::Gateway])
            .await
            .expect_err("taken");
        assert!(
            refused
                .message()
                .contains(&format!("process {}", std::process::id())),
            "{}",
            refused.message()
        );
        drop(first);
        assert_eq!(running_server(dir.path()), None, "nobody holds it");
        DataDirLock::acquire(dir.path(), &[Part::Gateway])
            .await
            .expect("free again");
    }
}
