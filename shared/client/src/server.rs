use crate::{Client, ClientError};
use lore_types::IndexReport;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `/readyz` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// `ready`, `loading` or `failed`.
    pub status: String,
    /// What is still to come, or what went wrong.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// The server's version.
    #[serde(default)]
    pub version: String,
}

impl Client {
    /// Whether every part of the server is loaded; a server that is still loading is an answer here, not an error.
    ///
    /// # Errors
    /// Where no server answers, or one that is not Lore.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let request = self.request(Method::GET, &["readyz"], &[]);
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        crate::client::read_json(response).await
    }

    /// Models that the server offers, in OpenAI's shape.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn served_models(&self) -> Result<Value, ClientError> {
        self.get(&["v1", "models"], &[]).await
    }

    /// Compares catalog and indexes, of one collection or of all, and mends what differs where `repair` is set.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn verify_index(
        &self,
        collection: Option<&str>,
        repair: bool,
    ) -> Result<IndexReport, ClientError> {
        let body = serde_json::json!({"collection": collection, "repair": repair});
        self.post(&["v1", "index", "verify"], &body).await
    }
}
