use super::{Output, Table, bytes, elapsed, moment, one_line, paint, plain, word};
use crate::exit::Failure;
use lore_types::{DatasetReport, FineTuningJob, FineTuningStatus, Progress};
use std::time::Duration;
use time::OffsetDateTime;

/// Fine-tuning jobs as a table.
pub fn tuning_table(jobs: &[FineTuningJob]) -> Table {
    let mut table = Table::new(&[
        "ID",
        "STATUS",
        "ADAPTER",
        "BASE",
        "STEP",
        "LOSS",
        "VALIDATION",
        "CREATED",
        "ERROR",
    ]);
    for job in jobs {
        let progress = job.lore.progress.unwrap_or_default();
        let steps = job
            .lore
            .progress
            .map(|now| format!("{}/{}", now.step, now.steps));
        table.row([
            job.id.to_string(),
            word(&job.status),
            job.fine_tuned_model
                .clone()
                .unwrap_or_else(|| job.lore.name.clone()),
            job.model.clone(),
            steps.unwrap_or_default(),
            loss(progress.train_loss),
            loss(progress.validation_loss),
            seconds_moment(job.created_at),
            job.error
                .as_ref()
                .map(|error| one_line(&error.message, 60))
                .unwrap_or_default(),
        ]);
    }
    table
}

fn loss(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.4}")).unwrap_or_default()
}

fn seconds_moment(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map(moment)
        .unwrap_or_default()
}

/// One job in full.
pub fn describe_tuning(output: Output, job: &FineTuningJob) -> Result<(), Failure> {
    let status = match job.status {
        FineTuningStatus::Succeeded => paint(word(&job.status)).green(),
        FineTuningStatus::Failed => paint(word(&job.status)).red(),
        FineTuningStatus::Paused => paint(word(&job.status)).yellow(),
        _ => paint(word(&job.status)),
    };
    output.line(format!("{}  {status}", job.id))?;
    let settings = &job.lore.settings;
    let mut rows = vec![
        (
            "adapter",
            job.fine_tuned_model
                .clone()
                .unwrap_or_else(|| job.lore.name.clone()),
        ),
        ("base", job.model.clone()),
        ("method", word(&settings.method)),
    ];
    rows.extend(
        job.lore
            .continue_from
            .clone()
            .map(|from| ("continues", from)),
    );
    rows.extend(job.lore.datasets.iter().map(|one| ("data", dataset(one))));
    rows.push((
        "settings",
        format!(
            "learning rate {:e}, batch {}, rank {}, seed {}",
            settings.learning_rate, settings.batch_size, settings.lora_r, settings.seed
        ),
    ));
    rows.extend(job.lore.estimate.map(|estimate| {
        let time = elapsed(Duration::from_secs_f64(estimate.seconds.clamp(0.0, 1e9)));
        let memory = bytes(estimate.memory_bytes);
        (
            "estimate",
            format!("{} steps, {time}, {memory} of memory", estimate.steps),
        )
    }));
    if let Some(now) = &job.lore.progress {
        rows.extend(progress(now));
    }
    rows.push(("created", seconds_moment(job.created_at)));
    rows.extend(job.finished_at.map(|at| ("finished", seconds_moment(at))));
    rows.iter()
        .try_for_each(|(key, value)| output.line(format!("{:<12} {value}", paint(key).dim())))?;
    if let Some(error) = &job.error {
        output.line(format!(
            "{} {}",
            paint("failed:").red(),
            plain(&error.message)
        ))?;
    }
    Ok(())
}

fn dataset(one: &DatasetReport) -> String {
    let mut text = format!(
        "{} ({}): {} examples, {} held out, {} tokens",
        plain(&one.filename),
        one.format,
        one.examples,
        one.held_out,
        one.lengths.tokens
    );
    let told = [("cut", one.truncated), ("skipped", one.skipped)];
    for (what, count) in told.into_iter().filter(|(_, count)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    if one.role != "training" {
        text.push_str(&format!(", for {}", one.role));
    }
    text
}

fn progress(now: &Progress) -> Vec<(&'static str, String)> {
    let mut rows = vec![(
        "progress",
        format!("step {}/{}, epoch {:.2}", now.step, now.steps, now.epoch),
    )];
    rows.extend(now.train_loss.map(|loss| ("loss", format!("{loss:.4}"))));
    if let Some(validation) = now.validation_loss {
        let mut text = format!("{validation:.4}");
        if let Some(first) = now.first_validation_loss {
            text.push_str(&format!(", {first:.4} before the first step"));
        }
        if let (Some(best), Some(step)) = (now.best_validation_loss, now.best_step) {
            text.push_str(&format!(", best {best:.4} at step {step}"));
        }
        rows.push(("validation", text));
    }
    rows.push((
        "speed",
        format!(
            "{:.1} tokens/s, peak memory {}",
            now.tokens_per_second,
            bytes(now.peak_memory_bytes)
        ),
    ));
    rows
}
