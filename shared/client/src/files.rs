use crate::client::read_json;
use crate::upload::{file_name, file_part};
use crate::{Client, ClientError};
use lore_types::{File, List};
use reqwest::Method;
use reqwest::multipart::Form;
use std::path::Path;

impl Client {
    /// Sends a file of examples, read from disk while it is sent, again after a wait where the server is full.
    ///
    /// # Errors
    /// See [`ClientError`]; a file that cannot be read is [`ClientError::File`].
    pub async fn upload_file(&self, path: &Path) -> Result<File, ClientError> {
        let mut attempt = 0;
        loop {
            let error = match self.upload_file_once(path).await {
                Ok(file) => return Ok(file),
                Err(error) => error,
            };
            let Some(wait) = self.wait(&error, attempt) else {
                return Err(error);
            };
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn upload_file_once(&self, path: &Path) -> Result<File, ClientError> {
        let part = file_part(path).await?.file_name(file_name(path));
        let form = Form::new().text("purpose", "fine-tune").part("file", part);
        let request = self.request(Method::POST, &["v1", "files"], &[]);
        read_json(self.send_once(request.multipart(form)).await?).await
    }

    /// The files of examples and of results.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn files(&self) -> Result<List<File>, ClientError> {
        self.get(&["v1", "files"], &[]).await
    }
}
