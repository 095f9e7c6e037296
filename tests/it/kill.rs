//! Power cuts: the process is killed again and again while documents go in, and nothing is lost or doubled.

use crate::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

const DOCUMENTS: usize = 200;
const KILLS: usize = 30;

/// A small generator of repeatable chance (the numbers of Numerical Recipes): which moment a kill hits.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn text_of(number: usize) -> String {
    let first = format!(
        "# Report {number}\n\nStation {number} measured {} milligrams of nitrate per litre.\n\n",
        number * 7
    );
    let second = format!(
        "The crew of station {number} replaced filter F-{number:04} and left a note about the weather. "
    );
    first + &second.repeat(1 + number % 9)
}

/// Uploads what the server has not acknowledged yet, until `until` or until it dies.
async fn upload_some(url: &str, accepted: &mut BTreeSet<usize>, until: Instant) {
    let http = reqwest::Client::new();
    for number in 0..DOCUMENTS {
        if accepted.contains(&number) {
            continue;
        }
        if Instant::now() > until {
            return;
        }
        let body = json!({"name": format!("report-{number}.md"), "text": text_of(number), "metadata": {"number": number}});
        let sent = http
            .post(format!("{url}/v1/collections/reports/documents"))
            .json(&body)
            .send()
            .await;
        let Ok(answer) = sent else { return };
        if answer.status() != reqwest::StatusCode::ACCEPTED {
            // Still loading: come back in the next life, or a little later.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        accepted.insert(number);
    }
}

async fn wait_until_idle(server: &Server) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        let mut open = 0;
        for status in ["queued", "running"] {
            let jobs = server
                .get(&format!("/v1/jobs?collection=reports&status={status}"))
                .await?;
            open += jobs["data"].as_array().context("no jobs")?.len();
        }
        if open == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{open} jobs never ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn every_document(server: &Server) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = server
            .get(&format!(
                "/v1/collections/reports/documents?limit=100{after}"
            ))
            .await?;
        all.extend(
            page["data"]
                .as_array()
                .context("no documents")?
                .iter()
                .cloned(),
        );
        if page["has_more"] != json!(true) {
            return Ok(all);
        }
        after = format!("&after={}", page["last_id"].as_str().context("no last id")?);
    }
}

fn start(folder: &Path) -> Result<Server> {
    Server::start(folder, &[], &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_kills_lose_no_document_and_double_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut chance = Chance(20_261_122);
    let mut accepted = BTreeSet::new();
    for kill in 0..KILLS {
        let mut server = start(folder.path())?;
        // Every fifth life ends while the server still loads; the others while it works.
        if kill % 5 != 0 {
            server.ready().await?;
        }
        let life = Duration::from_millis(100 + chance.below(1_500));
        let end = Instant::now() + life;
        // A share of the documents in each life, so that kills hit uploads and indexing alike.
        upload_some(
            &server.url,
            &mut accepted,
            end.min(Instant::now() + life / 2),
        )
        .await;
        tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
        server.kill().with_context(|| format!("kill {kill}"))?;
    }
    let mut server = start(folder.path())?;
    server.ready().await?;
    upload_some(
        &server.url,
        &mut accepted,
        Instant::now() + Duration::from_secs(120),
    )
    .await;
    ensure!(
        accepted.len() == DOCUMENTS,
        "only {} documents were accepted",
        accepted.len()
    );
    wait_until_idle(&server).await?;
    check(&server).await
}

async fn check(server: &Server) -> Result<()> {
    let documents = every_document(server).await?;
    ensure!(
        documents.len() == DOCUMENTS,
        "{} documents instead of {DOCUMENTS}",
        documents.len()
    );
    for document in &documents {
        ensure!(
            document["status"] == json!("ready"),
            "not ready: {document}"
        );
        ensure!(document["version"] == json!(1), "indexed twice: {document}");
    }
    let chunks: u64 = documents
        .iter()
        .filter_map(|document| document["chunks"].as_u64())
        .sum();
    let report = server
        .post(
            "/v1/index/verify",
            &json!({"collection": "reports", "repair": false}),
        )
        .await?;
    let counted = &report["collections"][0];
    for (side, found) in [
        ("catalog", &counted["chunks"]),
        ("dense", &counted["dense"]["chunks"]),
        ("lexical", &counted["lexical"]["chunks"]),
    ] {
        ensure!(
            *found == json!(chunks),
            "the {side} side should hold {chunks} chunks: {report}"
        );
    }
    ensure!(
        report["consistent"] == json!(true),
        "the indexes differ: {report}"
    );
    Ok(())
}
