use super::files::Skipped;
use super::send::Sent;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, elapsed, paint_note, plain, plural};
use lore_types::{Accepted, Job, JobStatus, Refused};
use std::time::Duration;

/// What became of everything that one `ingest` was given.
#[derive(Debug, Default)]
pub struct Summary {
    /// What the server accepted.
    pub accepted: Vec<Accepted>,
    /// How the jobs ended, where they were waited for.
    pub jobs: Vec<Job>,
    /// Documents that were not ingested, each with the reason.
    pub failed: Vec<(String, String)>,
    /// Files that were sent and refused, each with what the server said.
    pub refused: Vec<Refused>,
    /// Files that were not sent.
    pub skipped: Vec<Skipped>,
    /// Whether the jobs were waited for.
    pub waited: bool,
    /// How long it all took.
    pub took: Duration,
}

impl Summary {
    /// Takes in what became of the uploads.
    pub fn take_sent(&mut self, sent: Vec<Sent>) {
        for Sent { file, outcome } in sent {
            match outcome {
                Ok(accepted) => self.accepted.push(accepted),
                Err(failure) => {
                    self.refused.push(Refused {
                        name: file.name.clone(),
                        error: failure.api_error(),
                    });
                    self.failed.push((file.name, failure.message().to_owned()));
                }
            }
        }
    }

    /// Takes in how the jobs ended.
    pub fn take_jobs(&mut self, jobs: Vec<Job>) {
        self.waited = true;
        for job in &jobs {
            if let Some(reason) = reason(job) {
                self.failed.push((
                    job.document_name
                        .clone()
                        .unwrap_or_else(|| job.id.to_string()),
                    reason,
                ));
            }
        }
        self.jobs = jobs;
    }

    /// Tells it on stderr.
    pub fn tell(&self, output: Output, collection: &str) {
        for skipped in &self.skipped {
            let what = format!("skipped {}: {}", skipped.path.display(), skipped.reason);
            output.note(paint_note(plain(&what)).dim());
        }
        for job in &self.jobs {
            let name = plain(job.document_name.as_deref().unwrap_or_default());
            job.warnings
                .iter()
                .for_each(|warning| output.note(format!("warning {name}: {}", plain(warning))));
        }
        for (name, reason) in &self.failed {
            output.note(format!(
                "{} {}: {}",
                paint_note("failed").red(),
                plain(name),
                plain(reason)
            ));
        }
        output.note(self.line(collection));
    }

    fn line(&self, collection: &str) -> String {
        let unchanged = self
            .accepted
            .iter()
            .filter(|accepted| accepted.unchanged)
            .count();
        let failed_jobs = self
            .jobs
            .iter()
            .filter(|job| job.status != JobStatus::Succeeded)
            .count();
        let changed = (self.accepted.len() - unchanged).saturating_sub(failed_jobs);
        let verb = if self.waited { "ingested" } else { "accepted" };
        let mut parts = vec![format!(
            "{verb} {} into `{collection}`",
            plural(changed, "document")
        )];
        let counts = [
            (unchanged, "unchanged"),
            (self.failed.len(), "failed"),
            (self.skipped.len(), "skipped"),
        ];
        parts.extend(
            counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}")),
        );
        format!("{} in {}", parts.join(", "), elapsed(self.took))
    }

    /// Success, or the exit code that says that documents are missing.
    pub fn result(&self) -> Result<(), Failure> {
        if self.failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::silent(Exit::Partial))
        }
    }
}

/// Why the document of a finished job cannot be found; `None` where it can be, or where it was replaced meanwhile.
fn reason(job: &Job) -> Option<String> {
    match job.status {
        JobStatus::Failed => {
            let error = job.error.clone().unwrap_or_default();
            let hint = error
                .hint
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            Some(format!("{}{hint}", error.message))
        }
        JobStatus::Cancelled => {
            Some("cancelled: a newer version came, or the document was deleted".to_owned())
        }
        JobStatus::Queued | JobStatus::Running | JobStatus::Succeeded => None,
    }
}
