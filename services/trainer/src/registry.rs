//! Adapters in versions: `adapters/NAME/VERSION/` under the data folder, whole or not at all, with a model card and with
//! where they come from.

use crate::base::Base;
use crate::card::card;
use crate::parity;
use crate::run::files::{sha256, sync_folder, write_whole};
use crate::run::{Checkpoints, MODEL, RunError, State as RunState, file};
use crate::state::State;
use lore_catalog::{CatalogError, NewAdapterVersion};
use lore_model::{Adapter, ModelError, Source, export};
use lore_types::{
    AdapterKind, AdapterMetrics, AdapterVersion, FineTuningJob, Provenance, TrainedOn,
    TrainingMethod,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// The base's fingerprint, which PEFT has no place for.
const LORE: &str = "lore.json";

/// A version whose files lie in a folder of their own and have no number yet.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) folder: PathBuf,
    pub(crate) version: AdapterVersion,
}

/// Where versions are put together before they have a number.
pub(crate) fn staging(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join("adapters").join(".staging").join(name)
}

/// Puts the result of a run together: PEFT's two files or a whole model, the logits for the parity check, the measured
/// values, the card.
///
/// # Errors
/// Names the file that cannot be read or written.
pub(crate) fn stage(
    data_dir: &Path,
    job: &FineTuningJob,
    base: &Base,
    run: &RunState,
    checkpoints: &Checkpoints,
    metrics_file: &Path,
) -> Result<Staged, RunError> {
    let folder = staging(data_dir, &job.id.to_string());
    forget(&folder)?;
    let kind = match job.lore.settings.method {
        TrainingMethod::Full => AdapterKind::Full,
        TrainingMethod::Lora | TrainingMethod::Qlora => AdapterKind::Lora,
    };
    match kind {
        AdapterKind::Lora => fill_lora(&folder, job, base, &checkpoints.path(run.result()))?,
        AdapterKind::Full => {
            let trained = checkpoints.parameters(run.result(), &base.decoder, &base.name, true)?;
            export::trained(&Source::open(&base.path)?, &trained, &folder)?;
            parity::keep(&folder, base, trained.decoder(&base.decoder), None)?;
        }
    }
    copy(metrics_file, &folder.join("metrics.jsonl"))?;
    let mut version = describe(&folder, &job.lore.name, base, kind)?;
    version.job = Some(job.id);
    version.parent.clone_from(&job.lore.continue_from);
    version.metrics = metrics(run);
    version.provenance.datasets = job.lore.datasets.iter().map(trained_on).collect();
    version.provenance.settings = Some(job.lore.settings.clone());
    version.provenance.seed = Some(job.seed);
    Ok(Staged { folder, version })
}

fn fill_lora(
    folder: &Path,
    job: &FineTuningJob,
    base: &Base,
    checkpoint: &Path,
) -> Result<(), RunError> {
    fresh(folder)?;
    for name in [CONFIG, WEIGHTS, LORE] {
        copy(&checkpoint.join(name), &folder.join(name))?;
    }
    let trained = Adapter::load(checkpoint, &base.decoder, &job.lore.name, &base.name)?;
    Ok(parity::keep(folder, base, &base.decoder, Some(&trained))?)
}

/// Puts files that came from elsewhere together. They must fit the base.
///
/// # Errors
/// Files that are damaged, or an adapter of another base, with both names.
pub(crate) fn stage_import(folder: &Path, name: &str, base: &Base) -> Result<Staged, RunError> {
    let adapter = Adapter::load(folder, &base.decoder, name, &base.name)?;
    // Written again, so that what is kept is what Lore reads, under the base's own name.
    let mut config = adapter.config().clone();
    let from = config.base_model_name_or_path.replace(base.name.clone());
    let text = serde_json::to_vec_pretty(&config.to_peft_json())
        .map_err(|error| RunError::Request(error.to_string()))?;
    write_whole(&folder.join(CONFIG), &text)?;
    let lore = serde_json::json!({ "base_fingerprint": base.fingerprint });
    write_whole(&folder.join(LORE), lore.to_string().as_bytes())?;
    let mut version = describe(folder, name, base, AdapterKind::Lora)?;
    version.provenance.imported_from = Some(from.unwrap_or_else(|| "an unnamed base".to_owned()));
    Ok(Staged {
        folder: folder.to_owned(),
        version,
    })
}

/// What can be said of any version from its files and its base.
fn describe(
    folder: &Path,
    name: &str,
    base: &Base,
    kind: AdapterKind,
) -> Result<AdapterVersion, RunError> {
    let weights = folder.join(weights_file(kind));
    let bytes = fs::metadata(&weights)
        .map_err(file("read", &weights))?
        .len();
    Ok(AdapterVersion {
        adapter: name.to_owned(),
        version: 0,
        kind,
        base: base.name.clone(),
        base_fingerprint: base.fingerprint.clone(),
        path: String::new(),
        sha256: sha256(&weights)?,
        bytes,
        job: None,
        parent: None,
        stale: false,
        metrics: AdapterMetrics::default(),
        provenance: Provenance {
            base_files: base.files()?,
            versions: versions(),
            ..Provenance::default()
        },
        parity: None,
        created_at: OffsetDateTime::now_utc(),
    })
}

/// The file whose hash stands for a version.
fn weights_file(kind: AdapterKind) -> &'static str {
    match kind {
        AdapterKind::Lora => WEIGHTS,
        AdapterKind::Full => MODEL,
    }
}

fn versions() -> BTreeMap<String, String> {
    let own = env!("CARGO_PKG_VERSION").to_owned();
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    BTreeMap::from([("lore".to_owned(), own), ("system".to_owned(), system)])
}

fn metrics(run: &RunState) -> AdapterMetrics {
    AdapterMetrics {
        steps: run.result(),
        tokens: run.tokens,
        train_loss: run.train_loss,
        validation_loss: run.best_validation_loss.or(run.validation_loss),
        first_validation_loss: run.first_validation_loss,
        seconds: run.seconds,
        peak_memory_bytes: crate::memory::peak(),
    }
}

fn trained_on(report: &lore_types::DatasetReport) -> TrainedOn {
    TrainedOn {
        filename: report.filename.clone(),
        role: report.role.clone(),
        sha256: report.sha256.clone(),
        weight: report.weight,
        examples: report.examples,
        document_versions: Vec::new(),
    }
}

/// Gives a staged version its number and its place: `adapters/NAME/NUMBER`. Call with [`State::registering`] held, and
/// register right after.
///
/// # Errors
/// Names the file that cannot be written.
pub(crate) async fn place(state: &State, staged: Staged) -> Result<NewAdapterVersion, PlaceError> {
    let folder = staged.folder.clone();
    let placed = placed(state, staged).await?;
    let (target, done) = (
        state.data_dir.join(&placed.version.path),
        placed.version.clone(),
    );
    let put = tokio::task::spawn_blocking(move || put(&folder, &target, &done)).await;
    put.map_err(|error| RunError::Request(error.to_string()))??;
    Ok(placed)
}

/// A staged version with its number and its place, whether it lies there already or not.
///
/// # Errors
/// Where the catalog does not answer.
pub(crate) async fn placed(state: &State, staged: Staged) -> Result<NewAdapterVersion, PlaceError> {
    let mut version = staged.version;
    version.version = state.catalog.next_adapter_version(&version.adapter).await?;
    let path = Path::new("adapters")
        .join(&version.adapter)
        .join(version.version.to_string());
    version.path = path.to_string_lossy().into_owned();
    Ok(NewAdapterVersion { version })
}

/// Why a version cannot be put into its place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fn put(folder: &Path, target: &Path, version: &AdapterVersion) -> Result<(), RunError> {
    let provenance =
        serde_json::to_vec_pretty(version).map_err(|error| RunError::Request(error.to_string()))?;
    write_whole(&folder.join("provenance.json"), &provenance)?;
    write_whole(&folder.join("README.md"), card(version).as_bytes())?;
    sync_folder(folder)?;
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(file("make", parent))?;
    // What lies under a number that was never registered is left from a registration that was cut off.
    forget(target)?;
    fs::rename(folder, target).map_err(file("name", target))?;
    sync_folder(parent)
}

/// Refuses a version whose weights are not those that were registered.
///
/// # Errors
/// [`ModelError::Damaged`] with the file.
pub(crate) fn intact(data_dir: &Path, version: &AdapterVersion) -> Result<PathBuf, RunError> {
    let folder = data_dir.join(&version.path);
    let weights = folder.join(weights_file(version.kind));
    let sum = sha256(&weights)?;
    if sum == version.sha256 {
        return Ok(folder);
    }
    Err(ModelError::Damaged {
        path: weights,
        problem: format!(
            "adapter `{}` on base `{}` was registered with SHA-256 {:.12}…, but the file has {sum:.12}…",
            version.reference(),
            version.base,
            version.sha256
        ),
    }
    .into())
}

/// An empty folder.
///
/// # Errors
/// Names it.
pub(crate) fn fresh(folder: &Path) -> Result<PathBuf, RunError> {
    forget(folder)?;
    fs::create_dir_all(folder).map_err(file("make", folder))?;
    Ok(folder.to_owned())
}

/// Deletes a folder that may not be there.
///
/// # Errors
/// Names it.
pub(crate) fn forget(folder: &Path) -> Result<(), RunError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("delete", folder)(error))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), RunError> {
    fs::copy(from, to).map_err(file("copy", from))?;
    let copied = fs::File::open(to).map_err(file("open", to))?;
    copied.sync_all().map_err(file("sync", to))
}
