use crate::client::read_json;
use crate::{Client, ClientError};
use lore_types::{Collection, Deleted, List};
use reqwest::Method;
use serde::Serialize;

/// Collections asked for at a time: the most that the API gives.
const PAGE: u32 = 1_000;

/// A collection to be made.
#[derive(Clone, Debug, Serialize)]
pub struct NewCollection {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The catalogue name of its embedder; the server's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<String>,
}

impl Client {
    /// Every collection, by name, read page by page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn collections(&self) -> Result<List<Collection>, ClientError> {
        let mut all: Vec<Collection> = Vec::new();
        loop {
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(all.last().map(|last| ("after", last.name.clone())));
            let page: List<Collection> = self.get(&["v1", "collections"], &query).await?;
            let over = !page.has_more || page.data.is_empty();
            all.extend(page.data);
            if over {
                return Ok(List::whole(all));
            }
        }
    }

    /// One collection.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn collection(&self, name: &str) -> Result<Collection, ClientError> {
        self.get(&["v1", "collections", name], &[]).await
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_collection(&self, new: &NewCollection) -> Result<Collection, ClientError> {
        self.post(&["v1", "collections"], new).await
    }

    /// Names the adapter that answers a collection's questions where none is asked for; `None` for the base model.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_default_adapter(
        &self,
        collection: &str,
        adapter: Option<&str>,
    ) -> Result<Collection, ClientError> {
        let body = serde_json::json!({"default_adapter": adapter});
        let path = ["v1", "collections", collection];
        let response = self
            .send(|| self.request(Method::PATCH, &path, &[]).json(&body))
            .await?;
        read_json(response).await
    }

    /// Deletes a collection and all that is in it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_collection(&self, name: &str) -> Result<Deleted, ClientError> {
        self.delete(&["v1", "collections", name]).await
    }
}
