//! Adapters from the catalog: promoted, swapped, refused and rolled back while the gateway answers.

use crate::rig::{EMBEDDER, MODEL, Rig, local};
use lore_catalog::NewAdapterVersion;
use lore_gateway::Adapters;
use lore_model::train::{InitB, Parameters};
use lore_model::{
    GenerateEvent, GenerateRequest, Generator, LocalGenerator, LocalSettings, LoraConfig,
    TargetModules,
};
use lore_types::{
    AdapterKind, AdapterMetrics, AdapterVersion, ContentHash, Message, Provenance, Role, Sampling,
    TrainedOn,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "tuned";

/// An adapter of random values: its answers are its own.
fn write(base: &LocalGenerator, folder: &Path, seed: u64) {
    let config = LoraConfig {
        r: 4,
        lora_alpha: 8.0,
        target_modules: TargetModules::List(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
        ..LoraConfig::default()
    };
    let parameters = Parameters::new(base.decoder(), config, InitB::Random, seed);
    let adapter = parameters.expect("parameters").adapter().clone();
    adapter.save(folder, base.decoder()).expect("saved");
}

/// Registers a version whose files lie in the rig's folder; gives their folder.
async fn register(rig: &Rig, number: u32, tune: impl FnOnce(&mut AdapterVersion)) -> PathBuf {
    let base = local().expect("the model");
    let path = path(number);
    write(&base, &rig.folder().join(&path), u64::from(number));
    let mut version = version(rig, number, AdapterKind::Lora, "adapter_model.safetensors");
    version.base_fingerprint = base.decoder().fingerprint().expect("a fingerprint");
    tune(&mut version);
    let new = NewAdapterVersion { version };
    rig.catalog
        .register_adapter(&new)
        .await
        .expect("registered");
    rig.folder().join(path)
}

/// Registers a model of its own, as full fine-tuning leaves it; gives its folder.
async fn register_full(rig: &Rig, number: u32) -> PathBuf {
    let folder = rig.folder().join(path(number));
    crate::tiny::write(&folder, u64::from(number));
    let version = version(rig, number, AdapterKind::Full, "model.safetensors");
    let new = NewAdapterVersion { version };
    let registered = rig.catalog.register_adapter(&new).await;
    registered.expect("registered");
    folder
}

fn path(number: u32) -> String {
    format!("adapters/{NAME}/{number}")
}

/// What the catalog knows of a version whose files are there.
fn version(rig: &Rig, number: u32, kind: AdapterKind, weights: &str) -> AdapterVersion {
    let weights = std::fs::read(rig.folder().join(path(number)).join(weights)).expect("weights");
    AdapterVersion {
        adapter: NAME.to_owned(),
        version: number,
        kind,
        base: MODEL.to_owned(),
        base_fingerprint: String::new(),
        path: path(number),
        sha256: ContentHash::of(&weights).to_string(),
        bytes: weights.len() as u64,
        job: None,
        parent: None,
        stale: false,
        metrics: AdapterMetrics::default(),
        provenance: Provenance {
            datasets: vec![TrainedOn {
                filename: "examples.jsonl".to_owned(),
                ..TrainedOn::default()
            }],
            ..Provenance::default()
        },
        parity: None,
        created_at: time::OffsetDateTime::now_utc(),
    }
}

async fn promote(rig: &Rig, number: u32) {
    let promoted = rig.catalog.promote_adapter(NAME, number, false).await;
    promoted.expect("promoted");
}

fn request(model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "Name three colours."}]);
    json!({"model": model, "messages": messages, "max_tokens": 12, "stream": stream})
}

/// What a model answers, and who signed it.
async fn answer(rig: &Rig, model: &str) -> (String, String) {
    let reply = rig
        .client
        .post("/v1/chat/completions", request(model, false))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (
        text(&reply.body["choices"][0]["message"]["content"]),
        text(&reply.body["model"]),
    )
}

/// What a model answers to the same request without a gateway.
async fn said(model: &LocalGenerator) -> String {
    let asked = GenerateRequest {
        messages: vec![Message::new(Role::User, "Name three colours.")],
        adapter: None,
        sampling: Sampling {
            max_new_tokens: 12,
            temperature: 0.0,
            ..Sampling::default()
        },
    };
    let mut events = model.generate(asked).await.expect("it answers");
    let mut text = String::new();
    while let Some(event) = events.recv().await {
        if let GenerateEvent::Token { text: more, .. } = event.expect("a token") {
            text.push_str(&more);
        }
    }
    text
}

async fn model(rig: &Rig, name: &str) -> Value {
    rig.client.get(&format!("/v1/models/{name}")).await.body
}

/// Waits until `/v1/models/NAME` is as wanted.
async fn until(rig: &Rig, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = model(rig, name).await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn serves(version: u32) -> impl Fn(&Value) -> bool {
    move |model| model["lineage"]["version"] == version
}

#[tokio::test(flavor = "multi_thread")]
async fn promoted_adapters_are_swapped_in_and_requests_in_flight_end_as_they_began() {
    let Some(rig) = Rig::with_adapters().await else {
        return;
    };
    let unknown = rig
        .client
        .post("/v1/chat/completions", request(NAME, false))
        .await;
    assert_eq!(
        (unknown.status, &unknown.body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    register(&rig, 1, |_| {}).await;
    register(&rig, 2, |version| {
        version.parent = Some("tuned@1".to_owned())
    })
    .await;
    let early = rig
        .client
        .post("/v1/chat/completions", request(NAME, false))
        .await;
    assert_eq!(early.status, 404, "{}", early.body);

    promote(&rig, 1).await;
    let listed = until(&rig, NAME, serves(1)).await;
    assert_eq!(
        (&listed["owned_by"], &listed["parent"]),
        (&json!("lore-adapter"), &json!(MODEL))
    );
    assert_eq!(
        listed["lineage"]["datasets"][0]["filename"],
        "examples.jsonl"
    );
    let (base, signed) = answer(&rig, MODEL).await;
    assert_eq!(signed, MODEL);
    let (first, signed) = answer(&rig, NAME).await;
    assert_eq!(signed, "tuned@1");
    let (second, _) = answer(&rig, "tuned@2").await;
    assert!(
        base != first && first != second && base != second,
        "{base} | {first} | {second}"
    );

    let mut in_flight = rig
        .client
        .open("/v1/chat/completions", request(NAME, true))
        .await;
    let mut begun = in_flight
        .chunk()
        .await
        .expect("a chunk")
        .expect("text")
        .to_vec();
    promote(&rig, 2).await;
    until(&rig, NAME, serves(2)).await;
    assert_eq!(
        answer(&rig, NAME).await,
        (second.clone(), "tuned@2".to_owned())
    );
    while let Some(more) = in_flight.chunk().await.expect("nothing is dropped") {
        begun.extend_from_slice(&more);
    }
    assert_eq!(joined(&begun), first);

    let names = rig.client.get("/v1/models").await.body;
    let names: Vec<&str> = names["data"]
        .as_array()
        .expect("models")
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    assert_eq!(
        names,
        [MODEL, NAME, "tuned@1", "tuned@2", EMBEDDER, "handbook"]
    );
    assert_eq!(
        model(&rig, "tuned@2").await["lineage"]["continued_from"],
        "tuned@1"
    );
    rig.catalog
        .promote_adapter(NAME, 1, true)
        .await
        .expect("rolled back");
    until(&rig, NAME, serves(1)).await;
    assert_eq!(answer(&rig, NAME).await.0, first);
}

/// The text of streamed chunks.
fn joined(events: &[u8]) -> String {
    let text = std::str::from_utf8(events).expect("UTF-8");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let chunks = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    chunks
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_both_names_and_the_old_one_is_served_on() {
    let Some(rig) = Rig::with_adapters().await else {
        return;
    };
    register(&rig, 1, |_| {}).await;
    promote(&rig, 1).await;
    until(&rig, NAME, serves(1)).await;
    let (first, _) = answer(&rig, NAME).await;

    register(&rig, 2, |version| {
        version.base = "other-7b".to_owned();
        version.base_fingerprint = "0123456789abcdef".to_owned();
    })
    .await;
    let damaged = register(&rig, 3, |_| {})
        .await
        .join("adapter_model.safetensors");
    let mut bytes = std::fs::read(&damaged).expect("weights");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&damaged, bytes).expect("damaged");
    let gone = register(&rig, 4, |_| {}).await;
    std::fs::remove_dir_all(gone).expect("removed");
    // A PEFT folder of other shapes whose hash is right, as an import may be.
    let config = register(&rig, 5, |version| version.base_fingerprint.clear())
        .await
        .join("adapter_config.json");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.replace("\"r\": 4", "\"r\": 8")).expect("changed");

    for (number, said) in [
        (2, vec!["`tuned@2` was trained on `other-7b`", MODEL]),
        (
            3,
            vec![
                "`tuned@3`",
                MODEL,
                "is damaged",
                "adapter_model.safetensors",
            ],
        ),
        (
            4,
            vec![
                "`tuned@4`",
                MODEL,
                "cannot be read",
                "adapter_model.safetensors",
            ],
        ),
        (5, vec!["`tuned@5`", MODEL, "rank 8"]),
    ] {
        let asked = rig
            .client
            .post(
                "/v1/chat/completions",
                request(&format!("tuned@{number}"), false),
            )
            .await;
        assert_eq!(asked.status, 409, "{}", asked.body);
        promote(&rig, number).await;
        let refused = |model: &Value| {
            model["lineage"]["promoted"] == number && model["lineage"]["refused"].is_string()
        };
        let listed = until(&rig, NAME, refused).await;
        for reason in [
            &listed["lineage"]["refused"],
            &asked.body["error"]["message"],
        ] {
            let reason = reason.as_str().expect("a reason");
            assert!(
                said.iter().all(|part| reason.contains(part)),
                "{number}: {reason}"
            );
        }
        assert_eq!(listed["lineage"]["version"], 1, "{listed}");
        assert_eq!(
            answer(&rig, NAME).await,
            (first.clone(), "tuned@1".to_owned())
        );
    }
    // Another gateway that starts now finds the last version that it can serve.
    let rig = rig.restarted().await;
    assert_eq!(answer(&rig, NAME).await, (first, "tuned@1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_answers_with_its_default_adapter() {
    let Some(rig) = Rig::with_adapters().await else {
        return;
    };
    register(&rig, 1, |_| {}).await;
    let question = json!({"collection": "handbook", "question": "How many days of leave does every employee have?", "max_new_tokens": 8});
    let asked = async |model: Option<&str>| {
        let mut body = question.clone();
        body["model"] = json!(model);
        let reply = rig.client.post("/v1/ask", body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    };
    assert_eq!(asked(None).await["model"], MODEL);
    rig.catalog
        .set_default_adapter("handbook", Some(NAME))
        .await
        .expect("set");
    let without = asked(None).await;
    let notice = without["notices"][0].as_str().expect("a notice");
    assert_eq!(without["model"], MODEL);
    assert!(
        notice.contains("`tuned` has no promoted version") || notice.contains("no adapter `tuned`"),
        "{notice}"
    );

    promote(&rig, 1).await;
    until(&rig, NAME, serves(1)).await;
    let tuned = asked(None).await;
    assert_eq!(
        (&tuned["model"], &tuned["notices"]),
        (&json!("tuned@1"), &Value::Null)
    );
    assert_eq!(asked(Some(MODEL)).await["model"], MODEL);
    assert_eq!(asked(Some("tuned@1")).await["model"], "tuned@1");
    let unknown = rig
        .client
        .post(
            "/v1/ask",
            json!({"collection": "handbook", "question": "x", "model": "nobody"}),
        )
        .await;
    assert_eq!(unknown.status, 404);
    let hint = unknown.body["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains(MODEL) && hint.contains(NAME), "{hint}");
    // Through OpenAI's route: the collection as the model, and the adapter beside a collection.
    let messages =
        json!([{"role": "user", "content": "How many days of leave does every employee have?"}]);
    for body in [
        json!({"model": "handbook", "messages": messages, "max_tokens": 8}),
        json!({"model": NAME, "collection": "handbook", "messages": messages, "max_tokens": 8}),
    ] {
        let reply = rig.client.post("/v1/chat/completions", body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(
            reply.body["lore"]["passages"][0]["document_name"], "leave.md",
            "{}",
            reply.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fully_fine_tuned_model_is_served_as_an_adapter_is_and_refused_when_damaged() {
    let Some(rig) = Rig::with_adapters().await else {
        return;
    };
    register_full(&rig, 1).await;
    register(&rig, 2, |_| {}).await;
    let damaged = register_full(&rig, 3).await.join("model.safetensors");
    let mut bytes = std::fs::read(&damaged).expect("weights");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&damaged, bytes).expect("damaged");

    promote(&rig, 1).await;
    until(&rig, NAME, serves(1)).await;
    let (own, signed) = answer(&rig, NAME).await;
    assert_eq!(signed, "tuned@1");
    // The very model of that folder, asked without a gateway.
    let settings = LocalSettings {
        name: "alone".to_owned(),
        ..LocalSettings::default()
    };
    let alone = LocalGenerator::load(&rig.folder().join(path(1)), settings).expect("it loads");
    assert_eq!(own, said(&alone).await);

    promote(&rig, 2).await;
    until(&rig, NAME, serves(2)).await;
    let (lora, signed) = answer(&rig, NAME).await;
    assert_eq!(signed, "tuned@2");
    assert_ne!(own, lora);
    assert_eq!(answer(&rig, "tuned@1").await.0, own);

    promote(&rig, 3).await;
    let refused = |model: &Value| model["lineage"]["refused"].is_string();
    let listed = until(&rig, NAME, refused).await;
    let reason = listed["lineage"]["refused"].as_str().expect("a reason");
    for part in ["`tuned@3`", MODEL, "is damaged", "model.safetensors"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(answer(&rig, NAME).await, (lora, "tuned@2".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_into_the_catalog_serves_a_promotion_and_looks_are_less_than_a_second_apart() {
    let Some(rig) = Rig::with_adapters().await else {
        return;
    };
    // With a look that takes no second this is the promise of two seconds; loading an adapter takes a fraction of one.
    assert!(Adapters::LOOKS_EVERY < Duration::from_secs(1));
    for number in 1..=2 {
        register(&rig, number, |_| {}).await;
        promote(&rig, number).await;
        rig.adapters.look().await;
        let listed = model(&rig, NAME).await;
        assert_eq!(listed["lineage"]["version"], number, "{listed}");
    }
}
