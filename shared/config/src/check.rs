//! From layers to the checked configuration, section by section.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;

use crate::config::{
    Answer, Backend, Config, Dense, Device, Generator, Ingest, LogFormat, Models, Precision,
    Retrieval, Server, Services, Storage, Telemetry, Trainer,
};
use crate::layers::Layers;
use crate::reader::Reader;
use crate::{ConfigErrors, Secret};

/// No setting that counts things goes past this.
const MANY: usize = 1_000_000;

pub(crate) fn check(
    layers: Layers,
    env: &BTreeMap<String, String>,
) -> Result<Config, ConfigErrors> {
    let mut reader = Reader::new(layers, env);
    let server = server(&mut reader);
    let storage = storage(&mut reader);
    let models = models(&mut reader);
    let mut config = Config {
        trainer: trainer(&mut reader, models.threads),
        models,
        dense: dense(&mut reader, &storage.data_dir),
        ingest: ingest(&mut reader, &server),
        retrieval: retrieval(&mut reader),
        answer: answer(&mut reader),
        generator: generator(&mut reader),
        services: services(&mut reader),
        telemetry: telemetry(&mut reader),
        server,
        storage,
        settings: Vec::new(),
    };
    let (layers, problems) = reader.finish();
    config.settings = layers.settings();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigErrors::Problems { problems })
    }
}

fn server(reader: &mut Reader<'_>) -> Server {
    let listen = listen(reader);
    let api_keys = reader.secrets("server.api_keys");
    refuse_open_door(reader, listen, &api_keys);
    Server {
        listen,
        api_keys,
        max_body: reader.size("server.max_body"),
        max_files_per_upload: reader.count("server.max_files_per_upload", 1..=MANY),
        shutdown_grace: reader.duration("server.shutdown_grace"),
    }
}

fn listen(reader: &mut Reader<'_>) -> SocketAddr {
    let text = reader
        .text("server.listen")
        .replacen("localhost:", "127.0.0.1:", 1);
    text.parse().unwrap_or_else(|_| {
        let remedy = "write an IP address and a port such as \"127.0.0.1:7878\"";
        reader.problem(
            "server.listen",
            format!("`{text}` is not an address with a port"),
            remedy,
        );
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    })
}

fn refuse_open_door(reader: &mut Reader<'_>, listen: SocketAddr, api_keys: &[Secret]) {
    if listen.ip().is_loopback() || !api_keys.is_empty() {
        return;
    }
    let what = format!("{listen} can be reached from other machines and no API key is set");
    let remedy = "set server.api_keys (or LORE_API_KEY), or listen on 127.0.0.1";
    reader.problem("server.listen", what, remedy);
}

fn storage(reader: &mut Reader<'_>) -> Storage {
    let default = reader.dirs.data();
    let data_dir = reader.path("storage.data_dir", default);
    Storage {
        catalog: reader.path("catalog.path", Some(data_dir.join("catalog.db"))),
        lexical: reader.path("lexical.dir", Some(data_dir.join("lexical"))),
        data_dir,
    }
}

fn models(reader: &mut Reader<'_>) -> Models {
    let default = reader.dirs.models();
    refuse_reranker(reader);
    Models {
        dir: reader.path("models.dir", default),
        catalogue: reader
            .optional("models.catalogue")
            .and_then(|text| reader.dirs.resolve(&text)),
        offline: reader.bool("models.offline"),
        generator: required(reader, "models.generator"),
        embedder: required(reader, "models.embedder"),
        precision: precision(reader),
        onnxruntime: required(reader, "models.onnxruntime"),
        pdfium: required(reader, "models.pdfium"),
        threads: threads(reader),
        device: device(reader),
    }
}

fn device(reader: &mut Reader<'_>) -> Device {
    let choices = [
        ("auto", Device::Auto),
        ("cpu", Device::Cpu),
        ("cuda", Device::Cuda),
    ];
    reader
        .choice("models.device", &choices)
        .unwrap_or(Device::Auto)
}

/// Refuses what would have no effect: the key is kept for the day on which it has one.
fn refuse_reranker(reader: &mut Reader<'_>) {
    if let Some(name) = reader.optional("models.reranker") {
        let what = format!("is `{name}`, but reranking is not supported yet");
        reader.problem("models.reranker", what, "leave it empty");
    }
}

fn required(reader: &mut Reader<'_>, key: &'static str) -> String {
    let text = reader.text(key);
    if text.is_empty() {
        reader.problem(
            key,
            "is empty",
            "write a name that `lore models list` shows, or a path",
        );
    }
    text
}

fn precision(reader: &mut Reader<'_>) -> Precision {
    let known = [("float32", Precision::Float32), ("int8", Precision::Int8)];
    let chosen = reader.choice("models.precision", &known);
    chosen.unwrap_or(Precision::Float32)
}

fn threads(reader: &mut Reader<'_>) -> NonZeroUsize {
    let given = reader.count("models.threads", 0..=1024);
    let allowed = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let automatic = num_cpus::get_physical().clamp(1, allowed);
    NonZeroUsize::new(given)
        .or(NonZeroUsize::new(automatic))
        .unwrap_or(NonZeroUsize::MIN)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Here,
    Elsewhere,
}

fn dense(reader: &mut Reader<'_>, data_dir: &Path) -> Dense {
    let backend = reader.choice(
        "dense.backend",
        &[("embedded", Place::Here), ("server", Place::Elsewhere)],
    );
    let url = reader.url("dense.url");
    let api_key = reader.secret("dense.api_key");
    let prefix = prefix(reader);
    match (backend, url) {
        (Some(Place::Elsewhere), Some(url)) => Dense::Server {
            url,
            api_key,
            prefix,
        },
        (Some(Place::Elsewhere), None) => {
            needs_address(reader, "dense.url", "dense.backend = \"server\"");
            Dense::Embedded {
                dir: data_dir.join("dense"),
            }
        }
        (Some(Place::Here), Some(_)) => {
            let remedy = "set dense.backend = \"server\", or leave dense.url empty";
            reader.problem(
                "dense.url",
                "is set, but dense.backend is \"embedded\"",
                remedy,
            );
            Dense::Embedded {
                dir: data_dir.join("dense"),
            }
        }
        (Some(Place::Here) | None, _) => Dense::Embedded {
            dir: data_dir.join("dense"),
        },
    }
}

fn prefix(reader: &mut Reader<'_>) -> String {
    let prefix = reader.text("dense.prefix");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(allowed) {
        let remedy = "write 1 to 64 of a-z A-Z 0-9 _ -, such as \"lore_\"";
        reader.problem(
            "dense.prefix",
            format!("`{prefix}` cannot stand before names"),
            remedy,
        );
    }
    prefix
}

fn needs_address(reader: &mut Reader<'_>, key: &'static str, because: &str) {
    if reader.optional(key).is_none() {
        reader.problem(
            key,
            format!("is empty, but {because} needs it"),
            "write the server's address",
        );
    }
}

fn ingest(reader: &mut Reader<'_>, server: &Server) -> Ingest {
    let ingest = Ingest {
        workers: NonZeroUsize::new(reader.count("ingest.workers", 1..=256))
            .unwrap_or(NonZeroUsize::MIN),
        max_document: reader.size("ingest.max_document"),
        parse_timeout: reader.duration("ingest.parse_timeout"),
        parse_memory: reader.size("ingest.parse_memory"),
        max_queue: reader.count("ingest.max_queue", 1..=MANY),
        max_chunk_tokens: reader.count("ingest.max_chunk_tokens", 16..=8192),
        overlap_tokens: reader.count("ingest.overlap_tokens", 0..=4096),
        embed_batch: reader.count("ingest.embed_batch", 1..=1024),
    };
    if ingest.overlap_tokens * 2 > ingest.max_chunk_tokens {
        let what = format!(
            "{} is more than half of ingest.max_chunk_tokens",
            ingest.overlap_tokens
        );
        reader.problem(
            "ingest.overlap_tokens",
            what,
            format!("write at most {}", ingest.max_chunk_tokens / 2),
        );
    }
    if ingest.max_document > server.max_body {
        let what = format!(
            "{} is more than server.max_body, {}",
            ingest.max_document, server.max_body
        );
        reader.problem(
            "ingest.max_document",
            what,
            "raise server.max_body or lower this",
        );
    }
    ingest
}

fn retrieval(reader: &mut Reader<'_>) -> Retrieval {
    let retrieval = Retrieval {
        candidates: reader.count("retrieval.candidates", 1..=10_000),
        passages: reader.count("retrieval.passages", 1..=50),
        rrf_k: reader.number("retrieval.rrf_k", 1.0..=10_000.0),
        dense_weight: reader.number("retrieval.dense_weight", 0.0..=1000.0),
        lexical_weight: reader.number("retrieval.lexical_weight", 0.0..=1000.0),
        prompt_tokens: reader.count("retrieval.prompt_tokens", 64..=MANY),
    };
    if retrieval.passages > retrieval.candidates {
        let what = format!(
            "{} is more than retrieval.candidates, {}",
            retrieval.passages, retrieval.candidates
        );
        reader.problem(
            "retrieval.passages",
            what,
            "raise retrieval.candidates or lower this",
        );
    }
    if retrieval.dense_weight + retrieval.lexical_weight == 0.0 {
        let what = "is 0 and retrieval.lexical_weight too, so nothing could be ranked";
        reader.problem(
            "retrieval.dense_weight",
            what,
            "give at least one side a weight above 0",
        );
    }
    retrieval
}

fn answer(reader: &mut Reader<'_>) -> Answer {
    let abstain_sentence = reader.text("answer.abstain_sentence");
    if abstain_sentence.is_empty() {
        reader.problem(
            "answer.abstain_sentence",
            "is empty",
            "write the sentence to say when nothing is found",
        );
    }
    Answer {
        abstain_sentence,
        support_threshold: reader.number("answer.support_threshold", 0.0..=1.0),
        max_new_tokens: reader.count("answer.max_new_tokens", 1..=MANY),
        temperature: reader.number("answer.temperature", 0.0..=2.0),
        frequency_penalty: reader.number("answer.frequency_penalty", -2.0..=2.0),
        strict: reader.bool("answer.strict"),
    }
}

fn generator(reader: &mut Reader<'_>) -> Generator {
    let place = reader.choice(
        "generator.backend",
        &[("local", Place::Here), ("openai", Place::Elsewhere)],
    );
    let base_url = reader.url("generator.base_url");
    let model = reader.optional("generator.model");
    let api_key = reader.secret("generator.api_key");
    if place == Some(Place::Elsewhere) {
        needs_address(
            reader,
            "generator.base_url",
            "generator.backend = \"openai\"",
        );
        if model.is_none() {
            let what = "is empty, but generator.backend = \"openai\" needs it";
            reader.problem(
                "generator.model",
                what,
                "write the model's name on that server",
            );
        }
    } else if place == Some(Place::Here) && (base_url.is_some() || model.is_some()) {
        let key = if base_url.is_some() {
            "generator.base_url"
        } else {
            "generator.model"
        };
        let remedy = "set generator.backend = \"openai\"; the local model is models.generator";
        reader.problem(key, "is set, but generator.backend is \"local\"", remedy);
    }
    let backend = match (place, base_url, model) {
        (Some(Place::Elsewhere), Some(base_url), Some(model)) => Backend::OpenAi {
            base_url,
            model,
            api_key,
        },
        _ => Backend::Local,
    };
    Generator {
        backend,
        max_queue: reader.count("generator.max_queue", 1..=MANY),
    }
}

fn trainer(reader: &mut Reader<'_>, threads: NonZeroUsize) -> Trainer {
    Trainer {
        threads: NonZeroUsize::new(reader.count("trainer.threads", 0..=1024)).unwrap_or(threads),
        max_memory: reader.optional_size("trainer.max_memory"),
        max_queue: reader.count("trainer.max_queue", 1..=MANY),
    }
}

fn services(reader: &mut Reader<'_>) -> Services {
    Services {
        ingest_url: reader.url("services.ingest_url"),
        trainer_url: reader.url("services.trainer_url"),
    }
}

fn telemetry(reader: &mut Reader<'_>) -> Telemetry {
    let format = reader.choice(
        "telemetry.format",
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    );
    Telemetry {
        log: reader.text("telemetry.log"),
        format: format.unwrap_or(LogFormat::Text),
    }
}
