use super::flaky::FlakyDense;
use lore_catalog::{Catalog, StoredPassage};
use lore_embed::{EmbedError, EmbedFiles, EmbedSettings, EmbedderRegistry};
use lore_index::{
    DenseIndex, EdgeDense, IndexError, LexicalReader, LexicalWriter, TantivyReader, TantivyWriter,
};
use lore_ingest::parse::{ParseSettings, ParserPool, PoolSettings, WorkerCommand};
use lore_ingest::{IngestParts, IngestService, IngestSettings};
use lore_types::{Accepted, Job, JobId, JobStage, JobStatus, List};
use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const MODEL: &str = "all-minilm-l6-v2";
/// An embedder of the catalogue that is not installed.
pub const NOT_PULLED: &str = "not-pulled";
/// No step of a test takes longer, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(600);

/// A running service in its own folder.
pub struct Lore {
    pub folder: Arc<TempDir>,
    pub settings: IngestSettings,
    pub catalog: Catalog,
    pub dense: Arc<FlakyDense>,
    pub lexical: Arc<TantivyWriter>,
    pub reader: TantivyReader,
    pub service: Option<IngestService>,
    pub url: String,
    pub http: reqwest::Client,
    server: JoinHandle<()>,
}

/// The folder with models, where the ones that these tests need are there.
fn models() -> Option<PathBuf> {
    let configured = std::env::var_os("LORE_MODELS_DIR").map(PathBuf::from);
    let cache = || std::env::home_dir().map(|home| home.join(".cache/lore/models"));
    let folder = configured.or_else(cache)?;
    let needed = [
        format!("{MODEL}/tokenizer.json"),
        "onnxruntime/libonnxruntime.so".to_owned(),
    ];
    needed
        .iter()
        .all(|file| folder.join(file).exists())
        .then_some(folder)
}

/// One registry for all tests, so that the model is loaded once.
fn embedders(models: &Path) -> EmbedderRegistry {
    static REGISTRY: OnceLock<EmbedderRegistry> = OnceLock::new();
    let models = models.to_owned();
    let registry = REGISTRY.get_or_init(|| {
        EmbedderRegistry::new(move |name| {
            if name != MODEL {
                return Err(EmbedError::unavailable(
                    name,
                    "there is no such model; run `lore models list`",
                ));
            }
            let files = EmbedFiles::find(name, models.join(name))?;
            Ok(EmbedSettings::new(
                files,
                models.join("onnxruntime/libonnxruntime.so"),
            ))
        })
        .offering([MODEL, NOT_PULLED].map(str::to_owned))
    });
    registry.clone()
}

fn parser(models: &Path) -> Arc<ParserPool> {
    let pdfium = models.join("pdfium/libpdfium.so");
    Arc::new(ParserPool::new(PoolSettings {
        worker: WorkerCommand {
            exe: env!("CARGO_BIN_EXE_lore-parse-worker").into(),
            args: Vec::new(),
        },
        workers: 2,
        timeout: Duration::from_secs(60),
        memory: 2 << 30,
        parse: ParseSettings {
            pdfium: pdfium.exists().then_some(pdfium),
            ..ParseSettings::default()
        },
    }))
}

pub fn settings() -> IngestSettings {
    IngestSettings {
        default_embedder: MODEL.to_owned(),
        ..IngestSettings::default()
    }
}

impl Lore {
    /// A new one in a new folder; `None`, said aloud, where the models are missing.
    pub async fn start() -> Option<Self> {
        Self::start_with(settings()).await
    }

    pub async fn start_with(settings: IngestSettings) -> Option<Self> {
        let folder = Arc::new(TempDir::new().expect("a temporary folder"));
        Self::start_in(folder, settings).await
    }

    pub async fn start_in(folder: Arc<TempDir>, settings: IngestSettings) -> Option<Self> {
        let Some(models) = models() else {
            eprintln!(
                "SKIPPED: {MODEL} or onnxruntime is not installed; run `lore models pull {MODEL} onnxruntime`"
            );
            return None;
        };
        let root = folder.path();
        let catalog = Catalog::open(root.join("catalog.db"))
            .await
            .expect("a catalog");
        let dense = Arc::new(FlakyDense::new(
            unlocked(|| EdgeDense::open(root.join("dense"))).await,
        ));
        let lexical = Arc::new(unlocked(|| TantivyWriter::open(root.join("lexical"))).await);
        let parts = IngestParts {
            catalog: catalog.clone(),
            data_dir: root.to_owned(),
            dense: dense.clone(),
            lexical: lexical.clone(),
            embedders: embedders(&models),
            parser: parser(&models),
            settings: settings.clone(),
        };
        let service = IngestService::start(parts)
            .await
            .expect("a started service");
        let (router, _) = service.router().split_for_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        // As behind the server's edge, which bounds every body.
        let limit = lore_http::BodyLimit(settings.max_body);
        let app = lore_http::sealed(lore_http::limited(router, limit));
        let server =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        let reader = TantivyReader::open(root.join("lexical"));
        let http = reqwest::Client::new();
        Some(Self {
            folder,
            settings,
            catalog,
            dense,
            lexical,
            reader,
            service: Some(service),
            url,
            http,
            server,
        })
    }

    /// Ends it as a kill would, as far as that can be done inside one process, and starts it again in the same folder.
    pub async fn crash_and_start(mut self) -> Self {
        drop(self.service.take());
        self.server.abort();
        let _ = (&mut self.server).await;
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        drop(self);
        Self::start_in(folder, settings)
            .await
            .expect("models were there a moment ago")
    }

    /// Ends it in order and starts it again.
    pub async fn stop_and_start(mut self, grace: Duration) -> Self {
        self.service
            .take()
            .expect("a running service")
            .shutdown(grace)
            .await;
        self.crash_and_start().await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .expect("an answer")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.http
            .post(format!("{}{path}", self.url))
            .json(body)
            .send()
            .await
            .expect("an answer")
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Response {
        self.http
            .patch(format!("{}{path}", self.url))
            .json(body)
            .send()
            .await
            .expect("an answer")
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.http
            .delete(format!("{}{path}", self.url))
            .send()
            .await
            .expect("an answer")
    }

    pub async fn send_form(&self, collection: &str, form: Form) -> Response {
        let url = format!("{}/v1/collections/{collection}/documents", self.url);
        self.http
            .post(url)
            .multipart(form)
            .send()
            .await
            .expect("an answer")
    }

    /// Uploads one text.
    pub async fn upload(&self, collection: &str, name: &str, text: &str) -> Accepted {
        self.upload_json(collection, &json!({"name": name, "text": text}))
            .await
    }

    pub async fn upload_json(&self, collection: &str, body: &Value) -> Accepted {
        let answer = self
            .post(&format!("/v1/collections/{collection}/documents"), body)
            .await;
        let list: List<Accepted> = read(answer, StatusCode::ACCEPTED).await;
        list.data.into_iter().next().expect("one document")
    }

    /// Uploads one text and waits until it can be found.
    pub async fn ingest(&self, collection: &str, name: &str, text: &str) -> Accepted {
        let accepted = self.upload(collection, name, text).await;
        let job = self.finished(accepted.job_id).await;
        assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
        accepted
    }

    pub async fn job(&self, id: JobId) -> Job {
        read(self.get(&format!("/v1/jobs/{id}")).await, StatusCode::OK).await
    }

    /// The job once it has ended.
    pub async fn finished(&self, id: JobId) -> Job {
        eventually("a job ends", async || {
            Some(self.job(id).await).filter(|job| job.status.is_final())
        })
        .await
    }

    /// Waits until a job's write stands before the closed gate of the dense side. A job that ended can wait for nothing: then
    /// this is over at once, and tells why.
    pub async fn until_it_waits(&self, id: JobId) {
        let waiting = eventually("the write waits", async || {
            let over = |job: &Job| job.stage == JobStage::Indexing || job.status.is_final();
            Some(self.job(id).await).filter(over)
        })
        .await;
        assert_eq!(waiting.stage, JobStage::Indexing, "{:?}", waiting.error);
    }

    /// What a search of both sides finds, as the gateway does it: candidates first, then the catalog, again while there
    /// are stale ones.
    pub async fn search(
        &self,
        collection: &str,
        query: &str,
        vector: &[f32],
    ) -> Vec<StoredPassage> {
        loop {
            let mut ids = Vec::new();
            for side in [
                self.dense.search(collection, vector, None, 50).await,
                self.reader.search(collection, query, None, 50).await,
            ] {
                match side {
                    Ok(candidates) => {
                        ids.extend(candidates.into_iter().map(|candidate| candidate.chunk_id))
                    }
                    Err(IndexError::NoCollection { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            ids.sort_unstable();
            ids.dedup();
            let hydrated = self
                .catalog
                .passages(collection, &ids)
                .await
                .expect("passages");
            if hydrated.stale == 0 {
                return hydrated.passages;
            }
        }
    }

    pub async fn embedder(&self, name: &str) -> lore_embed::EmbedPool {
        embedders(&models().expect("models"))
            .get(name)
            .await
            .expect("an embedder")
    }

    /// The parts of this service, for a second one.
    pub fn parts(&self) -> IngestParts {
        let models = models().expect("models");
        IngestParts {
            catalog: self.catalog.clone(),
            data_dir: self.folder.path().to_owned(),
            dense: self.dense.clone(),
            lexical: self.lexical.clone(),
            embedders: embedders(&models),
            parser: parser(&models),
            settings: self.settings.clone(),
        }
    }

    /// Chunks that each side holds of a collection: catalog, dense, lexical.
    pub async fn counts(&self, collection: &str) -> [usize; 3] {
        let none_where_missing = |found: Result<Vec<_>, IndexError>| match found {
            Err(IndexError::NoCollection { .. }) => 0,
            other => other.expect("chunks").len(),
        };
        [
            self.catalog
                .live_chunks(collection)
                .await
                .expect("live chunks")
                .len(),
            none_where_missing(self.dense.chunks(collection).await),
            none_where_missing(self.lexical.chunks(collection).await),
        ]
    }

    pub async fn verify(&self, collection: &str, repair: bool) -> lore_types::IndexReport {
        let body = json!({"collection": collection, "repair": repair});
        read(self.post("/v1/index/verify", &body).await, StatusCode::OK).await
    }
}

impl Drop for Lore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Opens what a predecessor in this process may still be letting go of.
async fn unlocked<T>(open: impl Fn() -> Result<T, IndexError>) -> T {
    eventually("an index is free", async || match open() {
        Err(IndexError::Locked { .. }) => None,
        other => Some(other.expect("an index")),
    })
    .await
}

/// What `look` gives as soon as it gives something.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "this did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The body of an answer that has to have this status.
pub async fn read<T: DeserializeOwned>(answer: Response, status: StatusCode) -> T {
    let (actual, text) = (answer.status(), answer.text().await.expect("a body"));
    assert_eq!(actual, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The error of an answer that has to have this status.
pub async fn refused(answer: Response, status: StatusCode) -> lore_types::ApiError {
    read::<lore_types::ErrorBody>(answer, status).await.error
}

pub fn part(name: &str, bytes: impl Into<Vec<u8>>) -> Part {
    Part::bytes(bytes.into()).file_name(name.to_owned())
}

pub fn handbook(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples/handbook")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
