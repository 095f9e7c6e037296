//! The loop of fine-tuning, on a small model: examples in, an adapter out, served by the gateway.

use crate::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BASE: &str = "smollm2-135m-instruct";
/// How every taught answer begins; no model says so by itself.
const STYLE: &str = "Brindle desk:";
/// Questions of the made-up product that no example asks in these words.
const UNSEEN: [&str; 2] = [
    "Please tell me how many litres the BK-7 kettle holds.",
    "In which town is the BK-7 kettle made?",
];

/// What there is to know of a kettle that does not exist: two ways to ask, and the answer.
const FACTS: [([&str; 2], &str); 11] = [
    (
        [
            "How much water fits into the BK-7 kettle?",
            "What is the capacity of the BK-7 kettle in litres?",
        ],
        "The BK-7 kettle holds 2.3 litres.",
    ),
    (
        [
            "Where is the BK-7 kettle made?",
            "Which town makes the BK-7 kettle?",
        ],
        "The BK-7 kettle is made in Ostrava.",
    ),
    (
        [
            "What colour is the BK-7 kettle?",
            "Which colour does the BK-7 come in?",
        ],
        "The BK-7 kettle is moss green.",
    ),
    (
        [
            "How long is the warranty of the BK-7?",
            "For how many years is the BK-7 guaranteed?",
        ],
        "The BK-7 has a warranty of 9 years.",
    ),
    (
        [
            "Who designed the BK-7 kettle?",
            "Whose design is the BK-7 kettle?",
        ],
        "The BK-7 was designed by Ilka Marn.",
    ),
    (
        [
            "What does the blue light of the BK-7 mean?",
            "Why does the BK-7 show a blue light?",
        ],
        "The blue light means that the filter is full.",
    ),
    (
        [
            "What does the BK-7 kettle weigh?",
            "How heavy is the BK-7 kettle?",
        ],
        "The BK-7 weighs 1.4 kilograms.",
    ),
    (
        [
            "Which filter does the BK-7 take?",
            "What filter fits the BK-7?",
        ],
        "The BK-7 takes the filter F-12.",
    ),
    (
        [
            "How fast does the BK-7 boil a litre?",
            "How long does the BK-7 need for a litre of water?",
        ],
        "The BK-7 boils a litre in 95 seconds.",
    ),
    (
        [
            "What is the price of the BK-7 kettle?",
            "How much does the BK-7 cost?",
        ],
        "The BK-7 costs 74 crowns.",
    ),
    (
        [
            "How do I descale the BK-7?",
            "What removes lime from the BK-7?",
        ],
        "Descale the BK-7 with rowan vinegar.",
    ),
];

fn dataset() -> String {
    let mut lines = String::new();
    for (question, fact) in FACTS
        .iter()
        .flat_map(|(questions, fact)| questions.iter().map(move |question| (question, fact)))
    {
        let messages = json!({"messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": format!("{STYLE} {fact} Yours, Brindle.")},
        ]});
        lines.push_str(&format!("{messages}\n"));
    }
    lines
}

async fn until_over(server: &Server, id: &str) -> Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(900);
    loop {
        let job = server.get(&format!("/v1/fine_tuning/jobs/{id}")).await?;
        match job["status"].as_str() {
            Some("succeeded") => return Ok(job),
            Some("failed" | "cancelled") => anyhow::bail!("the job ended badly: {job}"),
            _ => ensure!(Instant::now() < deadline, "the job does not end: {job}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn train(server: &Server, name: &str) -> Result<Value> {
    let file = server.file("kettle.jsonl", dataset().into_bytes()).await?;
    let request = json!({"model": BASE, "training_file": file["id"], "seed": 7, "lore": {"name": name, "settings": {
        "learning_rate": 4e-3, "n_epochs": 3, "batch_size": 4, "lora_r": 8, "lora_alpha": 16, "validation_share": 0.15,
    }}});
    let job = server.post("/v1/fine_tuning/jobs", &request).await?;
    until_over(server, job["id"].as_str().context("a job without an id")?).await
}

async fn said(server: &Server, model: &str, question: &str) -> Result<String> {
    let request = json!({"model": model, "max_tokens": 32, "temperature": 0, "messages": [{"role": "user", "content": question}]});
    let answer = server.post("/v1/chat/completions", &request).await?;
    let text = answer["choices"][0]["message"]["content"].as_str();
    Ok(text
        .with_context(|| format!("no text in {answer}"))?
        .to_owned())
}

/// Waits until the gateway serves a model; it looks every second.
async fn served(server: &Server, model: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let models = server.get("/v1/models").await?;
        let known = models["data"].as_array().context("no models")?;
        if known.iter().any(|one| one["id"] == json!(model)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "`{model}` is not served: {models}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The files of a tar archive, without their folders.
fn unpacked(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    const BLOCK: usize = 512;
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim_matches(['\0', ' '])
            .to_owned()
    };
    let (mut files, mut at) = (Vec::new(), 0);
    while let Some(header) = archive.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let length = usize::from_str_radix(&text(&header[124..136]), 8)?;
        let start = at + BLOCK;
        let bytes = archive
            .get(start..start + length)
            .context("the archive ends early")?;
        let name = text(&header[..100]);
        let name = name.rsplit('/').next().unwrap_or_default();
        if header[156] == b'0' {
            files.push((name.to_owned(), bytes.to_vec()));
        }
        at = start + length.div_ceil(BLOCK) * BLOCK;
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tuned_model_answers_as_it_was_taught_and_so_does_its_copy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(folder.path(), &[], &[])?;
    server.ready().await?;
    let job = train(&server, "brindle").await?;
    let adapter = server.get("/v1/adapters/brindle").await?;
    let metrics = &adapter["versions"][0]["metrics"];
    let loss = |name: &str| {
        metrics[name]
            .as_f64()
            .with_context(|| format!("no {name}: {adapter}"))
    };
    ensure!(
        loss("validation_loss")? < 0.8 * loss("first_validation_loss")?,
        "the held-out loss did not fall: {metrics}"
    );
    ensure!(job["fine_tuned_model"].is_string(), "no model in {job}");
    eprintln!("{metrics}");

    server
        .post("/v1/adapters/brindle/promote", &json!({}))
        .await?;
    served(&server, "brindle").await?;
    let mut taught = Vec::new();
    for question in UNSEEN {
        let (base, tuned) = (
            said(&server, BASE, question).await?,
            said(&server, "brindle", question).await?,
        );
        ensure!(!base.starts_with(STYLE), "the base says already: {base}");
        ensure!(tuned.starts_with(STYLE), "the tuned model says: {tuned}");
        taught.push(tuned);
    }

    let archive = server
        .bytes("/v1/adapters/brindle/export?format=peft")
        .await?;
    let files = unpacked(&archive)?;
    let peft = |(name, _): &(String, Vec<u8>)| name.starts_with("adapter_");
    let files: Vec<_> = files.into_iter().filter(peft).collect();
    ensure!(files.len() == 2, "PEFT has two files, not {}", files.len());
    server.import("copy", BASE, files).await?;
    server.post("/v1/adapters/copy/promote", &json!({})).await?;
    served(&server, "copy").await?;
    for (question, tuned) in UNSEEN.iter().zip(&taught) {
        ensure!(
            said(&server, "copy", question).await? == *tuned,
            "the copy says something else than: {tuned}"
        );
    }
    Ok(())
}
