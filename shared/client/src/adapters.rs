use crate::client::read_json;
use crate::upload::{file_name, file_part};
use crate::{Client, ClientError};
use lore_types::{Adapter, AdapterReference, AdapterVersion, Deleted, List};
use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::json;
use std::path::Path;

/// The forms that an adapter is exported in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterFormat {
    /// PEFT's folder, as a tar archive.
    Peft,
    /// Base and adapter in one folder of safetensors, as a tar archive.
    Merged,
    /// Base and adapter in one GGUF file.
    Gguf,
}

impl AdapterFormat {
    fn word(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Merged => "merged",
            Self::Gguf => "gguf",
        }
    }
}

/// What to export.
#[derive(Clone, Debug)]
pub struct AdapterExport {
    /// The adapter; without a version the promoted one.
    pub adapter: AdapterReference,
    /// The form.
    pub format: AdapterFormat,
    /// Of a GGUF file: `f16` or `q8_0`.
    pub kind: Option<String>,
}

/// The files of a PEFT folder that an import needs.
const PEFT_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

impl Client {
    /// Every adapter with its versions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn adapters(&self) -> Result<List<Adapter>, ClientError> {
        self.get(&["v1", "adapters"], &[]).await
    }

    /// One adapter with its versions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn adapter(&self, name: &str) -> Result<Adapter, ClientError> {
        self.get(&["v1", "adapters", name], &[]).await
    }

    /// Serves a version, by default the newest, under the adapter's bare name. `force`: also one whose documents have changed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn promote_adapter(
        &self,
        adapter: &AdapterReference,
        force: bool,
    ) -> Result<Adapter, ClientError> {
        let body = json!({"version": adapter.version, "force": force});
        self.post(&["v1", "adapters", &adapter.name, "promote"], &body)
            .await
    }

    /// Goes back to the version that was promoted before.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rollback_adapter(&self, name: &str) -> Result<Adapter, ClientError> {
        self.post(&["v1", "adapters", name, "rollback"], &json!({}))
            .await
    }

    /// Makes a PEFT folder a new version of an adapter.
    ///
    /// # Errors
    /// See [`ClientError`]; a file that is missing is [`ClientError::File`].
    pub async fn import_adapter(
        &self,
        name: &str,
        base: &str,
        folder: &Path,
    ) -> Result<AdapterVersion, ClientError> {
        let mut form = Form::new()
            .text("name", name.to_owned())
            .text("base", base.to_owned());
        for file in PEFT_FILES {
            let path = folder.join(file);
            let part = file_part(&path).await?.file_name(file_name(&path));
            form = form.part("file", part);
        }
        let request = self.request(Method::POST, &["v1", "adapters"], &[]);
        read_json(self.send_once(request.multipart(form)).await?).await
    }

    /// Writes an export to a file, and returns its length. The file appears under its name only when it is whole.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn export_adapter(
        &self,
        export: &AdapterExport,
        to: &Path,
    ) -> Result<u64, ClientError> {
        let path = ["v1", "adapters", &export.adapter.name, "export"];
        let version = export.adapter.version.map(|number| number.to_string());
        let query: Vec<(&str, String)> = [
            ("format", Some(export.format.word().to_owned())),
            ("version", version),
            ("type", export.kind.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        let response = self
            .send(|| self.request(Method::GET, &path, &query))
            .await?;
        self.save(response, to).await
    }

    /// Deletes an adapter, or one version of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_adapter(&self, adapter: &AdapterReference) -> Result<Deleted, ClientError> {
        let version = adapter
            .version
            .map(|number| ("version", number.to_string()));
        let query: Vec<(&str, String)> = version.into_iter().collect();
        let path = ["v1", "adapters", &adapter.name];
        let response = self
            .send(|| self.request(Method::DELETE, &path, &query))
            .await?;
        read_json(response).await
    }
}
