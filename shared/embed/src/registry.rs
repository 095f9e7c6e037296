use crate::{EmbedError, EmbedPool, EmbedSettings, EmbedderInfo};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Finds the settings of an embedder by its name.
type Resolve = dyn Fn(&str) -> Result<EmbedSettings, EmbedError> + Send + Sync;

/// Embedders by name, each loaded at its first use: collections may use different ones. Cloning gives another handle.
#[derive(Clone)]
pub struct EmbedderRegistry {
    resolve: Arc<Resolve>,
    offered: Option<Arc<[String]>>,
    pools: Arc<Mutex<HashMap<String, Arc<OnceCell<EmbedPool>>>>>,
}

impl EmbedderRegistry {
    /// A registry that finds files through `resolve`, which may read the disk.
    pub fn new(
        resolve: impl Fn(&str) -> Result<EmbedSettings, EmbedError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            resolve: Arc::new(resolve),
            offered: None,
            pools: Arc::default(),
        }
    }

    /// The same, where requests may name these embedders only. Whoever has another name, such as a path of the
    /// configuration, may still [`get`](Self::get) it.
    #[must_use]
    pub fn offering(self, names: impl IntoIterator<Item = String>) -> Self {
        Self {
            offered: Some(names.into_iter().collect()),
            ..self
        }
    }

    /// Whether a request may name this embedder, installed or not. Without a list, every one.
    pub fn offers(&self, name: &str) -> bool {
        self.offered
            .as_ref()
            .is_none_or(|offered| offered.iter().any(|one| one == name))
    }

    /// The names that requests may use; none without a list.
    pub fn offered(&self) -> &[String] {
        self.offered.as_deref().unwrap_or_default()
    }

    /// The embedder `name`, loaded if it is not yet.
    ///
    /// # Guarantees
    /// Concurrent calls load it once. A failure is not remembered: the next call tries again. One whose thread has died is loaded
    /// anew.
    ///
    /// # Errors
    /// What `resolve` says, or those of [`EmbedPool::load`].
    pub async fn get(&self, name: &str) -> Result<EmbedPool, EmbedError> {
        let cell = self.cell(name);
        cell.get_or_try_init(|| self.load(name)).await.cloned()
    }

    /// The embedders that are loaded.
    pub fn loaded(&self) -> Vec<EmbedderInfo> {
        let mut loaded: Vec<EmbedderInfo> = self
            .lock()
            .values()
            .filter_map(|cell| cell.get().map(|pool| pool.info().clone()))
            .collect();
        loaded.sort_by(|a, b| a.name.cmp(&b.name));
        loaded
    }

    async fn load(&self, name: &str) -> Result<EmbedPool, EmbedError> {
        let (resolve, owned) = (self.resolve.clone(), name.to_string());
        let found = tokio::task::spawn_blocking(move || resolve(&owned)).await;
        EmbedPool::load(found.map_err(|e| EmbedError::unavailable(name, e))??).await
    }

    fn cell(&self, name: &str) -> Arc<OnceCell<EmbedPool>> {
        let mut pools = self.lock();
        pools.retain(|_, cell| !cell.get().is_some_and(EmbedPool::is_stopped));
        pools.entry(name.to_string()).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<EmbedPool>>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for EmbedderRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbedderRegistry")
            .field("loaded", &self.loaded())
            .finish_non_exhaustive()
    }
}
