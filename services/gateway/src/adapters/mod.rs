//! The adapters that the gateway answers with: it follows the catalog, loads what is promoted, and swaps without a pause.

mod error;
mod follow;
mod load;

pub use error::AdapterError;

use crate::error::GatewayError;
use lore_catalog::{Catalog, CatalogError};
use lore_model::{Generator, LocalGenerator, LocalSettings};
use lore_types::{Adapter, AdapterReference};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// What answers one request: a model, and an adapter of it or none.
#[derive(Clone)]
pub(crate) struct Chosen {
    /// The model that computes.
    pub generator: Arc<dyn Generator>,
    /// The name under which it knows the adapter.
    pub adapter: Option<String>,
    /// What answers are signed with: the base model's name, or `name@version`.
    pub name: String,
}

/// What adapters are loaded from, and onto what.
pub struct AdapterParts {
    /// Says which versions are promoted.
    pub catalog: Catalog,
    /// The base model.
    pub base: LocalGenerator,
    /// How a fully fine-tuned model is served; its name is set here.
    pub settings: LocalSettings,
    /// The folder that versions' paths start from.
    pub data_dir: PathBuf,
}

/// The adapters that are served. Cloning copies a handle; with the last one, following the catalog ends.
///
/// # Guarantees
/// A promotion is served within a second of its being in the catalog. Requests in flight end with the version that they began
/// with. A version that cannot be loaded is refused, and the one before goes on being served under the bare name.
#[derive(Clone, Default)]
pub struct Adapters {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    parts: AdapterParts,
    /// By adapter, as of the last look into the catalog.
    table: RwLock<Arc<BTreeMap<String, Served>>>,
    /// By `name@version`.
    loaded: Mutex<HashMap<String, Loaded>>,
    /// Held while the catalog is looked at, so that no older look overwrites a newer one.
    looking: tokio::sync::Mutex<()>,
    /// Held while a version is loaded, so that none is loaded twice.
    loading: tokio::sync::Mutex<()>,
    fingerprint: tokio::sync::OnceCell<String>,
}

/// An adapter and what of it is served under its bare name.
#[derive(Clone)]
pub(crate) struct Served {
    /// As the catalog has it.
    pub adapter: Adapter,
    /// The version.
    pub version: Option<u32>,
    /// Why the promoted version is not served.
    pub refusal: Option<Refusal>,
}

/// Why a version is not served.
#[derive(Clone)]
pub(crate) struct Refusal {
    pub version: u32,
    pub reason: String,
    at: Instant,
}

struct Loaded {
    chosen: Chosen,
    used: Instant,
}

impl Adapters {
    /// How long after one look into the catalog the next one begins.
    pub const LOOKS_EVERY: Duration = follow::EVERY;

    /// Looks into the catalog now instead of when it is time: what is promoted is served when this returns.
    pub async fn look(&self) {
        if let Some(shared) = &self.shared {
            shared.look().await;
        }
    }

    /// Serves no adapters: the model is another server's, or not there.
    pub fn none() -> Self {
        Self::default()
    }

    /// Loads what is promoted, and follows the catalog from then on.
    pub async fn follow(parts: AdapterParts) -> Self {
        let shared = Arc::new(Shared {
            parts,
            table: RwLock::default(),
            loaded: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            fingerprint: tokio::sync::OnceCell::new(),
        });
        shared.look().await;
        tokio::spawn(follow::follow(Arc::downgrade(&shared)));
        Self {
            shared: Some(shared),
        }
    }

    /// What is served, by name.
    pub(crate) fn served(&self) -> Vec<Served> {
        let table = self.shared.as_ref().map(|shared| shared.table());
        table.map_or_else(Vec::new, |table| table.values().cloned().collect())
    }

    /// What a request's `model` means, where it names an adapter.
    ///
    /// # Errors
    /// An adapter that has no promoted version, and one that cannot be loaded.
    pub(crate) async fn choose(&self, model: &str) -> Result<Option<Chosen>, GatewayError> {
        let (Some(shared), Ok(reference)) = (&self.shared, model.parse::<AdapterReference>())
        else {
            return Ok(None);
        };
        match reference.version {
            None => shared.promoted(&reference.name).await,
            Some(_) => shared.version(&reference).await,
        }
    }
}

impl Shared {
    fn table(&self) -> Arc<BTreeMap<String, Served>> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<String, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version that is in memory. Being asked for keeps it there.
    fn ready(&self, reference: &str) -> Option<Chosen> {
        let mut all = self.loaded();
        let loaded = all.get_mut(reference)?;
        loaded.used = Instant::now();
        Some(loaded.chosen.clone())
    }

    /// What answers under a bare name. A promotion that was not seen yet is looked for, so that whoever promotes can ask at once.
    async fn promoted(&self, name: &str) -> Result<Option<Chosen>, GatewayError> {
        if let Some(chosen) = self.ready_under(name) {
            return Ok(Some(chosen));
        }
        self.look().await;
        if let Some(chosen) = self.ready_under(name) {
            return Ok(Some(chosen));
        }
        let table = self.table();
        let Some(served) = table.get(name) else {
            return Ok(None);
        };
        Err(match &served.refusal {
            Some(refusal) => GatewayError::AdapterRefused(refusal.reason.clone()),
            None => GatewayError::NothingPromoted {
                adapter: name.to_owned(),
                versions: served
                    .adapter
                    .versions
                    .iter()
                    .map(|one| one.version)
                    .collect(),
            },
        })
    }

    fn ready_under(&self, name: &str) -> Option<Chosen> {
        let version = self.table().get(name)?.version?;
        self.ready(&reference(name, version))
    }

    async fn version(&self, wanted: &AdapterReference) -> Result<Option<Chosen>, GatewayError> {
        let text = wanted.to_string();
        if let Some(chosen) = self.ready(&text) {
            return Ok(Some(chosen));
        }
        let version = match self.parts.catalog.adapter_version(wanted).await {
            Ok(version) => version,
            Err(CatalogError::NoAdapter(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.load(&version)
            .await
            .map_err(|error| GatewayError::AdapterRefused(error.told()))?;
        Ok(self.ready(&text))
    }
}

fn reference(name: &str, version: u32) -> String {
    format!("{name}@{version}")
}
