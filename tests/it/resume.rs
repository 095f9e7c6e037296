//! Power cuts during a training run: it goes on from its last checkpoint, to bitwise the same adapter.

use crate::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const BASE: &str = "smollm2-135m-instruct";
const KILLS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(600);

fn dataset() -> String {
    let line = |number: usize| {
        let words = "more ".repeat(number % 4);
        json!({"messages": [
            {"role": "user", "content": format!("{number}?")},
            {"role": "assistant", "content": format!("{words}{number}")},
        ]})
    };
    (0..8).map(|number| format!("{}\n", line(number))).collect()
}

async fn start(server: &Server, name: &str) -> Result<String> {
    let file = server
        .file("stations.jsonl", dataset().into_bytes())
        .await?;
    let request = json!({"model": BASE, "training_file": file["id"], "seed": 3, "lore": {"name": name, "settings": {
        "max_steps": 6, "batch_size": 2, "lora_r": 2, "lora_dropout": 0.1, "checkpoint_every_steps": 1, "eval_every_steps": 3,
        "micro_batch_tokens": 16, "target_modules": ["q_proj", "v_proj"],
    }}});
    let job = server.post("/v1/fine_tuning/jobs", &request).await?;
    Ok(job["id"]
        .as_str()
        .context("a job without an id")?
        .to_owned())
}

/// Waits until the job is over, or has a checkpoint of a step from `step` on.
async fn until(server: &Server, id: &str, step: u64) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = server.get(&format!("/v1/fine_tuning/jobs/{id}")).await?;
        let checkpoints = server
            .get(&format!("/v1/fine_tuning/jobs/{id}/checkpoints"))
            .await?;
        ensure!(job["status"] != "failed", "the job failed: {job}");
        if job["status"] == "succeeded"
            || checkpoints["data"][0]["step_number"].as_u64() >= Some(step)
        {
            return Ok(job);
        }
        ensure!(Instant::now() < deadline, "the job does not get on: {job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn adapter(folder: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(
        folder.join("adapters/stations/1/adapter_model.safetensors"),
    )?)
}

#[tokio::test]
async fn a_training_run_that_is_killed_again_and_again_ends_with_the_same_bytes() -> Result<()> {
    let (whole, killed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut server = Server::start(whole.path(), &["trainer"], &[])?;
    server.ready().await?;
    let id = start(&server, "stations").await?;
    let job = until(&server, &id, u64::MAX).await?;
    drop(server);

    let mut server = Server::start(killed.path(), &["trainer"], &[])?;
    server.ready().await?;
    let id = start(&server, "stations").await?;
    for kill in 1..=KILLS {
        until(&server, &id, kill).await?;
        // Somewhere in what comes after the checkpoint: a step, an evaluation, or the writing of the next one.
        tokio::time::sleep(Duration::from_millis(70 * kill)).await;
        server.kill()?;
        server = Server::start(killed.path(), &["trainer"], &[])?;
        server.ready().await?;
    }
    let resumed = until(&server, &id, u64::MAX).await?;
    ensure!(
        resumed["lore"]["attempts"].as_u64() > Some(1),
        "no kill hit the run: {resumed}"
    );
    ensure!(
        resumed["trained_tokens"] == job["trained_tokens"],
        "{resumed}"
    );
    ensure!(
        adapter(whole.path())? == adapter(killed.path())?,
        "the adapters differ"
    );
    Ok(())
}
