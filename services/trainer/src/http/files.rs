use crate::error::refused;
use crate::http::{form, id, limit, list};
use crate::state::State;
use axum::Json;
use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{Multipart, State as Shared};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lore_catalog::{FileQuery, StoredFile, StoredOriginal};
use lore_http::{ApiFailure, ErrorCode, Params, Segments};
use lore_types::{Deleted, ErrorBody, File, FileId, FilePurpose, List};
use serde::Deserialize;
use std::sync::Arc;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

/// A file sent as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the form in the documentation")]
pub(crate) struct UploadFile {
    /// JSON Lines or a JSON array of examples: alpaca, ShareGPT, OpenAI messages, or `{"text"}`.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// `fine-tune`.
    purpose: String,
}

/// Which files.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilePage {
    /// Only those for this.
    #[param(inline)]
    purpose: Option<FilePurpose>,
    /// At most this many; 100 where absent.
    limit: Option<u32>,
    /// Only those older than the file with this id.
    after: Option<String>,
}

/// Upload a file of examples. It is on disk when the answer comes; a job checks what is in it.
#[utoipa::path(
    post, path = "/v1/files", tag = "fine-tuning",
    request_body(content((UploadFile = "multipart/form-data"))),
    responses(
        (status = 200, description = "The file", body = File),
        (status = 400, description = "The form or the purpose is wrong", body = ErrorBody),
        (status = 413, description = "Too many bytes", body = ErrorBody),
    )
)]
pub(crate) async fn upload_file(
    Shared(state): Shared<Arc<State>>,
    mut parts: Multipart,
) -> Result<Json<File>, ApiFailure> {
    let mut sent = Sent::default();
    let mut failed = None;
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|error| form::broken(&error))?
    {
        // The rest of a form is read to its end, so that the client hears the answer and not a broken connection.
        if failed.is_none() {
            failed = sent.take(&state, part).await.err();
        }
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    let (name, original) = sent.file.ok_or_else(|| {
        form::missing(
            "file",
            "send it with `curl -F purpose=fine-tune -F file=@examples.jsonl`",
        )
    })?;
    if !sent.fine_tune {
        return Err(form::missing("purpose", "send `purpose` = `fine-tune`"));
    }
    let stored = state
        .catalog
        .add_file(&name, FilePurpose::FineTune, &original)
        .await;
    Ok(Json(stored.map_err(refused)?.file))
}

/// What a form held.
#[derive(Default)]
struct Sent {
    file: Option<(String, StoredOriginal)>,
    fine_tune: bool,
}

impl Sent {
    async fn take(&mut self, state: &State, part: Field<'_>) -> Result<(), ApiFailure> {
        match part.name().unwrap_or_default() {
            "file" => {
                let name = part.file_name().unwrap_or("without a name").to_owned();
                self.file = Some((name, keep(state, part).await?));
                Ok(())
            }
            "purpose" => {
                let purpose = form::text(part).await?;
                self.fine_tune = purpose == "fine-tune";
                if self.fine_tune {
                    return Ok(());
                }
                let message =
                    format!("`purpose` is `{purpose}`, but only `fine-tune` is supported");
                Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("purpose"))
            }
            // OpenAI's clients may send it; files of Lore stay until they are deleted.
            "expires_after" | "expires_after[anchor]" | "expires_after[seconds]" => {
                let message = "files do not expire; delete them when they are no longer needed";
                Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("expires_after"))
            }
            other => Err(form::unknown(other, "`file` and `purpose`")),
        }
    }
}

/// Writes a file to disk as it comes.
async fn keep(state: &State, mut part: Field<'_>) -> Result<StoredOriginal, ApiFailure> {
    let mut writer = state.originals.writer().await.map_err(refused)?;
    while let Some(bytes) = part.chunk().await.map_err(|error| form::broken(&error))? {
        writer.write(&bytes).await.map_err(refused)?;
    }
    writer.finish().await.map_err(refused)
}

/// List files, newest first.
#[utoipa::path(
    get, path = "/v1/files", tag = "fine-tuning", params(FilePage),
    responses((status = 200, description = "A page of files", body = List<File>))
)]
pub(crate) async fn list_files(
    Shared(state): Shared<Arc<State>>,
    Params(page): Params<FilePage>,
) -> Result<Json<List<File>>, ApiFailure> {
    let query = FileQuery {
        purpose: page.purpose,
        after: page
            .after
            .map(|after| id(&after, "file", ErrorCode::NotFound))
            .transpose()?,
        limit: limit(page.limit, 100)?,
    };
    let found = state.catalog.files(&query).await.map_err(refused)?;
    Ok(Json(list(found.items, found.has_more, |one| {
        one.id.to_string()
    })))
}

/// One file.
#[utoipa::path(
    get, path = "/v1/files/{file}", tag = "fine-tuning",
    params(("file" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The file", body = File),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_file(
    Shared(state): Shared<Arc<State>>,
    Segments(file): Segments<String>,
) -> Result<Json<File>, ApiFailure> {
    Ok(Json(stored(&state, &file).await?.file))
}

async fn stored(state: &State, file: &str) -> Result<StoredFile, ApiFailure> {
    let file: FileId = id(file, "file", ErrorCode::NotFound)?;
    state.catalog.file(file).await.map_err(refused)
}

/// The bytes of a file.
#[utoipa::path(
    get, path = "/v1/files/{file}/content", tag = "fine-tuning",
    params(("file" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "Its bytes", content_type = "application/octet-stream"),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn file_content(
    Shared(state): Shared<Arc<State>>,
    Segments(file): Segments<String>,
) -> Result<Response, ApiFailure> {
    let stored = stored(&state, &file).await?;
    let opened = tokio::fs::File::open(state.originals.path(&stored.hash)).await;
    let opened = opened.map_err(|error| ApiFailure::internal(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, stored.file.bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(opened))).into_response())
}

/// Delete a file. A file that a job still needs is not deleted.
#[utoipa::path(
    delete, path = "/v1/files/{file}", tag = "fine-tuning",
    params(("file" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "It is gone", body = Deleted),
        (status = 404, description = "It is not there", body = ErrorBody),
        (status = 409, description = "A job needs it", body = ErrorBody),
    )
)]
pub(crate) async fn delete_file(
    Shared(state): Shared<Arc<State>>,
    Segments(file): Segments<String>,
) -> Result<Json<Deleted>, ApiFailure> {
    let file: FileId = id(&file, "file", ErrorCode::NotFound)?;
    let gone = state.catalog.delete_file(file).await.map_err(refused)?;
    let collected = state.originals.collect(&state.catalog, &[gone.hash]).await;
    collected.map_err(refused)?;
    Ok(Json(Deleted {
        id: file.to_string(),
        deleted: true,
    }))
}
