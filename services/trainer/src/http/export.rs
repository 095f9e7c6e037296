use crate::error::{refused, run_failure};
use crate::http::archive;
use crate::registry::intact;
use crate::state::State;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lore_http::{ApiFailure, ErrorCode, Params, Segments};
use lore_types::{AdapterReference, ErrorBody};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The form that an adapter is exported in.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
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
    let (data_dir, owned) = (state.data_dir.clone(), version.clone());
    let folder = tokio::task::spawn_blocking(move || intact(&data_dir, &owned)).await;
    let folder = folder.map_err(|error| ApiFailure::internal(&error))?;
    let folder = folder.map_err(|error| run_failure(&error))?;
    let name = format!("{}-{}", version.adapter, version.version);
    match export.format {
        ExportFormat::Peft => Ok(sent(
            &format!("{name}.tar"),
            archive::stream(folder, name.clone()),
        )),
        ExportFormat::Merged | ExportFormat::Gguf => {
            let message = format!(
                "exporting as {:?} {} is not supported yet",
                export.format,
                export.kind.unwrap_or_default()
            );
            Err(ApiFailure::new(ErrorCode::InvalidRequest, message.to_lowercase()).param("format"))
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
