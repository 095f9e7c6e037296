use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Progress, describe_job, job_table, word};
use clap::{Args, Subcommand};
use futures::StreamExt;
use lore_client::{Client, JobQuery};
use lore_types::{Job, JobId, JobStatus};
use std::pin::pin;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, the newest first
    List(ListArgs),
    /// Show one job
    Show {
        /// Its id
        id: String,
    },
    /// Watch a job until it is over
    Watch {
        /// Its id
        id: String,
    },
}

/// Which jobs to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this collection
    #[arg(long, short)]
    collection: Option<String>,
    /// Only those that stand like this
    #[arg(long, value_parser = ["queued", "running", "succeeded", "failed", "cancelled"])]
    status: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those after this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// Runs it.
pub async fn run(context: &Context, command: &JobsCommand) -> Result<(), Failure> {
    let (client, output) = (context.client()?, context.output);
    match command {
        JobsCommand::List(args) => list(&client, output, args).await,
        JobsCommand::Show { id } => {
            let job = client.job(job_id(id)?).await?;
            output.object(&job, || describe_job(output, &job))
        }
        JobsCommand::Watch { id } => watch(&client, output, job_id(id)?).await,
    }
}

fn job_id(text: &str) -> Result<JobId, Failure> {
    text.parse().map_err(|_| {
        Failure::new(format!("`{text}` is not the id of a job"))
            .hint("`lore jobs list` shows ids")
            .exit(Exit::Usage)
    })
}

async fn list(client: &Client, output: Output, args: &ListArgs) -> Result<(), Failure> {
    let query = JobQuery {
        collection: args.collection.clone(),
        status: args.status.clone(),
        limit: Some(args.limit as usize),
        after: args.after.clone(),
    };
    let list = client.jobs(&query).await?;
    output.object(&list, || {
        job_table(&list.data).print(output, "no jobs")?;
        if let Some(last) = list.last_id.as_ref().filter(|_| list.has_more) {
            output.note(format!("more follow: --after {last}"));
        }
        Ok(())
    })
}

/// Follows a job's events; with `--json` each state is one line of its own.
async fn watch(client: &Client, output: Output, id: JobId) -> Result<(), Failure> {
    let mut states = pin!(client.job_events(id).await?);
    let progress = if output.is_json() {
        Progress::hidden()
    } else {
        Progress::percent(&id.to_string())
    };
    let mut last = None;
    while let Some(job) = states.next().await {
        let job = job?;
        if output.is_json() {
            output.json_line(&job)?;
        }
        progress.set_share(job.progress);
        progress.say(format!(
            "{} {}",
            word(&job.stage),
            job.document_name.clone().unwrap_or_default()
        ));
        last = Some(job);
    }
    progress.finish();
    last.map_or(Ok(()), |job| ended(output, &job))
}

fn ended(output: Output, job: &Job) -> Result<(), Failure> {
    if !output.is_json() {
        describe_job(output, job)?;
    }
    match job.status {
        JobStatus::Failed | JobStatus::Cancelled => Err(Failure::silent(Exit::Failure)),
        JobStatus::Queued | JobStatus::Running | JobStatus::Succeeded => Ok(()),
    }
}
