//! `lore demo`: the main job from nothing to cited answers, with the time that each step took.

mod questions;
mod samples;

use super::ask::ask;
use super::ingest::{IngestArgs, ingest};
use crate::context::Context;
use crate::exit::Failure;
use crate::serve::{Role, Server, Show, lock, shutdown, telemetry};
use crate::terminal::{Output, elapsed, paint_note};
use clap::Args;
use lore_client::{AskRequest, Client, ClientSettings};
use lore_config::{Config, Origin};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Instant;

/// Questions asked of a folder.
const QUESTIONS: usize = 3;
/// How often a call is repeated while the server is full.
const RETRIES: u32 = 1000;

/// What to show.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder to ingest; by default a sample handbook of ten documents in six formats
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The collection that it goes into
    #[arg(long, short, default_value = "demo")]
    collection: String,
    /// Ask this; may be repeated
    #[arg(long = "question", short, value_name = "QUESTION")]
    questions: Vec<String>,
    /// Stop at the end instead of serving on
    #[arg(long)]
    exit: bool,
}

/// Runs it.
pub async fn run(context: &Context, args: &DemoArgs) -> Result<(), Failure> {
    let steps = Steps {
        output: context.output,
        begun: Instant::now(),
    };
    let config = demo_config(context)?;
    let (server, client) = steps
        .timed("server and models ready", serve(context, &config))
        .await?;
    let told = show(context, args, &config, &client, &steps).await;
    match server {
        Some(server) if told.is_ok() && !args.exit => {
            serve_on(context.output, server, &client, &args.collection).await
        }
        Some(server) => server.stop().await.and(told),
        None => told,
    }
}

/// The configuration, quieter than a server's, and with a port that is free.
fn demo_config(context: &Context) -> Result<Config, Failure> {
    let mut config = context.config()?;
    let is_default = |key: &str| {
        config
            .settings
            .iter()
            .any(|found| found.key == key && found.origin == Origin::Default)
    };
    if is_default("telemetry.log") {
        config.telemetry.log = "warn".to_owned();
    }
    if TcpListener::bind(config.server.listen).is_err() {
        config.server.listen.set_port(0);
    }
    Ok(config)
}

/// A server of our own, or the one that already runs on the data folder.
async fn serve(context: &Context, config: &Config) -> Result<(Option<Server>, Client), Failure> {
    let api_key = config
        .server
        .api_keys
        .first()
        .map(|key| key.expose().to_owned());
    if let Some(url) = lock::running_server(&config.storage.data_dir) {
        context
            .output
            .note(format!("using the server that runs already at {url}"));
        return Ok((
            None,
            Client::new(&ClientSettings {
                url,
                api_key,
                retries: RETRIES,
            })?,
        ));
    }
    let metrics = telemetry::start(config)?;
    let mut server = Server::start(config.clone(), Role::All, metrics, Show::Bars).await?;
    server.ready().await?;
    let client = Client::new(&ClientSettings {
        url: server.url().to_owned(),
        api_key,
        retries: RETRIES,
    })?;
    Ok((Some(server), client))
}

async fn show(
    context: &Context,
    args: &DemoArgs,
    config: &Config,
    client: &Client,
    steps: &Steps,
) -> Result<(), Failure> {
    let output = context.output;
    let folder = args
        .folder
        .clone()
        .map_or_else(|| samples::unpack(&config.storage.data_dir), Ok)?;
    let ingestion = IngestArgs::folder(&args.collection, folder);
    let summary = steps
        .timed("documents ingested", ingest(client, output, &ingestion))
        .await?;
    summary.tell(output, &args.collection);
    for question in questions(args, client).await? {
        output.note("");
        output.line(crate::terminal::paint(&question).bold())?;
        let request = AskRequest {
            collection: args.collection.clone(),
            question,
            ..AskRequest::default()
        };
        steps
            .timed("answered", ask(client, output, &request))
            .await?;
    }
    Ok(())
}

async fn questions(args: &DemoArgs, client: &Client) -> Result<Vec<String>, Failure> {
    if !args.questions.is_empty() {
        return Ok(args.questions.clone());
    }
    if args.folder.is_none() {
        return Ok(samples::QUESTIONS.map(str::to_owned).to_vec());
    }
    questions::about(client, &args.collection, QUESTIONS).await
}

async fn serve_on(
    output: Output,
    server: Server,
    client: &Client,
    collection: &str,
) -> Result<(), Failure> {
    let url = client.url();
    // `cargo run` leaves nothing on the PATH.
    let lore =
        std::env::current_exe().map_or_else(|_| "lore".into(), |path| path.display().to_string());
    output.note("");
    output.note(format!(
        "Lore listens on {}. Stop it with Ctrl-C.",
        paint_note(url).bold()
    ));
    output.note(format!(
        "In another terminal: {lore} ask --url {url} --collection {collection} \"your question\""
    ));
    output.note(format!(
        "Over HTTP: curl {url}/v1/ask --json '{{\"collection\": \"{collection}\", \"question\": \"…\"}}'"
    ));
    tokio::select! {
        ended = server.until(shutdown::requested()) => ended,
        failure = shutdown::insisted() => Err(failure),
    }
}

/// Tells how long each step took.
struct Steps {
    output: Output,
    begun: Instant,
}

impl Steps {
    async fn timed<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let done = work.await?;
        let (step, all) = (elapsed(begun.elapsed()), elapsed(self.begun.elapsed()));
        self.output
            .note(paint_note(format!("{what} in {step} ({all} since the start)")).dim());
        Ok(done)
    }
}
