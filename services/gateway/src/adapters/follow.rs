use super::{Refusal, Served, Shared, reference};
use lore_types::Adapter;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the catalog is looked at.
pub(super) const EVERY: Duration = Duration::from_millis(400);
/// How soon a version that could not be loaded is tried again: its files may have been mended.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a version stays in memory after it was last asked for or promoted.
const KEPT: Duration = Duration::from_secs(120);
/// Earlier promotions that are tried where the promoted version cannot be loaded and none is served yet.
const EARLIER: usize = 16;

/// Looks into the catalog until nobody serves adapters any more.
pub(super) async fn follow(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.look().await;
    }
}

impl Shared {
    /// Reads what is promoted, loads what is new, and lets go of what nobody needs.
    pub(super) async fn look(&self) {
        let _one_at_a_time = self.looking.lock().await;
        let adapters = match self.parts.catalog.adapters().await {
            Ok(adapters) => adapters,
            Err(error) => {
                tracing::warn!(%error, "the catalog's adapters could not be read; those that are loaded are served on");
                return;
            }
        };
        let before = self.table();
        let mut table = BTreeMap::new();
        for adapter in adapters {
            let served = self.serve(adapter.clone(), before.get(&adapter.name)).await;
            table.insert(adapter.name, served);
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.let_go();
    }

    /// What is served of an adapter from now on.
    async fn serve(&self, adapter: Adapter, before: Option<&Served>) -> Served {
        let old = before.and_then(|before| before.version);
        let Some(wanted) = adapter.promoted else {
            return served(adapter, None, None);
        };
        let refusal = before.and_then(|before| before.refusal.clone());
        if old == Some(wanted) && self.is_loaded(&adapter.name, wanted) {
            return served(adapter, old, None);
        }
        let recent = |refusal: &Refusal| refusal.version == wanted && refusal.at.elapsed() < AGAIN;
        if let Some(refusal) = refusal.clone().filter(recent) {
            return served(adapter, old, Some(refusal));
        }
        match self.try_version(&adapter, wanted).await {
            Ok(()) => served(adapter, Some(wanted), None),
            Err(reason) => {
                if refusal.is_none_or(|before| before.reason != reason) {
                    tracing::error!(
                        adapter = adapter.name,
                        version = wanted,
                        reason,
                        "a promoted adapter is refused; what was served before is served on"
                    );
                }
                let old = match old {
                    Some(old) => Some(old),
                    None => self.earlier(&adapter, wanted).await,
                };
                let at = Instant::now();
                served(
                    adapter,
                    old,
                    Some(Refusal {
                        version: wanted,
                        reason,
                        at,
                    }),
                )
            }
        }
    }

    /// The newest earlier promotion that can be loaded, as after a restart.
    async fn earlier(&self, adapter: &Adapter, wanted: u32) -> Option<u32> {
        let mut tried = HashSet::from([wanted]);
        for promotion in adapter.promotions.iter().take(EARLIER) {
            let version = promotion.version;
            if tried.insert(version) && self.try_version(adapter, version).await.is_ok() {
                return Some(version);
            }
        }
        None
    }

    async fn try_version(&self, adapter: &Adapter, number: u32) -> Result<(), String> {
        let version = adapter
            .version(number)
            .ok_or_else(|| format!("adapter `{}` has no version {number}", adapter.name))?;
        self.load(version).await.map_err(|error| error.told())
    }

    fn is_loaded(&self, name: &str, version: u32) -> bool {
        self.loaded().contains_key(&reference(name, version))
    }

    /// Forgets versions that are neither served under a bare name nor were asked for of late. Requests in flight keep theirs.
    fn let_go(&self) {
        let table = self.table();
        let needed: HashSet<String> = table
            .iter()
            .filter_map(|(name, served)| Some(reference(name, served.version?)))
            .collect();
        self.loaded().retain(|name, loaded| {
            let keep = needed.contains(name) || loaded.used.elapsed() < KEPT;
            if !keep {
                self.parts.base.unload_adapter(name);
                tracing::info!(adapter = name, "adapter unloaded");
            }
            keep
        });
    }
}

fn served(adapter: Adapter, version: Option<u32>, refusal: Option<Refusal>) -> Served {
    Served {
        adapter,
        version,
        refusal,
    }
}
