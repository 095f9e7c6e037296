use crate::error::{refused, run_failure};
use crate::http::adapters::base_path;
use crate::http::archive;
use crate::registry::{forget, fresh, intact, staging};
use crate::run::RunError;
use crate::state::State;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lore_http::{ApiFailure, ErrorCode, Params, Segments};
use lore_model::export::{self, GgufType};
use lore_model::{Adapter, Decoder, Device, Source};
use lore_types::{AdapterKind, AdapterReference, AdapterVersion, ErrorBody};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

/// The form that an adapter is exported in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExportFormat {
    /// PEFT's folder, as a tar archive.
    #[default]
    Peft,
    /// Base and adapter in one folder of safetensors, as a tar archive.
    Merged,
    /// Base and adapter in one GGUF file.
    Gguf,
}

/// What to export.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Export {
    /// The version; the promoted one where absent, or else the newest.
    version: Option<u32>,
    /// The form.
    #[serde(default)]
    #[param(inline)]
    format: ExportFormat,
    /// Of a GGUF file: `f16` or `q8_0`.
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Export a version of an adapter.
#[utoipa::path(
    get, path = "/v1/adapters/{name}/export", tag = "adapters",
    params(("name" = String, Path, description = "Its name"), Export),
    responses(
        (status = 200, description = "A tar archive, or the GGUF file", content_type = "application/octet-stream"),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "Its files are damaged", body = ErrorBody),
    )
)]
pub(crate) async fn export_adapter(
    Shared(state): Shared<Arc<State>>,
    Segments(name): Segments<String>,
    Params(export): Params<Export>,
) -> Result<Response, ApiFailure> {
    let reference = AdapterReference {
        name,
        version: export.version,
    };
    let version = state
        .catalog
        .adapter_version(&reference)
        .await
        .map_err(refused)?;
    let made = Export {
        version: Some(version.version),
        ..export
    };
    let work = make(&state, version, &made)?;
    let file = tokio::task::spawn_blocking(work).await;
    file.map_err(|error| ApiFailure::internal(&error))?
        .map_err(|error| run_failure(&error))?
        .sent()
        .await
}

/// What an export gives.
enum Exported {
    /// A folder that stays.
    Folder(PathBuf, String),
    /// A folder that was made for this export.
    Made(PathBuf, String),
    /// A file that was made for this export.
    File(PathBuf, String),
}

/// The work of an export; it blocks.
fn make(
    state: &State,
    version: AdapterVersion,
    export: &Export,
) -> Result<impl FnOnce() -> Result<Exported, RunError> + Send + use<>, ApiFailure> {
    let kind = gguf_type(export.kind.as_deref())?;
    let (data_dir, format) = (state.data_dir.clone(), export.format);
    let full = version.kind == AdapterKind::Full;
    if full && format == ExportFormat::Peft {
        let message = format!("`{}` is a whole model and no adapter", version.reference());
        return Err(
            ApiFailure::new(ErrorCode::Conflict, message).hint("export it as `merged` or `gguf`")
        );
    }
    let base = if full || format == ExportFormat::Peft {
        None
    } else {
        Some(base_path(state, &version)?)
    };
    Ok(move || {
        let folder = intact(&data_dir, &version)?;
        let name = format!("{}-{}", version.adapter, version.version);
        let out = staging(
            &data_dir,
            &format!("export-{}", uuid::Uuid::now_v7().simple()),
        );
        let (source, adapter) = opened(&folder, &version, base.as_deref())?;
        match (format, source) {
            (ExportFormat::Merged, Some(source)) if !full => {
                export::merged(&source, adapter.as_ref(), &out)?;
                Ok(Exported::Made(out, name))
            }
            (ExportFormat::Gguf, Some(source)) => {
                fresh(&out)?;
                let file = out.join("model.gguf");
                export::gguf(&source, adapter.as_ref(), kind, &file)?;
                Ok(Exported::File(file, format!("{name}.gguf")))
            }
            _ => Ok(Exported::Folder(folder, name)),
        }
    })
}

/// The base of a version and its adapter, where an export computes with them; a whole model is its own base.
fn opened(
    folder: &Path,
    version: &AdapterVersion,
    base: Option<&Path>,
) -> Result<(Option<Source>, Option<Adapter>), RunError> {
    if version.kind == AdapterKind::Full {
        return Ok((Some(Source::open(folder)?), None));
    }
    let Some(base) = base else {
        return Ok((None, None));
    };
    let source = Source::open(base)?;
    let decoder = Decoder::load(&source, None, 1, &Device::Cpu)?;
    let name = version.reference().to_string();
    let adapter = Adapter::load(folder, &decoder, &name, &version.base)?;
    Ok((Some(source), Some(adapter)))
}

fn gguf_type(asked: Option<&str>) -> Result<GgufType, ApiFailure> {
    match asked {
        None | Some("f16") => Ok(GgufType::F16),
        Some("q8_0") => Ok(GgufType::Q8_0),
        Some(other) => {
            let message = format!("`type` is `{other}`, but must be `f16` or `q8_0`");
            Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("type"))
        }
    }
}

impl Exported {
    async fn sent(self) -> Result<Response, ApiFailure> {
        match self {
            Self::Folder(folder, name) => Ok(sent(
                &format!("{name}.tar"),
                archive::stream(folder, name, false),
            )),
            Self::Made(folder, name) => Ok(sent(
                &format!("{name}.tar"),
                archive::stream(folder, name, true),
            )),
            Self::File(path, name) => {
                let opened = tokio::fs::File::open(&path).await;
                let opened = opened.map_err(|error| ApiFailure::internal(&error))?;
                // The open file stays readable; its name can go.
                if let Some(folder) = path.parent() {
                    forget(folder).map_err(|error| run_failure(&error))?;
                }
                Ok(sent(&name, Body::from_stream(ReaderStream::new(opened))))
            }
        }
    }
}

fn sent(name: &str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, body).into_response()
}
