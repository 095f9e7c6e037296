//! Versions of adapters: promotion with its parity gate, rollback, import, export, deletion.

use crate::lore::{Lore, tamper};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Files of an export, by name.
fn untar(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + 512).filter(|header| header[0] != 0) {
        let text = |from: usize, to: usize| {
            String::from_utf8_lossy(&header[from..to])
                .trim_end_matches('\0')
                .to_owned()
        };
        let length = usize::from_str_radix(&text(124, 136), 8).expect("a length");
        at += 512;
        files.push((text(0, 100), bytes[at..at + length].to_vec()));
        at += length.next_multiple_of(512);
    }
    files
}

#[tokio::test]
async fn versions_are_promoted_rolled_back_and_deleted() {
    let lore = Lore::new().await;
    lore.adapter("letters", 3).await;
    let promote = |body: Value| lore.post("/v1/adapters/letters/promote", body);
    assert_eq!(promote(json!({"version": 1})).await["promoted"], 1);
    assert_eq!(promote(json!({"version": 2})).await["promoted"], 2);
    let adapter = promote(json!({})).await;
    assert_eq!(adapter["promoted"], 3, "the newest where none is named");
    let parity = &adapter["versions"][2]["parity"];
    assert_eq!(
        (&parity["passed"], &parity["prompts"]),
        (&json!(true), &json!(4)),
        "{parity}"
    );
    let rollback = || lore.post("/v1/adapters/letters/rollback", json!({}));
    assert_eq!(rollback().await["promoted"], 2);
    assert_eq!(rollback().await["promoted"], 1);
    let (status, refused) = lore
        .send(Method::POST, "/v1/adapters/letters/rollback", None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let (status, refused) = lore
        .send(Method::DELETE, "/v1/adapters/letters?version=1", None)
        .await;
    assert_eq!(
        status,
        StatusCode::CONFLICT,
        "the promoted version stays: {refused}"
    );
    let (status, _) = lore
        .send(Method::DELETE, "/v1/adapters/letters?version=3", None)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(!lore.path("adapters/letters/3").exists());
    lore.send(Method::DELETE, "/v1/adapters/letters", None)
        .await;
    let (status, _) = lore.send(Method::GET, "/v1/adapters/letters", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    lore.adapter("letters", 1).await;
    assert_eq!(
        lore.get("/v1/adapters/letters").await["versions"][0]["version"],
        4,
        "numbers are never used twice"
    );
}

#[tokio::test]
async fn what_is_not_served_as_it_was_trained_is_not_promoted() {
    let lore = Lore::new().await;
    lore.adapter("letters", 1).await;
    // The weights are untouched, but another alpha makes a server compute something else.
    let config = lore.path("adapters/letters/1/adapter_config.json");
    tamper(&config, |bytes| {
        let text =
            String::from_utf8_lossy(bytes).replace("\"lora_alpha\": 32", "\"lora_alpha\": 48");
        *bytes = text.into_bytes();
    });
    let (status, refused) = lore
        .send(
            Method::POST,
            "/v1/adapters/letters/promote",
            Some(json!({"force": true})),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("`letters@1` is not served as it was trained"),
        "{message}"
    );
    let adapter = lore.get("/v1/adapters/letters").await;
    assert_eq!(
        (
            &adapter["promoted"],
            &adapter["versions"][0]["parity"]["passed"]
        ),
        (&Value::Null, &json!(false))
    );
}

#[tokio::test]
async fn damaged_weights_and_another_base_are_refused_with_both_names() {
    let lore = Lore::new().await;
    lore.adapter("letters", 2).await;
    let weights = lore.path("adapters/letters/1/adapter_model.safetensors");
    tamper(&weights, |bytes| *bytes.last_mut().expect("a byte") ^= 1);
    let promote = |version: u32| {
        lore.send(
            Method::POST,
            "/v1/adapters/letters/promote",
            Some(json!({"version": version})),
        )
    };
    let (status, refused) = promote(1).await;
    let message = refused["error"]["message"].as_str().expect("a message");
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        message.contains("letters@1") && message.contains("`tiny`") && message.contains("SHA-256"),
        "{message}"
    );
    // The base's files are replaced by another model's.
    std::fs::copy(
        lore.path("models/other/model.safetensors"),
        lore.path("models/tiny/model.safetensors"),
    )
    .expect("copying");
    let (status, refused) = promote(2).await;
    let message = refused["error"]["message"].as_str().expect("a message");
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        message.contains("letters@2")
            && message.contains("tiny")
            && message.contains("fingerprint"),
        "{message}"
    );
}

#[tokio::test]
async fn an_export_is_imported_as_another_adapter_with_the_same_weights() {
    let lore = Lore::new().await;
    lore.adapter("letters", 1).await;
    let files = untar(&lore.bytes("/v1/adapters/letters/export?version=1").await);
    let file = |name: &str| {
        let found = files
            .iter()
            .find(|(path, _)| path == &format!("letters-1/{name}"));
        found.expect("a file of the export").1.clone()
    };
    let form = |base: &str, weights: Vec<u8>| {
        Form::new()
            .text("name", "copy")
            .text("base", base.to_owned())
            .part(
                "file",
                Part::bytes(file("adapter_config.json")).file_name("adapter_config.json"),
            )
            .part(
                "file",
                Part::bytes(weights).file_name("adapter_model.safetensors"),
            )
    };
    let weights = file("adapter_model.safetensors");
    let (status, version) = lore
        .form("/v1/adapters", form("tiny", weights.clone()))
        .await;
    assert_eq!(status, StatusCode::OK, "{version}");
    assert_eq!(
        (&version["version"], &version["provenance"]["imported_from"]),
        (&json!(1), &json!("tiny"))
    );
    assert_eq!(
        std::fs::read(lore.path("adapters/copy/1/adapter_model.safetensors")).expect("weights"),
        weights
    );
    assert_eq!(
        lore.post("/v1/adapters/copy/promote", json!({})).await["promoted"],
        1
    );

    let (status, refused) = lore
        .form(
            "/v1/adapters",
            form("tiny", weights[..weights.len() / 2].to_vec()),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let (status, refused) = lore.form("/v1/adapters", form("no-model", weights)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
    let staged = std::fs::read_dir(lore.path("adapters/.staging"))
        .expect("a folder")
        .count();
    assert_eq!(staged, 0, "what was refused is not kept");
}

#[tokio::test]
async fn an_adapter_is_exported_merged_and_as_gguf() {
    let lore = Lore::new().await;
    lore.adapter("letters", 1).await;
    let files = untar(
        &lore
            .bytes("/v1/adapters/letters/export?format=merged")
            .await,
    );
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for file in [
        "letters-1/config.json",
        "letters-1/model.safetensors",
        "letters-1/tokenizer.json",
    ] {
        assert!(names.contains(&file), "{file} is missing in {names:?}");
    }
    // Merged and unmerged give the same logits.
    let folder = lore.path("merged");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, bytes) in &files {
        let name = name.rsplit('/').next().expect("a name");
        std::fs::write(folder.join(name), bytes).expect("writing");
    }
    let load = |path: &std::path::Path| {
        let source = lore_model::Source::open(path).expect("a model");
        lore_model::Decoder::load(&source, None, 1, &lore_model::Device::Cpu).expect("a model")
    };
    let (merged, base) = (load(&folder), load(&lore.path("models/tiny")));
    let adapter =
        lore_model::Adapter::load(&lore.path("adapters/letters/1"), &base, "letters", "tiny")
            .expect("an adapter");
    let ids = vec![(97..117).collect::<Vec<u32>>()];
    let (merged, unmerged) = (
        merged.all_logits(&ids, None).expect("logits"),
        base.all_logits(&ids, Some(&adapter)).expect("logits"),
    );
    let off = (merged - unmerged)
        .and_then(|off| off.abs()?.max_all()?.to_scalar::<f32>())
        .expect("a difference");
    assert!(off < 1e-4, "{off}");
    let (status, refused) = lore
        .send(
            Method::GET,
            "/v1/adapters/letters/export?format=gguf&type=q4_0",
            None,
        )
        .await;
    assert_eq!(
        (status, &refused["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("type"))
    );
    let left: Vec<_> = std::fs::read_dir(lore.path("adapters/.staging"))
        .expect("a folder")
        .collect();
    assert!(left.len() <= 1, "{left:?}");
}
