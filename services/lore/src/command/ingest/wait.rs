use crate::exit::Failure;
use crate::terminal::{Progress, word};
use lore_client::{Client, ClientError};
use lore_types::{Job, JobId};
use std::time::{Duration, Instant};

/// How often a job is asked for.
const POLL: Duration = Duration::from_millis(200);
/// How long the server may be away, while it restarts for example.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until every job is over, and returns their last states in the order of `jobs`.
///
/// # Errors
/// Where the server stays away.
pub async fn wait(
    client: &Client,
    jobs: &[JobId],
    progress: &Progress,
) -> Result<Vec<Job>, Failure> {
    let mut finished = Vec::with_capacity(jobs.len());
    // Jobs are worked on in the order of their acceptance, so the first that is not over is the one to look at.
    for id in jobs {
        finished.push(wait_for(client, *id, progress).await?);
        progress.advance();
    }
    Ok(finished)
}

async fn wait_for(client: &Client, id: JobId, progress: &Progress) -> Result<Job, Failure> {
    let mut away_since: Option<Instant> = None;
    loop {
        match client.job(id).await {
            Ok(job) if job.status.is_final() => return Ok(job),
            Ok(job) => {
                away_since = None;
                progress.say(format!(
                    "{} {}",
                    word(&job.stage),
                    job.document_name.unwrap_or_default()
                ));
            }
            Err(error) if may_come_back(&error) => {
                let since = away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(Failure::from(error));
                }
            }
            Err(error) => return Err(Failure::from(error)),
        }
        tokio::time::sleep(POLL).await;
    }
}

fn may_come_back(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. }) || error.is_busy()
}
