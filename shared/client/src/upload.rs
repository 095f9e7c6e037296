use crate::client::read_json;
use crate::{Client, ClientError};
use lore_types::{Metadata, Uploaded};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

/// One file to be sent.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The file.
    pub path: PathBuf,
    /// The name of the document in its collection.
    pub name: String,
    /// What is said of it.
    pub metadata: Option<Metadata>,
}

/// A text to be sent as a document.
#[derive(Clone, Debug, Serialize)]
pub struct TextUpload {
    /// The name of the document in its collection.
    pub name: String,
    /// The text.
    pub text: String,
    /// `text`, `markdown` or `html`; told from the name where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

impl Client {
    /// Sends one file, read from disk while it is sent, again after a wait where the server's queue is full.
    ///
    /// # Errors
    /// See [`ClientError`]; a file that cannot be read is [`ClientError::File`].
    pub async fn upload(&self, collection: &str, upload: &Upload) -> Result<Uploaded, ClientError> {
        let mut attempt = 0;
        loop {
            let error = match self.upload_once(collection, upload).await {
                Ok(uploaded) => return Ok(uploaded),
                Err(error) => error,
            };
            let Some(wait) = self.wait(&error, attempt) else {
                return Err(error);
            };
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends one text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn upload_text(
        &self,
        collection: &str,
        text: &TextUpload,
    ) -> Result<Uploaded, ClientError> {
        self.post(&["v1", "collections", collection, "documents"], text)
            .await
    }

    async fn upload_once(
        &self,
        collection: &str,
        upload: &Upload,
    ) -> Result<Uploaded, ClientError> {
        // The form is built for every try: a stream that was read is gone.
        let form = form(upload).await?;
        let request = self.request(
            Method::POST,
            &["v1", "collections", collection, "documents"],
            &[],
        );
        read_json(self.send_once(request.multipart(form)).await?).await
    }

    pub(crate) fn wait(&self, error: &ClientError, attempt: u32) -> Option<Duration> {
        crate::client::wait_before_retry(error, attempt).filter(|_| attempt < self.retries())
    }
}

async fn form(upload: &Upload) -> Result<Form, ClientError> {
    let mut form = Form::new();
    if let Some(metadata) = &upload.metadata {
        form = form.text(
            "metadata",
            serde_json::Value::Object(metadata.clone()).to_string(),
        );
    }
    let part = file_part(&upload.path)
        .await?
        .file_name(file_name(&upload.path));
    Ok(form.text("name", upload.name.clone()).part("file", part))
}

pub(crate) async fn file_part(path: &Path) -> Result<Part, ClientError> {
    let failed = |source| ClientError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    Ok(Part::stream_with_length(
        Body::wrap_stream(ReaderStream::new(file)),
        length,
    ))
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
