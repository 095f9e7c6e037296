use crate::base::Base;
use crate::error::{refused, run_failure, unusable};
use crate::http::form;
use crate::registry::{
    self, CONFIG, PlaceError, Staged, WEIGHTS, fresh, intact, stage_import, staging,
};
use crate::run::chain;
use crate::state::State;
use crate::submit::is_name;
use axum::Json;
use axum::extract::multipart::Field;
use axum::extract::{Multipart, State as Shared};
use lore_catalog::CatalogError;
use lore_http::{ApiFailure, ErrorCode, Params, Segments};
use lore_model::ModelError;
use lore_types::{
    Adapter, AdapterKind, AdapterReference, AdapterVersion, Deleted, ErrorBody, List, ParityReport,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use utoipa::{IntoParams, ToSchema};

/// What to promote.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromoteAdapter {
    /// The version; the newest where absent.
    pub version: Option<u32>,
    /// Promote also a version whose documents have changed since. The parity check is never skipped.
    pub force: bool,
}

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OneVersion {
    /// The version; all where absent.
    version: Option<u32>,
}

/// PEFT's files sent as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the form in the documentation")]
pub(crate) struct ImportAdapter {
    /// The adapter's name.
    name: String,
    /// The base model that it was trained on.
    base: String,
    /// `adapter_config.json` and `adapter_model.safetensors`, each as a part named `file` or after itself.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<u8>,
}

/// Every adapter with its versions, by name.
#[utoipa::path(
    get, path = "/v1/adapters", tag = "adapters",
    responses((status = 200, description = "All adapters", body = List<Adapter>))
)]
pub(crate) async fn list_adapters(
    Shared(state): Shared<Arc<State>>,
) -> Result<Json<List<Adapter>>, ApiFailure> {
    let all = state.catalog.adapters().await.map_err(refused)?;
    Ok(Json(List::whole(all)))
}

/// One adapter: versions, the promoted one, lineage, metrics, provenance.
#[utoipa::path(
    get, path = "/v1/adapters/{name}", tag = "adapters",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The adapter", body = Adapter),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_adapter(
    Shared(state): Shared<Arc<State>>,
    Segments(name): Segments<String>,
) -> Result<Json<Adapter>, ApiFailure> {
    state
        .catalog
        .adapter(&name)
        .await
        .map(Json)
        .map_err(refused)
}

/// Serve a version under the adapter's bare name, after a parity check: what is served must be what was trained.
#[utoipa::path(
    post, path = "/v1/adapters/{name}/promote", tag = "adapters",
    params(("name" = String, Path, description = "Its name")),
    request_body = PromoteAdapter,
    responses(
        (status = 200, description = "The adapter", body = Adapter),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "Its files are damaged, its base is another, or the parity check failed", body = ErrorBody),
    )
)]
pub(crate) async fn promote_adapter(
    Shared(state): Shared<Arc<State>>,
    Segments(name): Segments<String>,
    body: axum::body::Bytes,
) -> Result<Json<Adapter>, ApiFailure> {
    let asked = promotion(&body)?;
    let adapter = state.catalog.adapter(&name).await.map_err(refused)?;
    let number = asked
        .version
        .or(adapter.versions.last().map(|newest| newest.version));
    let reference = AdapterReference {
        name: name.clone(),
        version: number,
    };
    let version = number.and_then(|number| adapter.version(number));
    let version = version.ok_or_else(|| refused(CatalogError::NoAdapter(reference.to_string())))?;
    if version.stale && !asked.force {
        let message = format!(
            "documents that adapter `{reference}` was trained on have changed or gone since"
        );
        return Err(ApiFailure::new(ErrorCode::Conflict, message)
            .hint("train it again, or send `force`: true"));
    }
    pass_gate(&state, version).await?;
    let promoted = state
        .catalog
        .promote_adapter(&name, version.version, false)
        .await;
    promoted.map(Json).map_err(refused)
}

/// An empty body asks for the newest version.
fn promotion(body: &[u8]) -> Result<PromoteAdapter, ApiFailure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(PromoteAdapter::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the JSON body is wrong: {error}");
        ApiFailure::new(ErrorCode::InvalidJson, message)
    })
}

/// Go back to the version that was promoted before, after a parity check of it.
#[utoipa::path(
    post, path = "/v1/adapters/{name}/rollback", tag = "adapters",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The adapter", body = Adapter),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "Nothing was promoted before, or the parity check failed", body = ErrorBody),
    )
)]
pub(crate) async fn rollback_adapter(
    Shared(state): Shared<Arc<State>>,
    Segments(name): Segments<String>,
) -> Result<Json<Adapter>, ApiFailure> {
    let number = state
        .catalog
        .earlier_promotion(&name)
        .await
        .map_err(refused)?;
    let reference = AdapterReference {
        name: name.clone(),
        version: Some(number),
    };
    let version = state
        .catalog
        .adapter_version(&reference)
        .await
        .map_err(refused)?;
    pass_gate(&state, &version).await?;
    let promoted = state.catalog.promote_adapter(&name, number, true).await;
    promoted.map(Json).map_err(refused)
}

/// Refuses a version whose files are damaged, whose base is another, or that is not served as it was trained.
async fn pass_gate(state: &Arc<State>, version: &AdapterVersion) -> Result<(), ApiFailure> {
    let reference = version.reference();
    // Loaded anew, from disk, as a server does: a base in memory may be older than its file.
    let path = match version.kind {
        AdapterKind::Full => state.data_dir.join(&version.path),
        AdapterKind::Lora => base_path(state, version)?,
    };
    let (owned, data_dir) = (version.clone(), state.data_dir.clone());
    let (threads, device) = (state.settings.threads, state.settings.device);
    let work = move || {
        let base = Base::load(&owned.base, &path, threads, device);
        check(&data_dir, &owned, base)
    };
    let report = tokio::task::spawn_blocking(work).await;
    let report = report.map_err(|error| ApiFailure::internal(&error))??;
    let noted = state
        .catalog
        .note_parity(&version.adapter, version.version, &report)
        .await;
    noted.map_err(refused)?;
    if report.passed {
        return Ok(());
    }
    let message = format!(
        "adapter `{reference}` is not served as it was trained: logits on {} fixed prompts differ by {:.2e}, more than {:.2e}",
        report.prompts, report.max_difference, report.tolerance
    );
    Err(ApiFailure::new(ErrorCode::Conflict, message).hint(
        "its files or those of the base were changed after the training; train or import it again",
    ))
}

/// Where the base of a version lies.
pub(super) fn base_path(state: &State, version: &AdapterVersion) -> Result<PathBuf, ApiFailure> {
    (state.find_model)(&version.base).map_err(|message| {
        let reference = version.reference();
        let message = format!("the base of adapter `{reference}` cannot be used: {message}");
        ApiFailure::new(ErrorCode::ModelNotInstalled, message)
    })
}

fn check(
    data_dir: &Path,
    version: &AdapterVersion,
    base: Result<Base, ModelError>,
) -> Result<ParityReport, ApiFailure> {
    let folder = intact(data_dir, version).map_err(|error| run_failure(&error))?;
    let base = base.map_err(|error| unusable(&error))?;
    let name = version.reference().to_string();
    let full = version.kind == AdapterKind::Full;
    crate::parity::check(&folder, &base, &name, full).map_err(|error| unusable(&error))
}

/// Delete an adapter, or one version of it.
#[utoipa::path(
    delete, path = "/v1/adapters/{name}", tag = "adapters",
    params(("name" = String, Path, description = "Its name"), OneVersion),
    responses(
        (status = 200, description = "It is gone", body = Deleted),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "It is needed", body = ErrorBody),
    )
)]
pub(crate) async fn delete_adapter(
    Shared(state): Shared<Arc<State>>,
    Segments(name): Segments<String>,
    Params(one): Params<OneVersion>,
) -> Result<Json<Deleted>, ApiFailure> {
    let gone = state
        .catalog
        .delete_adapter(&name, one.version)
        .await
        .map_err(refused)?;
    for version in gone {
        let folder = state.data_dir.join(&version.path);
        if let Err(error) = registry::forget(&folder) {
            tracing::warn!(error = chain(&error), "the files of a deleted adapter stay");
        }
    }
    let reference = AdapterReference {
        name,
        version: one.version,
    };
    Ok(Json(Deleted {
        id: reference.to_string(),
        deleted: true,
    }))
}

/// Import PEFT's files as a new version. They must fit the base.
#[utoipa::path(
    post, path = "/v1/adapters", tag = "adapters",
    request_body(content((ImportAdapter = "multipart/form-data"))),
    responses(
        (status = 200, description = "The version", body = AdapterVersion),
        (status = 400, description = "The form is wrong", body = ErrorBody),
        (status = 409, description = "The files are damaged, or of another base", body = ErrorBody),
    )
)]
pub(crate) async fn import_adapter(
    Shared(state): Shared<Arc<State>>,
    parts: Multipart,
) -> Result<Json<AdapterVersion>, ApiFailure> {
    let folder = staging(&state.data_dir, &uuid::Uuid::now_v7().simple().to_string());
    let folder = fresh(&folder).map_err(|error| run_failure(&error))?;
    let imported = import(&state, &folder, parts).await;
    if imported.is_err() {
        // The reason of the refusal is worth more than that a folder stays.
        let _ = registry::forget(&folder);
    }
    imported.map(Json)
}

async fn import(
    state: &Arc<State>,
    folder: &Path,
    mut parts: Multipart,
) -> Result<AdapterVersion, ApiFailure> {
    let mut sent = Imported::default();
    let mut failed = None;
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|error| form::broken(&error))?
    {
        if failed.is_none() {
            failed = sent.take(folder, part).await.err();
        }
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    let (name, base) = sent.named(folder)?;
    let base = state
        .base(&base)
        .await
        .map_err(|message| ApiFailure::new(ErrorCode::ModelNotInstalled, message).param("base"))?;
    let path = folder.to_owned();
    let staged = tokio::task::spawn_blocking(move || stage_import(&path, &name, &base)).await;
    let staged = staged.map_err(|error| ApiFailure::internal(&error))?;
    register(state, staged.map_err(|error| run_failure(&error))?).await
}

async fn register(state: &State, staged: Staged) -> Result<AdapterVersion, ApiFailure> {
    let _alone = state.registering.lock().await;
    let placed = registry::place(state, staged)
        .await
        .map_err(|error| match error {
            PlaceError::Run(error) => run_failure(&error),
            PlaceError::Catalog(error) => refused(error),
        })?;
    state
        .catalog
        .register_adapter(&placed)
        .await
        .map_err(refused)
}

/// What a form held.
#[derive(Default)]
struct Imported {
    name: Option<String>,
    base: Option<String>,
}

impl Imported {
    async fn take(&mut self, folder: &Path, part: Field<'_>) -> Result<(), ApiFailure> {
        let field = part.name().unwrap_or_default().to_owned();
        let file = part.file_name().unwrap_or(&field).to_owned();
        match (field.as_str(), file.as_str()) {
            ("name", _) => self.name = Some(form::text(part).await?),
            ("base", _) => self.base = Some(form::text(part).await?),
            (_, CONFIG) => keep(&folder.join(CONFIG), part).await?,
            (_, WEIGHTS) => keep(&folder.join(WEIGHTS), part).await?,
            _ => {
                return Err(form::unknown(
                    &file,
                    "`name`, `base`, `adapter_config.json` and `adapter_model.safetensors`",
                ));
            }
        }
        Ok(())
    }

    fn named(self, folder: &Path) -> Result<(String, String), ApiFailure> {
        for file in [CONFIG, WEIGHTS] {
            if !folder.join(file).exists() {
                return Err(form::missing(file, "send both of PEFT's files"));
            }
        }
        let name = self
            .name
            .ok_or_else(|| form::missing("name", "name the adapter"))?;
        if !is_name(&name) {
            let message = format!(
                "`{name}` cannot be an adapter's name: 1–64 of a-z, A-Z, 0-9, _, - and ., not starting with a dot"
            );
            return Err(ApiFailure::new(ErrorCode::InvalidName, message).param("name"));
        }
        let base = self
            .base
            .ok_or_else(|| form::missing("base", "name the base model"))?;
        Ok((name, base))
    }
}

/// Writes a part to disk as it comes.
async fn keep(path: &Path, mut part: Field<'_>) -> Result<(), ApiFailure> {
    let cannot = |error: std::io::Error| {
        ApiFailure::new(
            ErrorCode::StorageFailed,
            "the upload cannot be kept on disk",
        )
        .cause(&error)
    };
    let path: PathBuf = path.to_owned();
    let mut file = tokio::fs::File::create(&path).await.map_err(cannot)?;
    while let Some(bytes) = part.chunk().await.map_err(|error| form::broken(&error))? {
        file.write_all(&bytes).await.map_err(cannot)?;
    }
    file.sync_all().await.map_err(cannot)
}
