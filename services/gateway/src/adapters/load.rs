use super::{AdapterError, Chosen, Loaded, Shared};
use lore_model::{Generator, LocalGenerator, LocalSettings, ModelError};
use lore_types::{AdapterKind, AdapterVersion, ContentHash};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The weights of a PEFT folder, and those of a model of its own.
const WEIGHTS: &str = "adapter_model.safetensors";
const MODEL: &str = "model.safetensors";

impl Shared {
    /// Brings a version into memory, unless it is there.
    pub(super) async fn load(&self, version: &AdapterVersion) -> Result<(), AdapterError> {
        let name = version.reference().to_string();
        let _one_at_a_time = self.loading.lock().await;
        if self.ready(&name).is_some() {
            return Ok(());
        }
        let folder = self.parts.data_dir.join(&version.path);
        let started = Instant::now();
        let chosen = match version.kind {
            AdapterKind::Lora => self.lora(&name, version, &folder).await?,
            AdapterKind::Full => self.full(&name, version, &folder).await?,
        };
        let (seconds, used) = (started.elapsed().as_secs_f64(), Instant::now());
        tracing::info!(adapter = name, seconds, "adapter loaded");
        self.loaded().insert(name, Loaded { chosen, used });
        Ok(())
    }

    async fn lora(
        &self,
        name: &str,
        version: &AdapterVersion,
        folder: &Path,
    ) -> Result<Chosen, AdapterError> {
        self.check_base(name, version).await?;
        check_weights(name, version, folder.join(WEIGHTS)).await?;
        let base = &self.parts.base;
        base.load_adapter(name, folder)
            .await
            .map_err(|source| self.refused(name, source))?;
        Ok(Chosen {
            generator: Arc::new(base.clone()),
            adapter: Some(name.to_owned()),
            name: name.to_owned(),
        })
    }

    /// A model of its own, beside the base.
    async fn full(
        &self,
        name: &str,
        version: &AdapterVersion,
        folder: &Path,
    ) -> Result<Chosen, AdapterError> {
        check_weights(name, version, folder.join(MODEL)).await?;
        let settings = LocalSettings {
            name: name.to_owned(),
            ..self.parts.settings.clone()
        };
        let folder = folder.to_owned();
        let loaded =
            tokio::task::spawn_blocking(move || LocalGenerator::load(&folder, settings)).await;
        let generator = loaded
            .map_err(|_| AdapterError::Join(name.to_owned()))?
            .map_err(|source| self.refused(name, source))?;
        Ok(Chosen {
            generator: Arc::new(generator),
            adapter: None,
            name: name.to_owned(),
        })
    }

    fn refused(&self, name: &str, source: ModelError) -> AdapterError {
        AdapterError::Model {
            adapter: name.to_owned(),
            loaded: self.parts.base.info().model,
            source,
        }
    }

    /// By the fingerprint in the catalog; imports may have none, and are checked by their shapes.
    async fn check_base(&self, name: &str, version: &AdapterVersion) -> Result<(), AdapterError> {
        let trained_on = &version.base_fingerprint;
        let loaded = self.fingerprint(name).await?;
        if trained_on.is_empty() || *trained_on == loaded {
            return Ok(());
        }
        Err(AdapterError::WrongBase {
            adapter: name.to_owned(),
            trained_on: version.base.clone(),
            loaded: self.parts.base.info().model,
            problem: format!(
                "their weights differ, fingerprint {trained_on:.12}… against {loaded:.12}…"
            ),
        })
    }

    async fn fingerprint(&self, name: &str) -> Result<String, AdapterError> {
        let compute = || async {
            let base = self.parts.base.clone();
            let computed = tokio::task::spawn_blocking(move || base.decoder().fingerprint()).await;
            computed
                .map_err(|_| AdapterError::Join(name.to_owned()))?
                .map_err(|source| self.refused(name, source))
        };
        self.fingerprint.get_or_try_init(compute).await.cloned()
    }
}

/// Compares a file with what was registered.
async fn check_weights(
    name: &str,
    version: &AdapterVersion,
    path: PathBuf,
) -> Result<(), AdapterError> {
    let (read, at) = (path.clone(), name.to_owned());
    let hashed = move || std::fs::read(read).map(|bytes| ContentHash::of(&bytes).to_string());
    let hashed = tokio::task::spawn_blocking(hashed).await;
    let (adapter, base) = (name.to_owned(), version.base.clone());
    match hashed.map_err(|_| AdapterError::Join(at))? {
        Ok(actual) if actual == version.sha256 => Ok(()),
        Ok(actual) => Err(AdapterError::Damaged {
            adapter,
            base,
            path,
            expected: version.sha256.clone(),
            actual,
        }),
        Err(source) => Err(AdapterError::Read {
            adapter,
            base,
            path,
            source,
        }),
    }
}
