//! `lore ingest`: gather files, send them, wait for their jobs, tell what became of each.

mod files;
mod send;
mod summary;
mod wait;

pub use files::{Skipped, gather};
pub use summary::Summary;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Progress};
use clap::Args;
use lore_client::Client;
use lore_types::{JobId, List, Metadata, Refused};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// How often an upload is repeated while the server's queue is full; it drains as documents are read.
const RETRIES: u32 = 1000;

/// What to ingest.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// The collection; it is made where it does not exist
    #[arg(long, short)]
    pub collection: String,
    /// Wait until every document can be found
    #[arg(long, short)]
    pub wait: bool,
    /// A JSON object to keep with every document, for filters: '{"team": "hr"}'
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    pub metadata: Option<Metadata>,
    /// Put this before every document's name
    #[arg(long, default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// Take hidden files and folders in
    #[arg(long)]
    pub hidden: bool,
    /// Files, folders and globs. Documents are named by their path below the folder or the fixed part of the glob
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

impl IngestArgs {
    /// A whole folder, waited for.
    pub fn folder(collection: &str, folder: PathBuf) -> Self {
        Self {
            collection: collection.to_owned(),
            wait: true,
            metadata: None,
            prefix: String::new(),
            hidden: false,
            paths: vec![folder],
        }
    }
}

fn metadata(text: &str) -> Result<Metadata, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

/// Runs it.
pub async fn run(context: &Context, args: &IngestArgs) -> Result<(), Failure> {
    let client = context.client_with_retries(RETRIES)?;
    let summary = ingest(&client, context.output, args).await?;
    if context.output.is_json() {
        print_json(context.output, &summary)?;
    }
    summary.tell(context.output, &args.collection);
    summary.result()
}

/// Ingests what `args` name, and says what became of it.
pub async fn ingest(
    client: &Client,
    output: Output,
    args: &IngestArgs,
) -> Result<Summary, Failure> {
    let begun = Instant::now();
    let mut gathered = gather(&args.paths, args.hidden)?;
    for file in &mut gathered.files {
        file.name.insert_str(0, &args.prefix);
    }
    let mut summary = Summary {
        skipped: gathered.skipped,
        ..Summary::default()
    };
    if gathered.files.is_empty() {
        summary.tell(output, &args.collection);
        return Err(Failure::new("there is nothing to ingest").exit(Exit::NotFound));
    }
    let progress = Progress::things("sending", gathered.files.len());
    let sent = send::send(
        client,
        &args.collection,
        gathered.files,
        args.metadata.as_ref(),
        &progress,
    )
    .await?;
    progress.finish();
    summary.take_sent(sent);
    if args.wait {
        let jobs: Vec<JobId> = summary
            .accepted
            .iter()
            .map(|accepted| accepted.job_id)
            .collect();
        let progress = Progress::things("indexing", jobs.len());
        summary.take_jobs(wait::wait(client, &jobs, &progress).await?);
    }
    summary.took = begun.elapsed();
    Ok(summary)
}

/// A list of the API with what did not get into it.
#[derive(Serialize)]
struct Told<'a, T> {
    #[serde(flatten)]
    list: List<T>,
    refused: &'a [Refused],
    skipped: &'a [Skipped],
}

/// The jobs where they were waited for, else what was accepted; and the files that were refused or not sent.
fn print_json(output: Output, summary: &Summary) -> Result<(), Failure> {
    if summary.waited {
        return print_list(output, summary, summary.jobs.clone());
    }
    print_list(output, summary, summary.accepted.clone())
}

fn print_list<T: Serialize>(
    output: Output,
    summary: &Summary,
    data: Vec<T>,
) -> Result<(), Failure> {
    output.json(&Told {
        list: List::whole(data),
        refused: &summary.refused,
        skipped: &summary.skipped,
    })
}
