use lore_config::Config;
use std::time::Duration;

/// How the service works; the defaults are those of `configs/lore.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestSettings {
    /// The embedder of a collection that is made without naming one.
    pub default_embedder: String,
    /// Names that no collection may take, because `model` of a chat means something else by them: the language model.
    pub reserved: Vec<String>,
    /// Documents that are read and embedded at the same time.
    pub workers: usize,
    /// Bytes of the largest document.
    pub max_document: u64,
    /// Bytes of the largest request.
    pub max_body: u64,
    /// Files in one upload.
    pub max_files: usize,
    /// Jobs that may wait; an upload that would pass it is refused with 429.
    pub max_queue: u64,
    /// Tokens of the largest chunk, the embedder's own tokens included; the embedder's limit holds as well.
    pub max_chunk_tokens: usize,
    /// Tokens that a chunk repeats of the one before it.
    pub overlap_tokens: usize,
    /// Chunks that are embedded at a time.
    pub embed_batch: usize,
    /// Deaths of the process in the middle of one document after which that document is given up.
    pub max_crashes: u32,
    /// How long a comparison of the indexes waits for its turn; one that has begun may take as long as it needs.
    pub verify_turn: Duration,
    /// How long a finished job can be asked for. The job that made a version stays as long as the version.
    pub keep_finished_jobs: Duration,
    /// How long a job stays a worker's without a word from him.
    pub lease: Duration,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            default_embedder: "multilingual-e5-small".to_owned(),
            reserved: Vec::new(),
            workers: 1,
            max_document: 64 << 20,
            max_body: 256 << 20,
            max_files: 100,
            max_queue: 10_000,
            max_chunk_tokens: 256,
            overlap_tokens: 32,
            embed_batch: 16,
            max_crashes: 10,
            verify_turn: Duration::from_secs(30),
            keep_finished_jobs: Duration::from_secs(30 * 24 * 3_600),
            lease: Duration::from_secs(30),
        }
    }
}

impl From<&Config> for IngestSettings {
    fn from(config: &Config) -> Self {
        let ingest = &config.ingest;
        Self {
            default_embedder: config.models.embedder.clone(),
            workers: ingest.workers.get(),
            max_document: ingest.max_document.bytes(),
            max_body: config.server.max_body.bytes(),
            max_files: config.server.max_files_per_upload,
            max_queue: ingest.max_queue as u64,
            max_chunk_tokens: ingest.max_chunk_tokens,
            overlap_tokens: ingest.overlap_tokens,
            embed_batch: ingest.embed_batch,
            keep_finished_jobs: ingest.keep_finished_jobs,
            ..Self::default()
        }
    }
}
