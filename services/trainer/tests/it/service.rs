//! Jobs over HTTP.

use crate::lore::{Lore, examples};
use lore_trainer::TrainerSettings;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_job_in_openais_shapes_becomes_a_version_with_its_provenance() {
    let lore = Lore::new().await;
    let job = lore
        .job(
            "letters",
            json!({"eval_every_steps": 2, "checkpoint_every_steps": 2}),
        )
        .await;
    assert_eq!(job["object"], "fine_tuning.job");
    assert!(
        job["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("ftjob-")),
        "{job:#}"
    );
    assert!(
        job["lore"]["estimate"]["memory_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 1 << 20),
        "{job:#}"
    );
    assert_eq!(job["lore"]["datasets"][0]["format"], "messages");
    let job = lore.end(&job).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(job["fine_tuned_model"], "letters@1");
    assert_eq!(job["lore"]["progress"]["step"], 4);
    assert!(
        job["trained_tokens"]
            .as_u64()
            .is_some_and(|tokens| tokens > 0)
    );
    let id = job["id"].as_str().expect("an id");

    let events = lore
        .get(&format!("/v1/fine_tuning/jobs/{id}/events?limit=100"))
        .await;
    let messages: Vec<&str> = events["data"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["message"].as_str())
        .collect();
    assert_eq!(
        messages.first(),
        Some(&"New fine-tuned model created: letters@1")
    );
    assert!(
        messages
            .last()
            .is_some_and(|last| last.starts_with("Created fine-tuning job")),
        "{messages:?}"
    );
    assert!(
        events["data"]
            .as_array()
            .expect("events")
            .iter()
            .any(|event| event["type"] == "metrics" && event["data"]["train_loss"].is_number())
    );
    let checkpoints = lore
        .get(&format!("/v1/fine_tuning/jobs/{id}/checkpoints"))
        .await;
    let steps: Vec<u64> = checkpoints["data"]
        .as_array()
        .expect("checkpoints")
        .iter()
        .filter_map(|one| one["step_number"].as_u64())
        .collect();
    assert_eq!(steps, [4, 2]);

    let result = job["result_files"][0].as_str().expect("a result file");
    let csv =
        String::from_utf8(lore.bytes(&format!("/v1/files/{result}/content")).await).expect("text");
    assert!(
        csv.starts_with("step,train_loss,valid_loss") && csv.lines().count() > 5,
        "{csv}"
    );

    let adapter = lore.get("/v1/adapters/letters").await;
    let version = &adapter["versions"][0];
    assert_eq!(
        (&adapter["promoted"], &version["base"]),
        (&Value::Null, &json!("tiny"))
    );
    assert!(
        version["provenance"]["base_files"]["model.safetensors"]
            .as_str()
            .is_some_and(|sum| sum.len() == 64),
        "{version:#}"
    );
    assert_eq!(
        version["provenance"]["datasets"][0]["sha256"]
            .as_str()
            .map(str::len),
        Some(64)
    );
    assert_eq!(version["provenance"]["settings"]["lora_r"], 2);
    for file in [
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "provenance.json",
        "metrics.jsonl",
    ] {
        assert!(
            lore.path("adapters/letters/1").join(file).exists(),
            "{file} is missing"
        );
    }
    let card = std::fs::read_to_string(lore.path("adapters/letters/1/README.md")).expect("a card");
    assert!(
        card.contains("base_model: tiny") && card.contains("held-out loss after"),
        "{card}"
    );
}

#[tokio::test]
async fn every_problem_of_a_request_is_told_at_once() {
    let lore = Lore::new().await;
    let text = format!("{}not JSON\n{{\"messages\": []}}\n", examples(3));
    let file = lore.upload("bad.jsonl", &text).await;
    let body = json!({
        "model": "tiny", "training_file": file, "suffix": "no spaces",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"learning_rte": 1, "n_epochs": "auto"}}},
        "lore": {"datasets": [{"file": "file-1"}]},
    });
    let (status, answer) = lore
        .send(Method::POST, "/v1/fine_tuning/jobs", Some(body))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["error"]["message"].as_str().expect("a message");
    for part in [
        "did you mean `learning_rate`?",
        "line 4",
        "line 5",
        "`no spaces` cannot be an adapter's name",
        "`file-1` is not the id of a file",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_eq!(lore.get("/v1/fine_tuning/jobs").await["data"], json!([]));

    let body = json!({"model": "tiny", "training_file": file, "lore": {"on_bad_line": "skip", "settings": {"max_steps": 1}}});
    let job = lore.post("/v1/fine_tuning/jobs", body).await;
    assert_eq!(job["lore"]["datasets"][0]["skipped"], 2);
    assert_eq!(job["lore"]["datasets"][0]["bad_lines"][0]["line"], 4);
    assert_eq!(lore.end(&job).await["status"], "succeeded");
}

#[tokio::test]
async fn too_little_memory_is_refused_before_the_start_and_ends_a_job_that_waited() {
    let mut lore = Lore::with(TrainerSettings {
        threads: 1,
        max_memory: Some(1 << 20),
        ..TrainerSettings::default()
    })
    .await;
    let file = lore.upload("letters.jsonl", &examples(20)).await;
    let body = json!({"model": "tiny", "training_file": file, "lore": {"name": "letters"}});
    let (status, answer) = lore
        .send(Method::POST, "/v1/fine_tuning/jobs", Some(body.clone()))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("1048576 are available") && message.contains("gradient_checkpointing"),
        "{message}"
    );
    lore.stop().await;

    lore.start(TrainerSettings {
        threads: 1,
        ..TrainerSettings::default()
    })
    .await;
    let job = lore.post("/v1/fine_tuning/jobs", body).await;
    lore.send(
        Method::POST,
        &format!(
            "/v1/fine_tuning/jobs/{}/pause",
            job["id"].as_str().expect("an id")
        ),
        None,
    )
    .await;
    lore.wait(&job, |job| job["status"] == "paused").await;
    lore.stop().await;
    lore.start(TrainerSettings {
        threads: 1,
        max_memory: Some(1 << 20),
        ..TrainerSettings::default()
    })
    .await;
    lore.post(
        &format!(
            "/v1/fine_tuning/jobs/{}/resume",
            job["id"].as_str().expect("an id")
        ),
        json!({}),
    )
    .await;
    let job = lore.end(&job).await;
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("out_of_memory")),
        "{job:#}"
    );
}

#[tokio::test]
async fn a_job_is_paused_cancelled_and_resumed_from_its_checkpoint() {
    let lore = Lore::new().await;
    let job = lore
        .job(
            "letters",
            json!({"max_steps": 2000, "eval_every_steps": 500}),
        )
        .await;
    let path = format!(
        "/v1/fine_tuning/jobs/{}",
        job["id"].as_str().expect("an id")
    );
    lore.wait(&job, |job| {
        job["lore"]["progress"]["step"].as_u64() > Some(0)
    })
    .await;
    assert_eq!(
        lore.post(&format!("{path}/pause"), json!({})).await["status"],
        "paused"
    );
    let (status, refused) = lore
        .send(Method::POST, &format!("{path}/pause"), None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(
        refused["error"]["message"]
            .as_str()
            .is_some_and(|text| text.ends_with("is paused, so it cannot be paused")),
        "{refused}"
    );
    let (status, refused) = lore
        .send(
            Method::DELETE,
            &format!(
                "/v1/files/{}",
                job["training_file"].as_str().expect("an id")
            ),
            None,
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    lore.post(&format!("{path}/resume"), json!({})).await;
    let events = format!("{path}/events?limit=100");
    lore.until(&events, |events| {
        events.to_string().contains("training goes on after step")
    })
    .await;
    assert_eq!(
        lore.post(&format!("{path}/cancel"), json!({})).await["status"],
        "cancelled"
    );
    let (status, _) = lore
        .send(Method::POST, &format!("{path}/cancel"), None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    let text =
        String::from_utf8(lore.bytes(&format!("{path}/events?stream=true")).await).expect("text");
    assert!(
        text.contains("training goes on after step") && text.trim_end().ends_with("data: [DONE]"),
        "{text}"
    );
    assert_eq!(lore.get("/v1/adapters").await["data"], json!([]));
}

#[tokio::test]
async fn a_stopped_service_hands_its_job_back_and_the_next_one_ends_it() {
    let mut lore = Lore::new().await;
    let whole = lore.job("whole", json!({"max_steps": 60})).await;
    let whole = lore.end(&whole).await;
    let job = lore.job("stopped", json!({"max_steps": 60})).await;
    lore.wait(&job, |job| {
        job["lore"]["progress"]["step"].as_u64() > Some(0)
    })
    .await;
    lore.stop().await;
    let stands = lore
        .catalog
        .fine_tuning_job(job["id"].as_str().expect("an id").parse().expect("an id"))
        .await
        .expect("a job");
    assert_eq!(stands.status, lore_types::FineTuningStatus::Queued);
    lore.start(TrainerSettings {
        threads: 1,
        ..TrainerSettings::default()
    })
    .await;
    let job = lore.end(&job).await;
    assert_eq!(
        (&job["status"], &job["lore"]["attempts"]),
        (&json!("succeeded"), &json!(2)),
        "{job:#}"
    );
    assert_eq!(whole["status"], "succeeded");
    let bytes = |name: &str| {
        std::fs::read(lore.path(&format!("adapters/{name}/1/adapter_model.safetensors")))
            .expect("weights")
    };
    assert!(
        bytes("whole") == bytes("stopped"),
        "bitwise the adapter of a run that was not stopped"
    );
}

#[tokio::test]
async fn a_job_goes_on_from_an_adapter_mixes_data_and_replays() {
    let lore = Lore::new().await;
    lore.adapter("letters", 1).await;
    let (first, general) = (
        lore.upload("a.jsonl", &examples(12)).await,
        lore.upload("b.jsonl", &examples(30)).await,
    );
    let body = json!({
        "model": "letters", "training_file": first, "validation_file": general,
        "lore": {"settings": {"max_steps": 2}, "datasets": [{"file": general, "weight": 0.5}], "replay": {"file": general, "share": 0.25}},
    });
    let job = lore.post("/v1/fine_tuning/jobs", body).await;
    assert_eq!(
        (&job["model"], &job["lore"]["name"]),
        (&json!("tiny"), &json!("letters"))
    );
    assert_eq!(
        (
            &job["lore"]["continue_from"],
            &job["lore"]["settings"]["lora_r"]
        ),
        (&json!("letters@1"), &json!(2))
    );
    let roles: Vec<&str> = job["lore"]["datasets"]
        .as_array()
        .expect("reports")
        .iter()
        .filter_map(|one| one["role"].as_str())
        .collect();
    assert_eq!(roles, ["training", "training", "validation", "replay"]);
    let job = lore.end(&job).await;
    assert_eq!(
        (&job["status"], &job["fine_tuned_model"]),
        (&json!("succeeded"), &json!("letters@2")),
        "{job:#}"
    );
    assert_eq!(
        lore.get("/v1/adapters/letters").await["versions"][1]["parent"],
        "letters@1"
    );
}

#[tokio::test]
async fn files_are_kept_listed_given_back_and_deleted() {
    let lore = Lore::new().await;
    let text = examples(2);
    let id = lore.upload("two.jsonl", &text).await;
    let list = lore.get("/v1/files?purpose=fine-tune").await;
    assert_eq!(
        (&list["data"][0]["filename"], &list["data"][0]["bytes"]),
        (&json!("two.jsonl"), &json!(text.len()))
    );
    assert_eq!(
        lore.bytes(&format!("/v1/files/{id}/content")).await,
        text.as_bytes()
    );
    let (status, gone) = lore
        .send(Method::DELETE, &format!("/v1/files/{id}"), None)
        .await;
    assert_eq!((status, &gone["deleted"]), (StatusCode::OK, &json!(true)));
    let (status, _) = lore
        .send(Method::GET, &format!("/v1/files/{id}"), None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let left = std::fs::read_dir(lore.path("training/files"))
        .expect("a folder")
        .count();
    assert_eq!(left, 2, "only `partial` and an empty folder are left");
    let form = Form::new()
        .text("purpose", "assistants")
        .part("file", Part::bytes(vec![1]).file_name("a"));
    let (status, refused) = lore.form("/v1/files", form).await;
    assert_eq!(
        (status, &refused["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("purpose"))
    );
}

#[tokio::test]
async fn full_fine_tuning_gives_a_whole_model_that_passes_the_gate() {
    let mut lore = Lore::new().await;
    let settings = json!({"method": "full", "max_steps": 60, "learning_rate": 3e-3, "checkpoint_every_steps": 7});
    let whole = lore.job("whole", settings.clone()).await;
    let whole = lore.end(&whole).await;
    assert_eq!(whole["status"], "succeeded", "{whole:#}");
    let progress = &whole["lore"]["progress"];
    let (first, best) = (
        progress["first_validation_loss"].as_f64(),
        progress["best_validation_loss"].as_f64(),
    );
    assert!(best < first, "{progress}");
    let adapter = lore.post("/v1/adapters/whole/promote", json!({})).await;
    assert_eq!(
        (&adapter["promoted"], &adapter["versions"][0]["kind"]),
        (&json!(1), &json!("full"))
    );
    assert!(
        lore.path("adapters/whole/1/tokenizer.json").exists()
            && lore.path("adapters/whole/1/config.json").exists()
    );
    let (status, refused) = lore
        .send(Method::GET, "/v1/adapters/whole/export", None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");

    let job = lore.job("stopped", settings).await;
    lore.wait(&job, |job| {
        job["lore"]["progress"]["step"].as_u64() > Some(0)
    })
    .await;
    lore.stop().await;
    lore.start(TrainerSettings {
        threads: 1,
        ..TrainerSettings::default()
    })
    .await;
    let job = lore.end(&job).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let bytes = |name: &str| {
        std::fs::read(lore.path(&format!("adapters/{name}/1/model.safetensors"))).expect("weights")
    };
    assert!(
        bytes("whole") == bytes("stopped"),
        "bitwise the model of a run that was not stopped"
    );
}
