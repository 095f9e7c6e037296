//! The names of all metrics, with their labels. Times are in seconds.
//!
//! ```
//! use lore_telemetry::names;
//! metrics::counter!(names::HTTP_REQUESTS, "route" => "/v1/ask", "method" => "POST", "status" => "200").increment(1);
//! metrics::histogram!(names::HTTP_SECONDS, "route" => "/v1/ask", "method" => "POST").record(0.8);
//! ```

use metrics::Unit;

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// The value now.
    Gauge,
    /// Times, in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it counts, for people.
    pub help: &'static str,
}

impl Metric {
    pub(crate) fn describe(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, Unit::Seconds, self.help),
        }
    }
}

macro_rules! metrics_table {
    ($($(#[$doc:meta])* $constant:ident = $kind:ident $name:literal, $help:literal;)+) => {
        $($(#[$doc])* pub const $constant: &str = $name;)+

        /// Every metric of Lore.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind, help: $help }),+];
    };
}

metrics_table! {
    /// Finished requests. Labels: `route` (the pattern, not the path), `method`, `status`.
    HTTP_REQUESTS = Counter "lore_http_requests_total", "Finished HTTP requests.";
    /// Time from the request's head to the last byte of the answer's head. Labels: `route`, `method`.
    HTTP_SECONDS = Histogram "lore_http_request_seconds", "Time to the head of the answer.";
    /// Requests in work.
    HTTP_IN_FLIGHT = Gauge "lore_http_requests_in_flight", "HTTP requests in work.";
    /// Documents that ended their job. Label: `outcome` = `indexed`, `unchanged`, `failed` or `deleted`.
    INGEST_DOCUMENTS = Counter "lore_ingest_documents_total", "Documents that ended their job.";
    /// Chunks written to both indexes.
    INGEST_CHUNKS = Counter "lore_ingest_chunks_total", "Chunks written to both indexes.";
    /// Bytes of accepted documents.
    INGEST_BYTES = Counter "lore_ingest_bytes_total", "Bytes of accepted documents.";
    /// Time of one stage for one document. Label: `stage` as in `JobStage`.
    INGEST_STAGE_SECONDS = Histogram "lore_ingest_stage_seconds", "Time of one ingest stage for one document.";
    /// Jobs waiting for a worker.
    INGEST_QUEUE_LENGTH = Gauge "lore_ingest_queue_length", "Jobs waiting for a worker.";
    /// Texts turned into vectors. Label: `kind` = `query` or `passage`.
    EMBED_TEXTS = Counter "lore_embed_texts_total", "Texts turned into vectors.";
    /// Time of one batch in the embedder.
    EMBED_BATCH_SECONDS = Histogram "lore_embed_batch_seconds", "Time of one batch in the embedder.";
    /// Batches waiting for the embedder.
    EMBED_QUEUE_LENGTH = Gauge "lore_embed_queue_length", "Batches waiting for the embedder.";
    /// Time of one search. Label: `mode` = `dense`, `lexical` or `hybrid`.
    SEARCH_SECONDS = Histogram "lore_search_seconds", "Time of one search.";
    /// Answers from documents. Label: `outcome` = `answered`, `abstained`, `withheld` or `failed` (half way).
    ANSWERS = Counter "lore_answers_total", "Answers given.";
    /// Time of one stage of an answer. Label: `stage` = `rewrite`, `embed`, `retrieve`, `cite` or `total`.
    ANSWER_STAGE_SECONDS = Histogram "lore_answer_stage_seconds", "Time of one stage of an answer.";
    /// Generations. Label: `outcome` = a finish reason, `cancelled`, `refused` or `failed`.
    GENERATE_REQUESTS = Counter "lore_generate_requests_total", "Generations that ended.";
    /// Tokens of prompts.
    GENERATE_PROMPT_TOKENS = Counter "lore_generate_prompt_tokens_total", "Tokens of prompts.";
    /// Tokens of answers.
    GENERATE_NEW_TOKENS = Counter "lore_generate_new_tokens_total", "Tokens of answers.";
    /// Time from the start of a generation to its first token.
    GENERATE_FIRST_TOKEN_SECONDS = Histogram "lore_generate_first_token_seconds", "Time to the first token.";
    /// Time of a whole generation, without waiting.
    GENERATE_SECONDS = Histogram "lore_generate_seconds", "Time of a whole generation.";
    /// Generations waiting for the model.
    GENERATE_QUEUE_LENGTH = Gauge "lore_generate_queue_length", "Generations waiting for the model.";
}
