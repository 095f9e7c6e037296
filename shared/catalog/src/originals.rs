use crate::{Catalog, CatalogError};
use lore_types::ContentHash;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

/// The original bytes of every version, each kept once under its SHA-256: `files/ab/abcdef…`.
///
/// # Guarantees
/// A file under its final name is whole and on disk. One process writes; others may read.
#[derive(Clone, Debug)]
pub struct Originals {
    root: PathBuf,
    pins: Arc<Pins>,
}

/// Originals that uploads rely on and the catalog may not refer to yet, each with the number of those uploads.
#[derive(Debug, Default)]
struct Pins {
    /// Held while an original is pinned, and while one is looked up and deleted: so nobody pins one that is just going.
    gate: tokio::sync::Mutex<()>,
    counts: Mutex<HashMap<ContentHash, usize>>,
}

/// Keeps an original from being collected until it is dropped.
#[derive(Debug)]
struct Pin {
    hash: ContentHash,
    pins: Arc<Pins>,
}

impl Pins {
    fn counts(&self) -> MutexGuard<'_, HashMap<ContentHash, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pin(self: &Arc<Self>, hash: &ContentHash) -> Pin {
        let _gate = self.gate.lock().await;
        *self.counts().entry(hash.clone()).or_default() += 1;
        Pin {
            hash: hash.clone(),
            pins: self.clone(),
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.counts();
        if let Some(count) = counts.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.hash);
            }
        }
    }
}

/// An original that is on disk.
#[derive(Clone, Debug)]
pub struct StoredOriginal {
    /// Names it.
    pub hash: ContentHash,
    /// Its length.
    pub bytes: u64,
    _pin: Arc<Pin>,
}

/// An original that is being written. Dropped without [`OriginalWriter::finish`], nothing is kept.
#[derive(Debug)]
pub struct OriginalWriter {
    file: File,
    partial: Partial,
    digest: Sha256,
    bytes: u64,
    originals: Originals,
}

/// A file that is deleted when it is dropped, unless it has got its final name.
#[derive(Debug)]
struct Partial(Option<PathBuf>);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a partial upload stays until the next start");
        }
    }
}

impl Originals {
    /// The originals under `root`, which is made where it is missing. Call once in the process that writes: it clears away
    /// what unfinished uploads left.
    ///
    /// # Errors
    /// [`CatalogError::File`].
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, CatalogError> {
        let originals = Self {
            root: root.into(),
            pins: Arc::default(),
        };
        let partial = originals.partial();
        if fs::try_exists(&partial)
            .await
            .map_err(file("look for", &partial))?
        {
            fs::remove_dir_all(&partial)
                .await
                .map_err(file("clear", &partial))?;
        }
        fs::create_dir_all(&partial)
            .await
            .map_err(file("make", &partial))?;
        Ok(originals)
    }

    /// Where an original is.
    pub fn path(&self, hash: &ContentHash) -> PathBuf {
        let folder = hash.0.get(..2).unwrap_or("__");
        self.root.join(folder).join(&hash.0)
    }

    /// Begins to write an original of unknown length.
    ///
    /// # Errors
    /// [`CatalogError::File`].
    pub async fn writer(&self) -> Result<OriginalWriter, CatalogError> {
        let path = self.partial().join(Uuid::now_v7().simple().to_string());
        let file = File::create_new(&path).await.map_err(file("make", &path))?;
        let partial = Partial(Some(path));
        Ok(OriginalWriter {
            file,
            partial,
            digest: Sha256::new(),
            bytes: 0,
            originals: self.clone(),
        })
    }

    /// Keeps bytes that are in memory.
    ///
    /// # Errors
    /// [`CatalogError::File`].
    pub async fn keep(&self, bytes: &[u8]) -> Result<StoredOriginal, CatalogError> {
        let mut writer = self.writer().await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Deletes those of `originals` that no version uses any more; says how many.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn collect(
        &self,
        catalog: &Catalog,
        originals: &[ContentHash],
    ) -> Result<usize, CatalogError> {
        let mut collected = 0;
        for hash in originals {
            let _gate = self.pins.gate.lock().await;
            let pinned = self.pins.counts().contains_key(hash);
            if !pinned && !catalog.uses(hash).await? && delete(&self.path(hash)).await? {
                collected += 1;
            }
        }
        Ok(collected)
    }

    /// Every original that is there, used or not.
    ///
    /// # Errors
    /// [`CatalogError::File`].
    pub async fn all(&self) -> Result<Vec<ContentHash>, CatalogError> {
        let mut found = Vec::new();
        for folder in names(&self.root)
            .await?
            .into_iter()
            .filter(|name| name.len() == 2)
        {
            let inside = names(&self.root.join(folder)).await?;
            found.extend(inside.into_iter().map(ContentHash));
        }
        Ok(found)
    }

    fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }
}

impl OriginalWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`CatalogError::File`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), CatalogError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .await
            .map_err(file("write", &self.originals.root))
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it durable and gives it its name. The result keeps it from being collected until it is dropped.
    ///
    /// # Errors
    /// [`CatalogError::File`].
    pub async fn finish(mut self) -> Result<StoredOriginal, CatalogError> {
        let hash = ContentHash::from_digest(&self.digest.finalize());
        let pin = Arc::new(self.originals.pins.pin(&hash).await);
        let path = self.originals.path(&hash);
        self.file.flush().await.map_err(file("write", &path))?;
        let there = fs::metadata(&path)
            .await
            .is_ok_and(|there| there.len() == self.bytes);
        if there {
            // Another upload may have named it a moment ago and not made the name durable yet.
            sync_folder(path.parent().unwrap_or(&self.originals.root)).await?;
        } else {
            self.file.sync_all().await.map_err(file("sync", &path))?;
            publish(&mut self.partial, &self.originals.root, &path).await?;
        }
        Ok(StoredOriginal {
            hash,
            bytes: self.bytes,
            _pin: pin,
        })
    }
}

/// Gives a partial file its name, and makes the name durable.
async fn publish(partial: &mut Partial, root: &Path, path: &Path) -> Result<(), CatalogError> {
    let folder = path.parent().unwrap_or(root);
    if !fs::try_exists(folder)
        .await
        .map_err(file("look for", folder))?
    {
        fs::create_dir_all(folder)
            .await
            .map_err(file("make", folder))?;
        sync_folder(root).await?;
    }
    if let Some(from) = partial.0.as_ref() {
        fs::rename(from, path).await.map_err(file("name", path))?;
        partial.0 = None;
    }
    sync_folder(folder).await
}

/// Deletes a file; false where it was gone already.
async fn delete(path: &Path) -> Result<bool, CatalogError> {
    match fs::remove_file(path).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file("delete", path)(error)),
    }
}

async fn sync_folder(folder: &Path) -> Result<(), CatalogError> {
    let opened = File::open(folder).await.map_err(file("open", folder))?;
    opened.sync_all().await.map_err(file("sync", folder))
}

async fn names(folder: &Path) -> Result<Vec<String>, CatalogError> {
    let mut entries = fs::read_dir(folder).await.map_err(file("list", folder))?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(file("list", folder))? {
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CatalogError + use<> {
    let path = path.to_owned();
    move |source| CatalogError::File {
        doing,
        path,
        source,
    }
}
