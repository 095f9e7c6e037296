//! A gateway with everything behind it, in a temporary folder.

use crate::client::Client;
use lore_catalog::{
    Activation, Catalog, Lease, NewCollection, NewVersion, Originals, ParsedVersion,
};
use lore_embed::{EmbedError, EmbedFiles, EmbedSettings, EmbedderRegistry};
use lore_gateway::{
    AdapterParts, Adapters, GatewayParts, GatewaySettings, GatewayState, NoGenerator, router,
};
use lore_index::{
    DenseIndex, EdgeDense, IndexedChunk, LexicalWriter, TantivyReader, TantivyWriter,
};
use lore_model::{Generator, LocalGenerator, LocalSettings};
use lore_retrieval::{CitationSettings, FusionSettings};
use lore_types::{Chunk, ChunkId, Document, DocumentFormat, JobStage, Metadata, Span, VersionId};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The embedder of the tests: small, and it knows English and Chinese.
pub const EMBEDDER: &str = "multilingual-e5-small";
/// The language model of the tests.
pub const MODEL: &str = "smollm2-135m-instruct";
/// What the gateway says where it finds nothing.
pub const ABSTAIN: &str = "I could not find an answer in the documents.";

/// Documents of the tests: name, metadata, text.
pub const HANDBOOK: [(&str, &str, &str); 5] = [
    (
        "leave.md",
        r#"{"team": "hr", "year": 2024, "tags": ["people", "time"], "valid": "2024-01-01"}"#,
        "# Leave\n\nThe staff handbook gives every employee 28 days of leave a year. Up to 5 days may be carried over until 31 March. \
         Carry-over is not paid out. Leave is requested in the portal two weeks ahead.",
    ),
    (
        "returns.md",
        r#"{"team": "sales", "year": 2023, "tags": ["customers"], "valid": "2023-06-30"}"#,
        "# Returns\n\nBy the sales handbook customers may return goods within 14 days. Refunds are paid within 3 days after the parcel came back. \
         The customer pays the postage of a return.",
    ),
    (
        "vpn.md",
        r#"{"team": "it", "year": 2025, "public": true}"#,
        "# VPN\n\nThe IT handbook asks for the VPN client WireGuard on every laptop. The key is issued by the service desk and expires after 90 days.",
    ),
    (
        "fire.md",
        r#"{"team": "hr", "year": 2022, "public": false, "site": {"city": "Berlin"}}"#,
        "# Fire safety\n\nThe safety handbook names Anna Schulz as fire warden of the Berlin office. Drills take place in May and in October.",
    ),
    (
        "报销.md",
        r#"{"team": "财务", "year": 2024}"#,
        "# 差旅报销\n\n财务手册 handbook 规定，差旅费须在出差结束后30天内报销。住宿每晚最高450元，超出部分不予报销。",
    ),
];

/// The folder of models, and whether both models and the runtime lie in it.
fn models() -> Option<PathBuf> {
    let configured = std::env::var_os("LORE_MODELS_DIR").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let dir = configured.or_else(|| cache.map(|cache| cache.join("lore/models")))?;
    let there = [EMBEDDER, MODEL, "onnxruntime"]
        .iter()
        .all(|name| dir.join(name).is_dir());
    if !there {
        assert!(
            std::env::var_os("LORE_REQUIRE_MODELS").is_none(),
            "no models in {}",
            dir.display()
        );
        eprintln!(
            "SKIPPED: {EMBEDDER}, {MODEL} and onnxruntime are not in {}; `lore models pull` fetches them",
            dir.display()
        );
    }
    there.then_some(dir)
}

static EMBEDDERS: LazyLock<Option<EmbedderRegistry>> = LazyLock::new(|| {
    let dir = models()?;
    Some(EmbedderRegistry::new(move |name| settings(&dir, name)))
});

static LOCAL: LazyLock<Option<LocalGenerator>> = LazyLock::new(|| {
    let settings = LocalSettings {
        name: MODEL.to_owned(),
        ..LocalSettings::default()
    };
    let generator = LocalGenerator::load(&models()?.join(MODEL).join("model.gguf"), settings);
    Some(generator.expect("the test model loads"))
});

static GENERATOR: LazyLock<Option<Arc<dyn Generator>>> =
    LazyLock::new(|| Some(Arc::new(local()?) as Arc<dyn Generator>));

fn settings(dir: &std::path::Path, name: &str) -> Result<EmbedSettings, EmbedError> {
    let files = EmbedFiles::find(name, dir.join(name))?;
    Ok(EmbedSettings::new(
        files,
        dir.join("onnxruntime/libonnxruntime.so"),
    ))
}

/// The tests' language model with its decoder.
pub fn local() -> Option<LocalGenerator> {
    LOCAL.clone()
}

/// The tests' language model; `None`, said aloud, where models are missing.
pub fn generator() -> Option<Arc<dyn Generator>> {
    GENERATOR.clone()
}

/// Held by the one test that uses the language model: what it writes may change by a rounding when it writes for two.
static MODEL_IN_USE: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// One gateway and what stands behind it.
pub struct Rig {
    pub client: Client,
    pub catalog: Catalog,
    /// The adapters that the gateway follows, if it follows any.
    pub adapters: Adapters,
    dense: Arc<EdgeDense>,
    writer: TantivyWriter,
    originals: Originals,
    lease: Lease,
    embedders: EmbedderRegistry,
    folder: TempDir,
    _model: Option<OwnedMutexGuard<()>>,
}

impl Rig {
    /// A gateway with the handbook in collection `handbook`, answering with `generator`.
    pub async fn with(generator: Option<Arc<dyn Generator>>) -> Option<Self> {
        Self::tuned(generator, |_| {}).await
    }

    /// A gateway that answers with the tests' model and follows its adapters in the catalog.
    pub async fn with_adapters() -> Option<Self> {
        let rig = Self::with(generator()).await?;
        Some(rig.restarted().await)
    }

    /// The same collections behind a gateway that starts now and follows adapters.
    pub async fn restarted(mut self) -> Self {
        let parts = AdapterParts {
            catalog: self.catalog.clone(),
            base: local().expect("the model"),
            settings: LocalSettings::default(),
            data_dir: self.folder.path().to_owned(),
        };
        self.adapters = Adapters::follow(parts).await;
        let state = GatewayState::new(GatewayParts {
            catalog: self.catalog.clone(),
            dense: Arc::clone(&self.dense) as Arc<dyn DenseIndex>,
            lexical: Arc::new(TantivyReader::open(self.folder.path().join("lexical"))),
            embedders: self.embedders.clone(),
            generator: Ok(generator().expect("the model")),
            adapters: self.adapters.clone(),
            settings: settings_of_tests(),
        });
        self.client = Client::serving(lore_http::sealed(router(state).split_for_parts().0)).await;
        self
    }

    /// Where everything lies.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// As [`Rig::with`], with other settings.
    pub async fn tuned(
        generator: Option<Arc<dyn Generator>>,
        tune: impl FnOnce(&mut GatewaySettings),
    ) -> Option<Self> {
        let embedders = EMBEDDERS.clone()?;
        let local = generator
            .as_ref()
            .zip(self::generator())
            .is_some_and(|(one, local)| Arc::ptr_eq(one, &local));
        let model = if local {
            Some(Arc::clone(&MODEL_IN_USE).lock_owned().await)
        } else {
            None
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path();
        let catalog = Catalog::open(at.join("catalog.db"))
            .await
            .expect("a catalog");
        let dense = Arc::new(EdgeDense::open(at.join("dense")).expect("a dense index"));
        let missing = NoGenerator {
            model: "none".to_owned(),
            reason: "not asked for".to_owned(),
            hint: "run `lore models pull none`".to_owned(),
        };
        let mut settings = settings_of_tests();
        tune(&mut settings);
        let state = GatewayState::new(GatewayParts {
            catalog: catalog.clone(),
            dense: Arc::clone(&dense) as Arc<dyn DenseIndex>,
            lexical: Arc::new(TantivyReader::open(at.join("lexical"))),
            embedders: embedders.clone(),
            generator: generator.ok_or(missing),
            adapters: Adapters::none(),
            settings,
        });
        let rig = Self {
            client: Client::serving(lore_http::sealed(router(state).split_for_parts().0)).await,
            catalog,
            adapters: Adapters::none(),
            dense,
            writer: TantivyWriter::open(at.join("lexical")).expect("a lexical index"),
            originals: Originals::open(at.join("files"))
                .await
                .expect("a folder of originals"),
            lease: Lease {
                owner: "test".to_owned(),
                length: Duration::from_secs(600),
            },
            embedders,
            folder,
            _model: model,
        };
        rig.fill().await;
        Some(rig)
    }

    async fn fill(&self) {
        self.create("handbook").await;
        for (name, metadata, text) in HANDBOOK {
            self.add("handbook", name, metadata, text).await;
        }
    }

    /// Makes an empty collection.
    pub async fn create(&self, collection: &str) {
        let new = NewCollection {
            name: collection.to_owned(),
            description: String::new(),
            embedder: EMBEDDER.to_owned(),
            dimensions: 384,
        };
        self.catalog
            .create_collection(&new)
            .await
            .expect("a new collection");
        self.dense
            .create(collection, 384)
            .await
            .expect("a dense collection");
        self.writer
            .create(collection)
            .await
            .expect("a lexical collection");
        self.writer.commit(collection).await.expect("a commit");
    }

    /// Adds a document, each paragraph after the heading a chunk, in the steps in which ingest does.
    pub async fn add(&self, collection: &str, name: &str, metadata: &str, text: &str) -> VersionId {
        let work = self.index(collection, name, metadata, text).await;
        self.catalog
            .activate(&self.lease, &[work])
            .await
            .expect("activated");
        self.catalog
            .finish(&self.lease, &[(work.job, &[])])
            .await
            .expect("finished");
        work.version
    }

    /// Adds a document to the indexes without letting it be found yet.
    pub async fn index(
        &self,
        collection: &str,
        name: &str,
        metadata: &str,
        text: &str,
    ) -> Activation {
        let metadata: Metadata = serde_json::from_str(metadata).expect("metadata is an object");
        let original = self.originals.keep(text.as_bytes()).await.expect("kept");
        let upload = NewVersion {
            name: name.to_owned(),
            original,
            media_type: None,
            declared: None,
            metadata,
        };
        self.catalog
            .accept(collection, &[upload], 1_000)
            .await
            .expect("accepted");
        let task = self
            .catalog
            .claim(&self.lease)
            .await
            .expect("claimed")
            .expect("a job");
        let work = Activation {
            job: task.job.id,
            version: task.version.id,
        };
        let chunks = chunks(text, task.version.document_id, task.version.id);
        self.catalog
            .advance(&self.lease, work.job, JobStage::Chunking, 0.5)
            .await
            .expect("advanced");
        let parsed = ParsedVersion {
            text: text.to_owned(),
            format: DocumentFormat::Markdown,
            language: None,
            title: None,
            pages: None,
            warnings: Vec::new(),
        };
        assert!(
            self.catalog
                .store_parsed(&self.lease, work.job, work.version, &parsed, &chunks)
                .await
                .expect("stored")
        );
        self.catalog
            .begin_indexing(&self.lease, &[work])
            .await
            .expect("begun");
        let document = self
            .catalog
            .document(collection, task.version.document_id)
            .await
            .expect("the document");
        self.write(collection, &document, chunks).await;
        work
    }

    async fn write(&self, collection: &str, document: &Document, chunks: Vec<Chunk>) {
        let texts = chunks.iter().map(|chunk| chunk.text.clone()).collect();
        let embedder = self.embedders.get(EMBEDDER).await.expect("the embedder");
        let vectors = embedder
            .embed_passages_waiting(texts)
            .await
            .expect("vectors")
            .vectors;
        let indexed: Vec<IndexedChunk> = chunks
            .into_iter()
            .map(|chunk| IndexedChunk {
                chunk,
                title: document.name.clone(),
                fields: document.fields(),
            })
            .collect();
        self.dense
            .upsert(collection, &indexed, &vectors)
            .await
            .expect("dense");
        self.writer
            .upsert(collection, &indexed)
            .await
            .expect("lexical");
        self.writer.commit(collection).await.expect("commit");
    }
}

/// The settings of the tests.
pub fn settings_of_tests() -> GatewaySettings {
    GatewaySettings {
        candidates: 50,
        passages: 3,
        fusion: FusionSettings::default(),
        prompt_tokens: 600,
        abstain_sentence: ABSTAIN.to_owned(),
        citations: CitationSettings::default(),
        max_new_tokens: 48,
        temperature: 0.0,
        frequency_penalty: 0.2,
        strict: false,
        embedder: EMBEDDER.to_owned(),
    }
}

fn chunks(text: &str, document_id: lore_types::DocumentId, version_id: VersionId) -> Vec<Chunk> {
    let heading = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches(['#', ' '])
        .to_owned();
    let mut start = 0;
    let mut chunks = Vec::new();
    for part in text.split("\n\n") {
        let span = Span::new(start, start + part.len());
        start = span.end + 2;
        if part.starts_with('#') {
            continue;
        }
        let ordinal = u32::try_from(chunks.len()).expect("few chunks");
        let id = ChunkId::derive(version_id, ordinal);
        let heading = vec![heading.clone()];
        chunks.push(Chunk {
            id,
            document_id,
            version_id,
            ordinal,
            span,
            text: part.to_owned(),
            heading,
            page: None,
            tokens: 60,
        });
    }
    chunks
}

/// The text of the document called `name`.
pub fn text_of(name: &str) -> &'static str {
    HANDBOOK
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(.., text)| *text)
        .expect("a document of the handbook")
}

/// Checks that a citation's quote stands in its document.
pub fn check_citation(citation: &Value) {
    let name = citation["document_name"].as_str().expect("a name");
    let span = [0, 1].map(|at| {
        citation["document_span"][at]
            .as_u64()
            .and_then(|byte| usize::try_from(byte).ok())
            .expect("a span")
    });
    assert_eq!(
        text_of(name).get(span[0]..span[1]),
        citation["quote"].as_str(),
        "the quote is the document's text at its span"
    );
}
