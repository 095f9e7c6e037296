//! The service with a tiny base model, over HTTP.

use crate::tiny;
use axum::Router;
use lore_catalog::Catalog;
use lore_trainer::{TrainerParts, TrainerService, TrainerSettings};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest time that a test waits for something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data folder with two base models, `tiny` and `other`.
pub struct Lore {
    pub folder: TempDir,
    pub catalog: Catalog,
    pub service: Option<TrainerService>,
    url: String,
    client: reqwest::Client,
}

impl Lore {
    pub async fn new() -> Self {
        Self::with(TrainerSettings {
            threads: 1,
            ..TrainerSettings::default()
        })
        .await
    }

    pub async fn with(settings: TrainerSettings) -> Self {
        let folder = TempDir::new().expect("a folder");
        tiny::write(&folder.path().join("models/tiny"), 11);
        tiny::write(&folder.path().join("models/other"), 12);
        let catalog = Catalog::open(folder.path().join("catalog.db"))
            .await
            .expect("a catalog");
        let mut lore = Self {
            folder,
            catalog,
            service: None,
            url: String::new(),
            client: reqwest::Client::new(),
        };
        lore.start(settings).await;
        lore
    }

    /// Starts the service on a free port.
    pub async fn start(&mut self, settings: TrainerSettings) {
        let models = self.folder.path().join("models");
        let find = move |name: &str| -> Result<PathBuf, String> {
            let path = models.join(name);
            if path.is_dir() {
                Ok(path)
            } else {
                Err(format!("there is no model `{name}`"))
            }
        };
        let parts = TrainerParts {
            catalog: self.catalog.clone(),
            data_dir: self.folder.path().to_owned(),
            find_model: Arc::new(find),
            settings,
        };
        let service = TrainerService::start(parts).await.expect("a service");
        let router = Router::from(service.router());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        self.url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        self.service = Some(service);
    }

    /// Stops the service in good order.
    pub async fn stop(&mut self) {
        let service = self.service.take().expect("a running service");
        service.shutdown(PATIENCE).await;
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.send(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let response = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.bytes().await.expect("a body").to_vec()
    }

    pub async fn form(&self, path: &str, form: Form) -> (StatusCode, Value) {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .multipart(form);
        let response = request.send().await.expect("an answer");
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    /// Uploads a file of examples; its id.
    pub async fn upload(&self, name: &str, text: &str) -> String {
        let part = Part::bytes(text.as_bytes().to_vec()).file_name(name.to_owned());
        let form = Form::new().text("purpose", "fine-tune").part("file", part);
        let (status, file) = self.form("/v1/files", form).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        file["id"].as_str().expect("an id").to_owned()
    }

    /// A job of a few quick steps.
    pub async fn job(&self, name: &str, more: Value) -> Value {
        let file = self.upload("letters.jsonl", &examples(20)).await;
        let mut settings = json!({"max_steps": 4, "lora_r": 2, "learning_rate": 1e-2, "batch_size": 4, "max_tokens": 64});
        for (key, value) in more.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        self.post(
            "/v1/fine_tuning/jobs",
            json!({"model": "tiny", "training_file": file, "lore": {"name": name, "settings": settings}}),
        )
        .await
    }

    /// Waits until a job stands where `done` wants it.
    pub async fn wait(&self, job: &Value, done: impl Fn(&Value) -> bool) -> Value {
        let id = job["id"].as_str().expect("an id");
        self.until(&format!("/v1/fine_tuning/jobs/{id}"), done)
            .await
    }

    /// Waits until an answer is as `done` wants it.
    pub async fn until(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.get(path).await;
            if done(&now) {
                return now;
            }
            assert!(Instant::now() < deadline, "{now:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a job is over.
    pub async fn end(&self, job: &Value) -> Value {
        let over = |job: &Value| {
            matches!(
                job["status"].as_str(),
                Some("succeeded" | "failed" | "cancelled")
            )
        };
        self.wait(job, over).await
    }

    /// An adapter `name` with as many versions as asked, none promoted.
    pub async fn adapter(&self, name: &str, versions: u64) {
        for seed in 0..versions {
            let job = self.job(name, json!({"seed": seed})).await;
            let job = self.end(&job).await;
            assert_eq!(job["status"], "succeeded", "{job:#}");
        }
    }
}

/// Examples as JSON Lines.
pub fn examples(count: usize) -> String {
    let line = |index: usize| {
        json!({"messages": [
            {"role": "user", "content": format!("say {index}")},
            {"role": "assistant", "content": format!("number {index} it is")},
        ]})
        .to_string()
    };
    (0..count).map(|index| line(index) + "\n").collect()
}

/// Changes a file's bytes.
pub fn tamper(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("a file");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("writing");
}
