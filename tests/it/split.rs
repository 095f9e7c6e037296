//! The three services as three processes, with the very settings of the compose file.

use crate::answers::{check_citations, handbook};
use crate::server::Server;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use yaml_rust2::{Yaml, YamlLoader};

const KEY: &str = "a-key-of-the-split-test";

/// One service of the compose file: the arguments after `lore`, and its environment.
struct Service {
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The pairs of a mapping, those of its merge key (`<<`) first, so that its own win.
fn pairs(mapping: &Yaml) -> BTreeMap<String, Yaml> {
    let mut all = BTreeMap::new();
    let Some(hash) = mapping.as_hash() else {
        return all;
    };
    if let Some(merged) = hash.get(&Yaml::String("<<".to_owned())) {
        all.extend(pairs(merged));
    }
    let own = hash
        .iter()
        .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value.clone())));
    all.extend(own.filter(|(key, _)| key != "<<"));
    all
}

fn compose() -> Result<BTreeMap<String, Service>> {
    let text = std::fs::read_to_string(repository("docker-compose.yml"))?;
    let file = YamlLoader::load_from_str(&text)?
        .into_iter()
        .next()
        .context("docker-compose.yml is empty")?;
    let mut services = BTreeMap::new();
    for (name, service) in pairs(&file["services"]) {
        let service = pairs(&service);
        let Some(command) = service.get("command").and_then(Yaml::as_vec) else {
            continue;
        };
        let command = command
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        let environment = service.get("environment").map(pairs).unwrap_or_default();
        let environment = environment
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.into_string()?)));
        services.insert(
            name,
            Service {
                command,
                environment: environment.collect(),
            },
        );
    }
    Ok(services)
}

impl Service {
    /// Starts it as the compose file says, with what the container gives it (hosts, folders) put in place of names.
    fn start(&self, data_dir: &Path, places: &[(&str, &str)]) -> Result<Server> {
        let mut environment = self.environment.clone();
        for value in environment.values_mut() {
            for (name, place) in places {
                *value = value.replace(name, place);
            }
        }
        environment.insert("LORE_API_KEY".to_owned(), KEY.to_owned());
        environment.insert("LORE_DATA_DIR".to_owned(), data_dir.display().to_string());
        environment.remove("LORE_MODELS_DIR");
        let envs: Vec<_> = environment
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let args: Vec<_> = self.command.iter().skip(1).map(String::as_str).collect();
        Server::start(data_dir, &args, &envs)
    }
}

#[test]
fn the_compose_file_names_the_three_services_and_the_shared_configuration() -> Result<()> {
    let services = compose()?;
    for name in ["ingest", "trainer", "gateway"] {
        let service = services
            .get(name)
            .with_context(|| format!("no service {name}"))?;
        ensure!(
            service.command == ["serve", name],
            "{name} runs {:?}",
            service.command
        );
        ensure!(
            service.environment["LORE_CONFIG"] == "/etc/lore/lore.toml",
            "{name} has another configuration"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_and_a_qdrant_server_answer_a_question() -> Result<()> {
    let Ok(qdrant) = std::env::var("QDRANT_URL") else {
        eprintln!(
            "SKIPPED three_processes_and_a_qdrant_server_answer_a_question: QDRANT_URL is not set"
        );
        return Ok(());
    };
    let services = compose()?;
    let folder = tempfile::tempdir()?;
    let config = repository("configs/split.toml").display().to_string();
    let mut places = vec![
        ("/etc/lore/lore.toml", config.as_str()),
        ("http://qdrant:6334", &qdrant),
        ("0.0.0.0:7878", "127.0.0.1:0"),
        ("0.0.0.0:7879", "127.0.0.1:0"),
        ("0.0.0.0:7880", "127.0.0.1:0"),
    ];
    let mut ingest = services["ingest"].start(folder.path(), &places)?;
    let mut trainer = services["trainer"].start(folder.path(), &places)?;
    places.push(("http://ingest:7879", &ingest.url));
    places.push(("http://trainer:7880", &trainer.url));
    let mut gateway = services["gateway"].start(folder.path(), &places)?;
    for service in [&mut ingest, &mut trainer, &mut gateway] {
        service.ready().await?;
    }
    let collection = format!("split-{}", std::process::id());
    gateway
        .ingest(
            &collection,
            &[handbook("leave.md"), handbook("information-security.pdf")],
        )
        .await?;
    let question = json!({"collection": collection, "question": "How long are backups of the file servers kept?", "limit": 1});
    let answer = gateway.post("/v1/ask", &question).await?;
    check_citations(&gateway, &collection, &answer).await?;
    let cited = &answer["citations"][0]["document_name"];
    ensure!(
        *cited == json!("information-security.pdf"),
        "the wrong document is cited: {answer}"
    );
    gateway
        .delete(&format!("/v1/collections/{collection}"))
        .await?;
    Ok(())
}
