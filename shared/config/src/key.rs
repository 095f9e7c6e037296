//! Every setting: name, default, secrecy.

use toml::Value;

/// The default of a key as it would stand in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// A string; empty means "not set" or "derived", as the shipped file says.
    Text(&'static str),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A switch.
    Bool(bool),
    /// An empty list of strings.
    EmptyList,
}

impl DefaultValue {
    /// The default as a TOML value.
    pub fn to_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.to_owned()),
            Self::Integer(number) => Value::Integer(number),
            Self::Float(number) => Value::Float(number),
            Self::Bool(switch) => Value::Boolean(switch),
            Self::EmptyList => Value::Array(Vec::new()),
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// `section.key`, as in the file.
    pub name: &'static str,
    /// The value when nobody says otherwise.
    pub default: DefaultValue,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// A shorter environment variable beside `LORE_SECTION_KEY`.
    pub short_variable: Option<&'static str>,
}

impl Key {
    /// The environment variable of this key, for example `LORE_DENSE_URL` for `dense.url`.
    pub fn variable(&self) -> String {
        format!("LORE_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Section and key apart.
    pub(crate) fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or((self.name, ""))
    }
}

const fn key(name: &'static str, default: DefaultValue) -> Key {
    Key {
        name,
        default,
        secret: false,
        short_variable: None,
    }
}

const fn secret(name: &'static str, default: DefaultValue) -> Key {
    Key {
        name,
        default,
        secret: true,
        short_variable: None,
    }
}

const fn short(key: Key, variable: &'static str) -> Key {
    Key {
        short_variable: Some(variable),
        ..key
    }
}

use DefaultValue::{Bool, EmptyList, Float, Integer, Text};

/// The sentence given where no passage answers the question.
const ABSTAIN: &str = "I cannot answer this from the documents in this collection.";

/// Every setting of Lore, in the order of the shipped file.
pub const KEYS: &[Key] = &[
    short(key("server.listen", Text("127.0.0.1:7878")), "LORE_LISTEN"),
    short(secret("server.api_keys", EmptyList), "LORE_API_KEY"),
    key("server.max_body", Text("256 MiB")),
    key("server.max_files_per_upload", Integer(100)),
    key("server.shutdown_grace", Text("30s")),
    short(key("storage.data_dir", Text("")), "LORE_DATA_DIR"),
    key("models.dir", Text("")),
    key("models.catalogue", Text("")),
    key("models.offline", Bool(false)),
    key("models.generator", Text("qwen2.5-coder-0.5b-instruct")),
    key("models.embedder", Text("multilingual-e5-small")),
    key("models.precision", Text("float32")),
    key("models.reranker", Text("")),
    key("models.onnxruntime", Text("onnxruntime")),
    key("models.pdfium", Text("pdfium")),
    key("models.threads", Integer(0)),
    key("models.device", Text("auto")),
    key("dense.backend", Text("embedded")),
    key("dense.url", Text("")),
    secret("dense.api_key", Text("")),
    key("dense.prefix", Text("lore_")),
    key("catalog.path", Text("")),
    key("lexical.dir", Text("")),
    key("ingest.workers", Integer(1)),
    key("ingest.max_document", Text("64 MiB")),
    key("ingest.parse_timeout", Text("120s")),
    key("ingest.parse_memory", Text("2 GiB")),
    key("ingest.max_queue", Integer(10_000)),
    key("ingest.max_chunk_tokens", Integer(256)),
    key("ingest.overlap_tokens", Integer(32)),
    key("ingest.embed_batch", Integer(16)),
    key("retrieval.candidates", Integer(50)),
    key("retrieval.passages", Integer(5)),
    key("retrieval.rrf_k", Float(60.0)),
    key("retrieval.dense_weight", Float(1.0)),
    key("retrieval.lexical_weight", Float(1.0)),
    key("retrieval.prompt_tokens", Integer(1536)),
    key("answer.abstain_sentence", Text(ABSTAIN)),
    key("answer.support_threshold", Float(0.5)),
    key("answer.max_new_tokens", Integer(256)),
    key("answer.temperature", Float(0.0)),
    key("answer.frequency_penalty", Float(0.2)),
    key("answer.strict", Bool(false)),
    key("generator.backend", Text("local")),
    key("generator.base_url", Text("")),
    key("generator.model", Text("")),
    secret("generator.api_key", Text("")),
    key("generator.max_queue", Integer(32)),
    key("trainer.threads", Integer(0)),
    key("trainer.max_memory", Text("")),
    key("trainer.max_queue", Integer(100)),
    key("services.ingest_url", Text("")),
    key("services.trainer_url", Text("")),
    key("telemetry.log", Text("info")),
    key("telemetry.format", Text("text")),
];

/// The key of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
