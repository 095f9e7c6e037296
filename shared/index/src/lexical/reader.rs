use super::snapshot::Snapshot;
use crate::blocking::blocking;
use crate::{Candidate, IndexError, IndexedId, LexicalReader};
use async_trait::async_trait;
use lore_types::Filter;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads the BM25 side of every collection under a folder, whichever process writes it.
///
/// # Guarantees
/// It never writes and needs no lock of the writer's; each search looks whether there is a newer commit (one `stat`).
#[derive(Clone)]
pub struct TantivyReader {
    shelf: Arc<Shelf>,
}

struct Shelf {
    root: PathBuf,
    open: Mutex<HashMap<String, Arc<Snapshot>>>,
}

impl TantivyReader {
    /// Reads what is, or will be, under `root`.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self {
            shelf: Arc::new(Shelf {
                root: root.into(),
                open: Mutex::default(),
            }),
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        collection: &str,
        read: impl FnOnce(&Snapshot) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (shelf, name) = (Arc::clone(&self.shelf), collection.to_owned());
        blocking(collection, move || read(&*shelf.snapshot(&name)?)).await
    }
}

impl Shelf {
    /// The collection at its last commit.
    fn snapshot(&self, collection: &str) -> Result<Arc<Snapshot>, IndexError> {
        let held = self.held().get(collection).cloned();
        if let Some(snapshot) = held {
            if snapshot.refresh()? {
                return Ok(snapshot);
            }
            self.held().remove(collection);
        }
        let snapshot = Arc::new(Snapshot::open(&self.root, collection)?);
        self.held()
            .insert(collection.to_owned(), Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Snapshot>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LexicalReader for TantivyReader {
    async fn search(
        &self,
        collection: &str,
        query: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let (query, filter) = (query.to_owned(), filter.cloned());
        self.with(collection, move |snapshot| {
            snapshot.search(&query, filter.as_ref(), limit)
        })
        .await
    }

    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError> {
        self.with(collection, Snapshot::chunks).await
    }
}
