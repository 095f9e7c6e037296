use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Training, describe_tuning};
use futures::StreamExt;
use lore_client::{Client, ClientError};
use lore_types::{FineTuningEventId, FineTuningJob, FineTuningStatus};
use std::pin::pin;
use std::time::Duration;

/// How often a broken stream is taken up again before that is a failure; a server that restarts takes a while.
const RETRIES: u32 = 30;
/// How long to wait before that.
const PAUSE: Duration = Duration::from_secs(2);

/// Follows a job to its end; with `--json` each event is a line, and the job the last one. Ctrl-C leaves the job running.
pub async fn watch(client: &Client, output: Output, job: &FineTuningJob) -> Result<(), Failure> {
    let mut view = if output.is_json() {
        Training::hidden()
    } else {
        Training::new(&job.lore.name)
    };
    let followed = tokio::select! {
        followed = follow(client, output, job, &mut view) => followed,
        _ = tokio::signal::ctrl_c() => {
            view.finish();
            output.note(format!("the job goes on; `lore finetune watch {}` shows it again", job.id));
            return Err(Failure::silent(Exit::Failure));
        }
    };
    view.finish();
    followed?;
    let job = client.fine_tuning_job(job.id).await?;
    if output.is_json() {
        output.json_line(&job)?;
    } else {
        describe_tuning(output, &job)?;
    }
    ended(output, &job)
}

async fn follow(
    client: &Client,
    output: Output,
    job: &FineTuningJob,
    view: &mut Training,
) -> Result<(), Failure> {
    let mut last: Option<FineTuningEventId> = None;
    let mut tries = 0;
    loop {
        let before = last;
        match follow_once(client, output, job, view, &mut last).await {
            Ok(()) => return Ok(()),
            Err(Broken::Elsewhere(failure)) => return Err(failure),
            Err(Broken::Connection(error)) => {
                tries = if last == before { tries + 1 } else { 0 };
                if tries > RETRIES {
                    return Err(error.into());
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why a stream ended early.
enum Broken {
    Connection(ClientError),
    Elsewhere(Failure),
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        let lost = matches!(
            error,
            ClientError::Cut { .. } | ClientError::Unreachable { .. }
        );
        if lost || error.is_busy() {
            return Self::Connection(error);
        }
        Self::Elsewhere(error.into())
    }
}

async fn follow_once(
    client: &Client,
    output: Output,
    job: &FineTuningJob,
    view: &mut Training,
    last: &mut Option<FineTuningEventId>,
) -> Result<(), Broken> {
    let mut events = pin!(client.fine_tuning_events(job.id, *last).await?);
    while let Some(event) = events.next().await {
        let event = event?;
        *last = Some(event.id);
        if output.is_json() {
            output.json_line(&event).map_err(Broken::Elsewhere)?;
        }
        view.push(&event);
    }
    Ok(())
}

fn ended(output: Output, job: &FineTuningJob) -> Result<(), Failure> {
    match job.status {
        FineTuningStatus::Failed | FineTuningStatus::Cancelled => {
            Err(Failure::silent(Exit::Failure))
        }
        FineTuningStatus::Succeeded => {
            let made = job.fine_tuned_model.clone().unwrap_or_default();
            output.note(format!(
                "try it with `lore chat --adapter {made}`, serve it with `lore adapters promote {}`",
                job.lore.name
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}
