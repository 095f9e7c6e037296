//! The checked configuration.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::{ByteSize, Secret, Setting};

/// A configuration that has been checked as a whole: paths are absolute, numbers in range, addresses well formed, and what
/// a backend needs is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where and for whom the HTTP server listens.
    pub server: Server,
    /// Where Lore keeps what it must not lose.
    pub storage: Storage,
    /// Which models to use and where they lie.
    pub models: Models,
    /// Who keeps the dense vectors.
    pub dense: Dense,
    /// Parsing, chunking and embedding.
    pub ingest: Ingest,
    /// Finding and choosing passages.
    pub retrieval: Retrieval,
    /// Writing answers.
    pub answer: Answer,
    /// Who generates the text.
    pub generator: Generator,
    /// Fine-tuning.
    pub trainer: Trainer,
    /// The other services, where they run as processes of their own.
    pub services: Services,
    /// Logs.
    pub telemetry: Telemetry,
    /// Every key with its value as text and who said it, secrets hidden.
    pub settings: Vec<Setting>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Accepted `Authorization: Bearer` keys. Empty only on a loopback address: then everyone on this machine is let in.
    pub api_keys: Vec<Secret>,
    /// Largest request body.
    pub max_body: ByteSize,
    /// Most files in one upload.
    pub max_files_per_upload: usize,
    /// How long running work may finish after a stop signal.
    pub shutdown_grace: Duration,
}

/// `[storage]`, `[catalog]` and `[lexical]`
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Folder of original files and everything below that has no path of its own.
    pub data_dir: PathBuf,
    /// The SQLite catalog file (`catalog.path`).
    pub catalog: PathBuf,
    /// Folder of the Tantivy indexes (`lexical.dir`).
    pub lexical: PathBuf,
}

/// `[models]`
#[derive(Debug, Clone, PartialEq)]
pub struct Models {
    /// The model cache.
    pub dir: PathBuf,
    /// A catalogue that extends or replaces entries of the built-in one.
    pub catalogue: Option<PathBuf>,
    /// Contact nobody for models.
    pub offline: bool,
    /// Name in the catalogue, or path, of the generator.
    pub generator: String,
    /// Name in the catalogue, or path, of the embedder of new collections.
    pub embedder: String,
    /// The numbers that embedders compute with where they come as weights.
    pub precision: Precision,
    /// Name in the catalogue, or path, of the ONNX Runtime library.
    pub onnxruntime: String,
    /// Name in the catalogue, or path, of the PDFium library.
    pub pdfium: String,
    /// Threads that one model may use. The key's 0 has become the number of physical cores that this process may use.
    pub threads: NonZeroUsize,
    /// What the generator and training compute on.
    pub device: Device,
}

/// What models compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A GPU where there is one that can be used, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or nothing.
    Cuda,
}

/// The numbers that an embedder computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits: exact.
    Float32,
    /// 8 bits: faster, slightly different vectors.
    Int8,
}

/// `[dense]`
#[derive(Debug, Clone, PartialEq)]
pub enum Dense {
    /// Qdrant's engine inside this process.
    Embedded {
        /// Folder of the shards, `data_dir/dense`.
        dir: PathBuf,
    },
    /// A Qdrant server.
    Server {
        /// Address of its gRPC port, without a trailing slash.
        url: String,
        /// Its key, where it wants one.
        api_key: Option<Secret>,
        /// Stands before the names of Lore's collections on the server; never empty.
        prefix: String,
    },
}

/// `[ingest]`
#[derive(Debug, Clone, PartialEq)]
pub struct Ingest {
    /// Documents in work at the same time.
    pub workers: NonZeroUsize,
    /// Largest single document.
    pub max_document: ByteSize,
    /// Longest time for parsing one document.
    pub parse_timeout: Duration,
    /// Most memory for parsing one document.
    pub parse_memory: ByteSize,
    /// Most jobs waiting; past it uploads get 429.
    pub max_queue: usize,
    /// Longest chunk in the embedder's tokens; the embedder's own limit is applied on top.
    pub max_chunk_tokens: usize,
    /// Tokens that a chunk shares with the one before; less than half of `max_chunk_tokens`.
    pub overlap_tokens: usize,
    /// Chunks embedded at once.
    pub embed_batch: usize,
}

/// `[retrieval]`
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// Candidates asked of each side.
    pub candidates: usize,
    /// Passages kept for an answer; at most `candidates`, and at most 50.
    pub passages: usize,
    /// k of reciprocal rank fusion.
    pub rrf_k: f64,
    /// Weight of the dense side; not both weights are zero.
    pub dense_weight: f64,
    /// Weight of the lexical side.
    pub lexical_weight: f64,
    /// Tokens of the prompt that passages may fill, in the generator's tokens.
    pub prompt_tokens: usize,
}

/// `[answer]`
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The whole answer where nothing relevant is found; never empty.
    pub abstain_sentence: String,
    /// A claim whose support (0..1) is below this is marked as not supported.
    pub support_threshold: f64,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// 0 always takes the likeliest token.
    pub temperature: f64,
    /// Taken from the score of a token as often as the answer has it already.
    pub frequency_penalty: f64,
    /// Withhold an answer that holds an unsupported claim.
    pub strict: bool,
}

/// `[generator]`
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// Who generates.
    pub backend: Backend,
    /// Most answers waiting; past it requests get 429.
    pub max_queue: usize,
}

/// Who generates the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Backend {
    /// Lore's own decoder with `models.generator`.
    Local,
    /// A server that speaks OpenAI's chat completions.
    OpenAi {
        /// Address up to and including `/v1`, without a trailing slash.
        base_url: String,
        /// The model's name on that server.
        model: String,
        /// Its key, where it wants one.
        api_key: Option<Secret>,
    },
}

/// `[trainer]`
#[derive(Debug, Clone, PartialEq)]
pub struct Trainer {
    /// Threads that compute. The key's 0 has become `models.threads`.
    pub threads: NonZeroUsize,
    /// Most memory that the process may hold while it trains; none: what the machine has.
    pub max_memory: Option<ByteSize>,
    /// Most jobs waiting; past it requests get 429.
    pub max_queue: usize,
}

/// `[services]`
#[derive(Debug, Clone, PartialEq)]
pub struct Services {
    /// Where `lore serve ingest` listens, for a gateway that runs apart.
    pub ingest_url: Option<String>,
    /// Where `lore serve trainer` listens, for a gateway that runs apart.
    pub trainer_url: Option<String>,
}

/// `[telemetry]`
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// A filter such as `info` or `info,lore_ingest=debug`.
    pub log: String,
    /// How a log line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}
