use super::{Output, Table, moment, one_line, paint, plain};
use crate::exit::Failure;
use lore_types::{Job, JobStatus};

/// Jobs as a table.
pub fn job_table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&[
        "ID", "STATUS", "STAGE", "DONE", "DOCUMENT", "UPDATED", "ERROR",
    ]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            word(&job.status),
            word(&job.stage),
            format!("{:.0} %", job.progress * 100.0),
            one_line(job.document_name.as_deref().unwrap_or(""), 50),
            moment(job.updated_at),
            job.error
                .as_ref()
                .map(|error| one_line(&error.message, 60))
                .unwrap_or_default(),
        ]);
    }
    table
}

/// One job in full.
pub fn describe_job(output: Output, job: &Job) -> Result<(), Failure> {
    let status = match job.status {
        JobStatus::Succeeded => paint(word(&job.status)).green(),
        JobStatus::Failed => paint(word(&job.status)).red(),
        JobStatus::Queued | JobStatus::Running | JobStatus::Cancelled => paint(word(&job.status)),
    };
    output.line(format!(
        "{}  {status}  {:.0} %  {}",
        job.id,
        job.progress * 100.0,
        word(&job.stage)
    ))?;
    if let Some(name) = &job.document_name {
        let version = job
            .version
            .map(|version| format!(", version {version}"))
            .unwrap_or_default();
        output.line(format!("document  {}{version}", plain(name)))?;
    }
    output.line(format!(
        "accepted  {}   updated  {}",
        moment(job.created_at),
        moment(job.updated_at)
    ))?;
    for warning in &job.warnings {
        output.line(format!("{} {}", paint("warning:").yellow(), plain(warning)))?;
    }
    let Some(error) = &job.error else {
        return Ok(());
    };
    output.line(format!(
        "{} {}",
        paint("failed:").red(),
        plain(&error.message)
    ))?;
    error
        .hint
        .iter()
        .try_for_each(|hint| output.line(format!("{} {}", paint("hint:").cyan(), plain(hint))))
}

/// The API's own word for a state.
pub fn word<T: serde::Serialize>(state: &T) -> String {
    serde_json::to_value(state)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
