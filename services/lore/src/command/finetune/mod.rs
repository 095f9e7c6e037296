//! Fine-tuning jobs: started, listed, watched, held and ended.

mod start;
mod watch;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, describe_tuning, tuning_table};
use clap::{Args, Subcommand};
use lore_client::{Client, FineTuningQuery};
use lore_types::FineTuningId;

/// What to do with fine-tuning jobs.
#[derive(Debug, Subcommand)]
pub enum FinetuneCommand {
    /// Train an adapter on files of examples
    Start(start::StartArgs),
    /// List jobs, the newest first
    List(ListArgs),
    /// Show one job
    Show(Which),
    /// Watch a job until it is over: losses, speed, time left
    Watch(Which),
    /// End a job for good
    Cancel(Which),
    /// Hold a job; a checkpoint is written
    Pause(Which),
    /// Let a paused job go on
    Resume(Which),
}

/// One job.
#[derive(Debug, Args)]
pub struct Which {
    /// Its id
    id: String,
}

/// Which jobs to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that make versions of this adapter
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Only those that stand like this
    #[arg(long, value_parser = ["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"])]
    status: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those after this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// Runs it.
pub async fn run(context: &Context, command: &FinetuneCommand) -> Result<(), Failure> {
    if let FinetuneCommand::Start(args) = command {
        return start::run(context, args).await;
    }
    let (client, output) = (context.client()?, context.output);
    let job = match command {
        FinetuneCommand::Start(_) => return Ok(()),
        FinetuneCommand::List(args) => return list(&client, output, args).await,
        FinetuneCommand::Watch(which) => {
            let job = client.fine_tuning_job(which.id()?).await?;
            return watch::watch(&client, output, &job).await;
        }
        FinetuneCommand::Show(which) => client.fine_tuning_job(which.id()?).await?,
        FinetuneCommand::Cancel(which) => client.cancel_fine_tuning_job(which.id()?).await?,
        FinetuneCommand::Pause(which) => client.pause_fine_tuning_job(which.id()?).await?,
        FinetuneCommand::Resume(which) => client.resume_fine_tuning_job(which.id()?).await?,
    };
    output.object(&job, || describe_tuning(output, &job))
}

impl Which {
    fn id(&self) -> Result<FineTuningId, Failure> {
        self.id.parse().map_err(|_| {
            Failure::new(format!("`{}` is not the id of a fine-tuning job", self.id))
                .hint("`lore finetune list` shows ids")
                .exit(Exit::Usage)
        })
    }
}

async fn list(client: &Client, output: Output, args: &ListArgs) -> Result<(), Failure> {
    let query = FineTuningQuery {
        status: args.status.clone(),
        adapter: args.adapter.clone(),
        limit: Some(args.limit),
        after: args.after.clone(),
    };
    let list = client.fine_tuning_jobs(&query).await?;
    output.object(&list, || {
        tuning_table(&list.data).print(
            output,
            "no fine-tuning jobs yet: `lore finetune start --help`",
        )?;
        if let Some(last) = list.last_id.as_ref().filter(|_| list.has_more) {
            output.note(format!("more follow: --after {last}"));
        }
        Ok(())
    })
}
