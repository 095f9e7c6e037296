use super::point::Points;
use super::shard::{FORMAT, Shard};
use crate::folder::{Mark, Root};
use crate::terms::TermFilter;
use crate::vectors::check_length;
use crate::{Candidate, IndexError, IndexedId};
use lore_types::{Filter, VersionId};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many times the points that are searched one by one anyway may have no graph before one is built unasked.
const LATE: usize = 4;

/// All collections of one root, each loaded when it is first used.
pub(super) struct Shelf {
    root: Root,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The place of one collection.
///
/// The engine's own flushing must not meet another write, so whoever changes anything holds `writing`. `shard` is held
/// for writing only while the shard is put in or taken out.
#[derive(Default)]
struct Slot {
    writing: Mutex<()>,
    shard: RwLock<Option<Shard>>,
    optimizing: AtomicBool,
}

impl Shelf {
    pub(super) fn new(root: Root) -> Self {
        Self {
            root,
            slots: Mutex::default(),
        }
    }

    pub(super) fn collections(&self) -> Result<Vec<String>, IndexError> {
        self.root.collections()
    }

    pub(super) fn create(&self, collection: &str, dimensions: u32) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        let _writing = lock(&slot.writing);
        self.load(collection, &slot)?;
        if let Some(shard) = &*slot.read() {
            return check_length(collection, shard.dimensions, dimensions);
        }
        if dimensions == 0 {
            return Err(IndexError::Vectors(format!(
                "collection `{collection}` cannot hold vectors of no numbers"
            )));
        }
        let mark = Mark {
            format: FORMAT,
            dimensions,
        };
        self.root
            .build(collection, mark, |folder| {
                Shard::create(collection, folder, dimensions)
            })
            .map(|_| ())
    }

    pub(super) fn remove(&self, collection: &str) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        let _writing = lock(&slot.writing);
        close(collection, slot.write().take());
        self.root.remove(collection)
    }

    pub(super) fn upsert(
        self: &Arc<Self>,
        collection: &str,
        points: Option<Points>,
    ) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        {
            let _writing = lock(&slot.writing);
            self.load(collection, &slot)?;
            let held = slot.read();
            let shard = held.as_ref().ok_or_else(|| missing(collection))?;
            points.map_or(Ok(()), |points| shard.upsert(points))?;
        }
        self.optimize_when_grown(collection, &slot);
        Ok(())
    }

    pub(super) fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        let _writing = lock(&slot.writing);
        self.load(collection, &slot)?;
        match &*slot.read() {
            Some(shard) if !versions.is_empty() => shard.remove_versions(versions),
            _ => Ok(()),
        }
    }

    pub(super) fn search(
        &self,
        collection: &str,
        vector: Vec<f32>,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let filter = filter.map_or(TermFilter::All, TermFilter::of);
        self.with(collection, |shard| shard.search(vector, &filter, limit))
    }

    pub(super) fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError> {
        self.with(collection, Shard::chunks)
    }

    pub(super) fn optimize(&self, collection: &str) -> Result<(), IndexError> {
        let slot = self.slot(collection);
        let _writing = lock(&slot.writing);
        self.load(collection, &slot)?;
        let long = {
            let held = slot.read();
            let shard = held.as_ref().ok_or_else(|| missing(collection))?;
            shard.optimize()?;
            shard.is_log_long()?
        };
        if long {
            // Searches wait here until the shard is back.
            let mut held = slot.write();
            close(collection, held.take());
            *held = Shard::load(collection, &self.root.folder(collection)?)?;
        }
        Ok(())
    }

    /// Reads from a collection.
    fn with<T>(
        &self,
        collection: &str,
        read: impl FnOnce(&Shard) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let slot = self.slot(collection);
        if slot.read().is_none() {
            let _writing = lock(&slot.writing);
            self.load(collection, &slot)?;
        }
        let held = slot.read();
        read(held.as_ref().ok_or_else(|| missing(collection))?)
    }

    /// Loads a collection that is not loaded; the caller holds `writing`.
    fn load(&self, collection: &str, slot: &Slot) -> Result<(), IndexError> {
        if slot.read().is_none() {
            let loaded = Shard::load(collection, &self.root.folder(collection)?)?;
            *slot.write() = loaded;
        }
        Ok(())
    }

    /// Starts optimizing in the background where so many points have no graph that searching them one by one is slow. Writes
    /// wait while a graph is built, so this is late on purpose: at the end of a bulk load it is the caller who optimizes.
    fn optimize_when_grown(self: &Arc<Self>, collection: &str, slot: &Arc<Slot>) {
        let grown = slot.read().as_ref().is_some_and(|shard| {
            let (without, with) = shard.graph();
            without > (LATE * shard.exact()).max(with / 2)
        });
        if !grown || slot.optimizing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (shelf, slot, name) = (Arc::clone(self), Arc::clone(slot), collection.to_owned());
        // Not a task of the runtime's: a graph that takes minutes to build must not hold up its shutdown.
        std::thread::spawn(move || {
            if let Err(error) = shelf.optimize(&name) {
                tracing::warn!(collection = %name, %error, "the dense index could not be optimized: searches stay slower");
            }
            slot.optimizing.store(false, Ordering::Release);
        });
    }

    fn slot(&self, collection: &str) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(collection.to_owned()).or_default())
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for (collection, slot) in lock(&self.slots).drain() {
            close(&collection, slot.write().take());
        }
    }
}

impl Slot {
    fn read(&self) -> RwLockReadGuard<'_, Option<Shard>> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Shard>> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of a shard. The engine flushes then, and panics where it cannot; all that was acknowledged is on disk anyway.
fn close(collection: &str, shard: Option<Shard>) {
    if catch_unwind(AssertUnwindSafe(|| drop(shard))).is_err() {
        tracing::warn!(
            collection,
            "the dense index could not be flushed while it was closed"
        );
    }
}

fn missing(collection: &str) -> IndexError {
    IndexError::NoCollection {
        collection: collection.to_owned(),
        side: "dense",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
