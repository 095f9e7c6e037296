use super::schema::{FORMAT, Fields};
use super::snapshot::Snapshot;
use super::stage::Stage;
use crate::blocking::blocking;
use crate::folder::{Mark, Root, read_mark};
use crate::{IndexError, IndexedChunk, IndexedId, LexicalWriter};
use async_trait::async_trait;
use lore_types::VersionId;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tantivy::Index;

/// Collections that stay open for writing; each open one holds a few threads.
const MOST_OPEN: usize = 8;

/// Writes the BM25 side of every collection under a folder. One process at a time.
#[derive(Clone)]
pub struct TantivyWriter {
    shelf: Arc<Shelf>,
}

struct Shelf {
    open: Mutex<HashMap<String, Arc<Mutex<Option<Stage>>>>>,
    /// Given up last, so that nobody else writes before the stages have ended.
    root: Root,
}

impl TantivyWriter {
    /// Takes `root` for writing, making it where it is missing.
    ///
    /// # Errors
    /// [`IndexError::Locked`] where another process has it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, IndexError> {
        let root = Root::open(root.into())?;
        Ok(Self {
            shelf: Arc::new(Shelf {
                open: Mutex::default(),
                root,
            }),
        })
    }

    /// Runs `work` on the collection's stage; `None` is given where there is no such collection.
    async fn with<T: Send + 'static>(
        &self,
        collection: &str,
        work: impl FnOnce(Option<&mut Stage>) -> tantivy::Result<T> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (shelf, name) = (Arc::clone(&self.shelf), collection.to_owned());
        blocking(collection, move || {
            let slot = shelf.slot(&name);
            let mut stage = lock(&slot);
            if stage.is_none() {
                *stage = Stage::open(&shelf.root.folder(&name)?)?;
            }
            work(stage.as_mut()).map_err(|error| failed("write to", &name, error))
        })
        .await
    }
}

impl Shelf {
    /// The place of a collection's stage. Where many are open, those with nothing staged are closed.
    fn slot(&self, collection: &str) -> Arc<Mutex<Option<Stage>>> {
        let mut open = lock(&self.open);
        if open.len() >= MOST_OPEN && !open.contains_key(collection) {
            open.retain(|_, slot| {
                Arc::strong_count(slot) > 1
                    || lock(slot).as_ref().is_some_and(|stage| !stage.is_empty())
            });
        }
        Arc::clone(open.entry(collection.to_owned()).or_default())
    }

    fn create(&self, collection: &str) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        let _held = lock(&slot);
        if read_mark(&self.root.folder(collection)?, FORMAT)?.is_some() {
            return Ok(());
        }
        let mark = Mark {
            format: FORMAT,
            dimensions: 0,
        };
        let built = self.root.build(collection, mark, |folder| {
            let created = Index::create_in_dir(folder, Fields::schema().0);
            created
                .map(|_| ())
                .map_err(|error| failed("create", collection, error))
        });
        built.map(|_| ())
    }

    fn remove(&self, collection: &str) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        let mut stage = lock(&slot);
        drop(stage.take());
        self.root.remove(collection)
    }
}

#[async_trait]
impl LexicalWriter for TantivyWriter {
    async fn create(&self, collection: &str) -> Result<(), IndexError> {
        let (shelf, name) = (Arc::clone(&self.shelf), collection.to_owned());
        blocking(collection, move || shelf.create(&name)).await
    }

    async fn drop_collection(&self, collection: &str) -> Result<(), IndexError> {
        let (shelf, name) = (Arc::clone(&self.shelf), collection.to_owned());
        blocking(collection, move || shelf.remove(&name)).await
    }

    async fn collections(&self) -> Result<Vec<String>, IndexError> {
        let shelf = Arc::clone(&self.shelf);
        blocking("", move || shelf.root.collections()).await
    }

    async fn upsert(&self, collection: &str, chunks: &[IndexedChunk]) -> Result<(), IndexError> {
        let chunks = chunks.to_vec();
        let written = self
            .with(collection, |stage| {
                stage.map(|stage| stage.upsert(chunks)).transpose()
            })
            .await?;
        written.ok_or_else(|| missing(collection))
    }

    async fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError> {
        let versions = versions.to_vec();
        self.with(collection, |stage| {
            stage.map_or(Ok(()), |stage| stage.remove(versions))
        })
        .await
    }

    async fn commit(&self, collection: &str) -> Result<(), IndexError> {
        let committed = self
            .with(collection, |stage| stage.map(Stage::commit).transpose())
            .await?;
        committed.ok_or_else(|| missing(collection))
    }

    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError> {
        let (shelf, name) = (Arc::clone(&self.shelf), collection.to_owned());
        blocking(collection, move || {
            Snapshot::open(shelf.root.path(), &name)?.chunks()
        })
        .await
    }
}

fn missing(collection: &str) -> IndexError {
    IndexError::NoCollection {
        collection: collection.to_owned(),
        side: "lexical",
    }
}

fn failed(doing: &'static str, collection: &str, error: tantivy::TantivyError) -> IndexError {
    IndexError::Engine {
        doing,
        collection: collection.to_owned(),
        source: Box::new(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
