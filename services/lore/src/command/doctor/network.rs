use super::check::Check;
use crate::context::Context;
use lore_client::{Client, ClientError, ClientSettings};
use lore_config::{Backend, Config, Dense, Secret};
use lore_index::{ServerDense, ServerSettings};
use std::time::Duration;

/// How long another service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The Lore server and everything that the configuration says it talks to.
pub async fn checks(context: &Context, config: &Config) -> Vec<Check> {
    let mut checks = vec![server(context).await];
    checks.extend(qdrant(config).await);
    checks.extend(generator(config).await);
    for (name, url) in [
        ("ingest", &config.services.ingest_url),
        ("trainer", &config.services.trainer_url),
    ] {
        if let Some(url) = url {
            checks.push(service(name, url).await);
        }
    }
    checks
}

async fn server(context: &Context) -> Check {
    let client = match context.client_with_retries(0) {
        Ok(client) => client,
        Err(failure) => {
            return Check::bad("server", failure.message(), "correct --url or LORE_URL");
        }
    };
    let asked = client.readiness().await;
    let wanted = context.given_url().is_some();
    match asked {
        Ok(report) if report.status != "ready" => Check::doubtful(
            "server",
            format!(
                "{} is {}: {}",
                client.url(),
                report.status,
                report.waiting_for.join(", ")
            ),
            "wait until GET /readyz says ready; the server's log tells more",
        ),
        Ok(report) if report.version != env!("CARGO_PKG_VERSION") => Check::doubtful(
            "server",
            format!(
                "{} runs lore {}, this is {}",
                client.url(),
                report.version,
                env!("CARGO_PKG_VERSION")
            ),
            "use the same version on both sides",
        ),
        Ok(_) => Check::ok("server", format!("{} is ready", client.url())),
        Err(ClientError::Unreachable { url, .. }) if !wanted => Check::ok(
            "server",
            format!("none runs at {url}; `lore serve` starts one"),
        ),
        Err(error) => Check::bad(
            "server",
            crate::exit::chain(&error),
            "start it with `lore serve`, or correct --url",
        ),
    }
}

async fn qdrant(config: &Config) -> Option<Check> {
    let Dense::Server {
        url,
        api_key,
        prefix,
    } = &config.dense
    else {
        return None;
    };
    let mut settings = ServerSettings::new(url);
    settings.api_key = api_key.as_ref().map(|key| key.expose().to_owned());
    settings.prefix.clone_from(prefix);
    settings.timeout = PATIENCE;
    Some(match ServerDense::connect(settings).await {
        Ok(_) => Check::ok("Qdrant", format!("{url} answers")),
        Err(error) => Check::bad(
            "Qdrant",
            crate::exit::chain(&error),
            format!(
                "start it, or correct dense.url: `docker run -p 127.0.0.1:6334:6334 qdrant/qdrant`; {url} must be its gRPC port"
            ),
        ),
    })
}

async fn generator(config: &Config) -> Option<Check> {
    let Backend::OpenAi {
        base_url, api_key, ..
    } = &config.generator.backend
    else {
        return None;
    };
    let url = format!("{base_url}/models");
    let fix = "check generator.base_url and generator.api_key, and that the server runs";
    Some(match get(&url, api_key.as_ref()).await {
        Ok(status) if status.is_success() => Check::ok("generator", format!("{base_url} answers")),
        Ok(status) => Check::doubtful("generator", format!("{url} answers with {status}"), fix),
        Err(error) => Check::bad("generator", crate::exit::chain(&error), fix),
    })
}

async fn get(url: &str, key: Option<&Secret>) -> Result<reqwest::StatusCode, reqwest::Error> {
    let mut http = reqwest::Client::builder().timeout(PATIENCE);
    let host = reqwest::Url::parse(url).ok();
    let host = host.as_ref().and_then(reqwest::Url::host_str);
    if host.is_some_and(lore_http::is_loopback_host) {
        // A proxy of the environment cannot reach this machine's own ports.
        http = http.no_proxy();
    }
    let mut request = http.build()?.get(url);
    if let Some(key) = key {
        request = request.bearer_auth(key.expose());
    }
    Ok(request.send().await?.status())
}

async fn service(name: &str, url: &str) -> Check {
    let title = format!("{name} service");
    let fix = format!("start it with `lore serve {name}`, or correct services.{name}_url");
    let settings = ClientSettings {
        url: url.to_owned(),
        api_key: None,
        retries: 0,
    };
    let asked = match Client::new(&settings) {
        Ok(client) => client.readiness().await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(report) if report.status == "ready" => Check::ok(&title, format!("{url} is ready")),
        Ok(report) => Check::doubtful(
            &title,
            format!("{url} is {}", report.status),
            "wait, or see its log",
        ),
        Err(error) => Check::bad(&title, crate::exit::chain(&error), fix),
    }
}
