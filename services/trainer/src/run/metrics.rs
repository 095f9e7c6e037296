use super::State;
use super::error::{RunError, file};
use super::files::write_whole;
use lore_types::StepMetrics;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// `metrics.jsonl` of a job: one line a step.
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Goes on from a state: lines of what will be computed again are dropped.
    pub(crate) fn open(path: &Path, state: &State) -> Result<Self, RunError> {
        let step = state.step;
        if step > 0 && path.exists() {
            let kept: Vec<u8> = read(path)?
                .iter()
                .filter(|line| is_past(line, state))
                .flat_map(|line| line_of(line).into_bytes())
                .collect();
            write_whole(path, &kept)?;
        }
        let mut options = OpenOptions::new();
        let options = options
            .create(true)
            .write(true)
            .append(step > 0)
            .truncate(step == 0);
        let file = options.open(path).map_err(file("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, metrics: &StepMetrics) -> Result<(), RunError> {
        self.file
            .write_all(line_of(metrics).as_bytes())
            .map_err(file("write", &self.path))
    }
}

fn is_past(line: &StepMetrics, state: &State) -> bool {
    let evaluation = line.validation_loss.is_some();
    line.step < state.step
        || line.step == state.step && (!evaluation || state.evaluated_step == Some(state.step))
}

/// The lines of a metrics file; one that was cut off by a kill is left out.
pub(crate) fn read(path: &Path) -> Result<Vec<StepMetrics>, RunError> {
    let text = std::fs::read_to_string(path).map_err(file("read", path))?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn line_of(metrics: &StepMetrics) -> String {
    let mut line = serde_json::to_string(metrics).unwrap_or_default();
    line.push('\n');
    line
}

/// What a job's result file holds: CSV with a line a step, as OpenAI's.
pub(crate) fn csv(lines: &[StepMetrics]) -> String {
    let mut text =
        "step,train_loss,valid_loss,learning_rate,grad_norm,tokens_per_second\n".to_owned();
    for line in lines {
        let cell = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let cells = [
            line.step.to_string(),
            cell(line.train_loss),
            cell(line.validation_loss),
            cell(line.learning_rate),
            cell(line.grad_norm),
            cell(line.tokens_per_second),
        ];
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}
