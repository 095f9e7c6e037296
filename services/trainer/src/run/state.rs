use super::State;
use crate::memory;
use lore_types::{Progress, StepMetrics};
use serde_json::{Map, Value};

impl State {
    /// The step whose checkpoint is the run's result: the best one on the held-out part, or the last.
    pub fn result(&self) -> u64 {
        self.best_step.unwrap_or(self.step)
    }

    /// Takes a loss on the held-out part in; true where it is the lowest so far of a trained state.
    pub(super) fn evaluated(&mut self, loss: f64, min_delta: f64) -> bool {
        self.evaluated_step = Some(self.step);
        self.first_validation_loss = self.first_validation_loss.or(Some(loss));
        self.validation_loss = Some(loss);
        if self.step == 0 {
            return false;
        }
        let better = self
            .best_validation_loss
            .is_none_or(|best| loss < best - min_delta);
        if better {
            self.best_validation_loss = Some(loss);
            self.best_step = Some(self.step);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        better
    }

    /// What a checkpoint's `metrics` say, in OpenAI's words.
    pub(super) fn checkpoint_metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        metrics.insert("step".to_owned(), self.step.into());
        if let Some(loss) = self.train_loss {
            metrics.insert("train_loss".to_owned(), loss.into());
        }
        if let Some(loss) = self
            .validation_loss
            .filter(|_| self.evaluated_step == Some(self.step))
        {
            metrics.insert("valid_loss".to_owned(), loss.into());
        }
        metrics
    }

    /// How far the run is, seen from its newest line of metrics.
    pub(super) fn progress(&self, line: &StepMetrics, last: Option<&Progress>) -> Progress {
        let pace = self.seconds / self.step.max(1) as f64;
        let left = line.total_steps.saturating_sub(self.step) as f64;
        let before = last.copied().unwrap_or_default();
        Progress {
            step: self.step,
            steps: line.total_steps,
            epoch: line.epoch,
            train_loss: self.train_loss,
            validation_loss: self.validation_loss,
            first_validation_loss: self.first_validation_loss,
            best_validation_loss: self.best_validation_loss,
            best_step: self.best_step,
            learning_rate: line.learning_rate.unwrap_or(before.learning_rate),
            grad_norm: line.grad_norm.unwrap_or(before.grad_norm),
            tokens_per_second: line.tokens_per_second.unwrap_or(before.tokens_per_second),
            step_seconds: if line.train_loss.is_some() {
                line.seconds
            } else {
                before.step_seconds
            },
            tokens: self.tokens,
            peak_memory_bytes: memory::peak(),
            seconds_left: (self.step > 0).then_some(pace * left),
        }
    }
}
