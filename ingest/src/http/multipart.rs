//! Reading a form part by part, files straight to disk.

use crate::error::refused;
use crate::http::upload::{long_body, long_document};
use crate::http::{check, file_name};
use crate::state::State;
use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use lore_catalog::{NewVersion, StoredOriginal};
use lore_http::{ApiFailure, ErrorCode, exceeds_limit};
use lore_types::{DocumentFormat, Metadata, Refused};

/// Bytes of the largest part that is not a file.
const MAX_FIELD: usize = 64 << 10;

/// What a form held.
#[derive(Default)]
struct Form {
    files: Vec<Sent>,
    metadata: Metadata,
    name: Option<String>,
    format: Option<DocumentFormat>,
}

/// A file that is on disk, or why it is not.
struct Sent {
    name: Option<String>,
    media_type: Option<String>,
    kept: Result<StoredOriginal, ApiFailure>,
}

/// Reads a form; its files are on disk afterwards, but for those that are refused one by one. Where the form as a whole is
/// wrong, the rest of it is read to its end, so that the client hears the answer and not a broken connection.
pub(crate) async fn read(
    state: &State,
    mut parts: Multipart,
) -> Result<(Vec<NewVersion>, Vec<Refused>), ApiFailure> {
    let mut form = Form::default();
    let mut failed: Option<ApiFailure> = None;
    loop {
        let part = match parts.next_field().await {
            Ok(Some(part)) => part,
            Ok(None) => break,
            Err(error) => return Err(failed.unwrap_or_else(|| broken(state, &error))),
        };
        if failed.is_none()
            && let Err(failure) = form.take(state, part).await
        {
            failed = Some(failure);
        }
    }
    failed.map_or_else(|| form.versions(), Err)
}

impl Form {
    async fn take(&mut self, state: &State, part: Field<'_>) -> Result<(), ApiFailure> {
        match part.name().unwrap_or_default() {
            "file" | "files" | "file[]" | "files[]" => self.take_file(state, part).await,
            "metadata" => {
                let text = field(state, part).await?;
                self.metadata = parse_metadata(&text)?;
                Ok(())
            }
            "name" => {
                self.name = Some(field(state, part).await?);
                Ok(())
            }
            "format" => {
                let word = field(state, part).await?;
                self.format = Some(parse_format(&word)?);
                Ok(())
            }
            other => Err(unknown(other)),
        }
    }

    async fn take_file(&mut self, state: &State, part: Field<'_>) -> Result<(), ApiFailure> {
        let limit = state.settings.max_files;
        if self.files.len() >= limit {
            return Err(ApiFailure::new(
                ErrorCode::TooManyFiles,
                format!("the form has more than {limit} files"),
            )
            .hint("send them in several requests, or raise `server.max_files_per_upload`"));
        }
        let name = file_name::of(&part);
        let media_type = part.content_type().map(str::to_owned);
        let kept = keep(state, part, name.as_deref().unwrap_or("without a name")).await?;
        self.files.push(Sent {
            name,
            media_type,
            kept,
        });
        Ok(())
    }

    /// What can be accepted, and what cannot.
    ///
    /// # Errors
    /// What is wrong with the whole form; the first refusal where no file is left.
    fn versions(self) -> Result<(Vec<NewVersion>, Vec<Refused>), ApiFailure> {
        if self.files.is_empty() {
            return Err(ApiFailure::new(ErrorCode::InvalidRequest, "the form has no part `file`")
                .hint("send each document as a part named `file`, for example with `curl -F file=@report.pdf`"));
        }
        if self.name.is_some() && self.files.len() > 1 {
            let message = format!(
                "the part `name` names one document, but there are {} files",
                self.files.len()
            );
            return Err(ApiFailure::new(ErrorCode::InvalidRequest, message).param("name"));
        }
        check::metadata(&self.metadata)?;
        let (mut versions, mut refused, mut first) = (Vec::new(), Vec::new(), None);
        for sent in self.files {
            let name = self.name.clone().or(sent.name).unwrap_or_default();
            match check::document_name(&name).and(sent.kept) {
                Ok(original) => versions.push(NewVersion {
                    name,
                    original,
                    media_type: sent.media_type,
                    declared: self.format.map(|format| format.word().to_owned()),
                    metadata: self.metadata.clone(),
                }),
                Err(failure) => {
                    let error = failure.error().clone();
                    refused.push(Refused { name, error });
                    first.get_or_insert(failure);
                }
            }
        }
        match first {
            Some(failure) if versions.is_empty() => Err(failure),
            _ => Ok((versions, refused)),
        }
    }
}

/// Writes a file to disk as it comes. The inner error concerns this file alone.
async fn keep(
    state: &State,
    mut part: Field<'_>,
    name: &str,
) -> Result<Result<StoredOriginal, ApiFailure>, ApiFailure> {
    let mut writer = state.originals.writer().await.map_err(refused)?;
    while let Some(bytes) = part.chunk().await.map_err(|error| broken(state, &error))? {
        if writer.bytes() + bytes.len() as u64 > state.settings.max_document {
            return Ok(Err(long_document(state, name)));
        }
        writer.write(&bytes).await.map_err(refused)?;
    }
    writer.finish().await.map(Ok).map_err(refused)
}

/// The text of a part that is not a file.
async fn field(state: &State, mut part: Field<'_>) -> Result<String, ApiFailure> {
    let name = part.name().unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    while let Some(some) = part.chunk().await.map_err(|error| broken(state, &error))? {
        if bytes.len() + some.len() > MAX_FIELD {
            let message = format!("the part `{name}` has more than {MAX_FIELD} bytes");
            return Err(ApiFailure::new(ErrorCode::BodyTooLarge, message).param(name));
        }
        bytes.extend_from_slice(&some);
    }
    String::from_utf8(bytes).map_err(|_| {
        ApiFailure::new(
            ErrorCode::InvalidRequest,
            format!("the part `{name}` is not UTF-8"),
        )
        .param(name)
    })
}

fn parse_metadata(text: &str) -> Result<Metadata, ApiFailure> {
    serde_json::from_str(text).map_err(|error| {
        ApiFailure::new(
            ErrorCode::InvalidMetadata,
            format!("the part `metadata` is not a JSON object: {error}"),
        )
        .param("metadata")
    })
}

fn parse_format(word: &str) -> Result<DocumentFormat, ApiFailure> {
    serde_json::from_value(serde_json::Value::from(word.trim())).map_err(|_| {
        ApiFailure::new(
            ErrorCode::InvalidRequest,
            format!("`{word}` is not a format"),
        )
        .hint("text, markdown, html, pdf and docx are")
        .param("format")
    })
}

fn unknown(name: &str) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::InvalidRequest,
        format!("the form has an unknown part `{name}`"),
    )
    .hint("the parts are `file` (repeated), `metadata`, `name` and `format`")
    .param(name)
}

/// What is wrong with a form that cannot be read on.
fn broken(state: &State, error: &MultipartError) -> ApiFailure {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE || exceeds_limit(error) {
        return long_body(state);
    }
    ApiFailure::new(
        ErrorCode::InvalidRequest,
        format!("the form cannot be read: {}", error.body_text()),
    )
    .hint("the connection may have broken off; send it again")
}
