use crate::{Client, ClientError};
use reqwest::Response;
use std::path::Path;
use tokio::io::AsyncWriteExt;

impl Client {
    /// Writes an answer's body to a file, and returns its length. The file appears under its name only when it is whole.
    pub(crate) async fn save(&self, response: Response, to: &Path) -> Result<u64, ClientError> {
        let partial = to.with_added_extension("part");
        let written = self.write(response, &partial).await?;
        let moved = tokio::fs::rename(&partial, to).await;
        moved.map_err(|source| ClientError::File {
            path: to.to_owned(),
            source,
        })?;
        Ok(written)
    }

    async fn write(&self, mut response: Response, to: &Path) -> Result<u64, ClientError> {
        let failed = |source| ClientError::File {
            path: to.to_owned(),
            source,
        };
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut written = 0;
        while let Some(bytes) = response
            .chunk()
            .await
            .map_err(|source| self.unreachable(source))?
        {
            file.write_all(&bytes).await.map_err(failed)?;
            written += bytes.len() as u64;
        }
        file.sync_all().await.map_err(failed)?;
        Ok(written)
    }
}
