use lore_types::{LearningRateSchedule, TrainingSettings};
use std::f64::consts::PI;

/// The learning rate of every step of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    highest: f64,
    warmup: u64,
    steps: u64,
    schedule: LearningRateSchedule,
}

impl LearningRate {
    /// The plan of `settings` for a run of `steps`.
    pub fn new(settings: &TrainingSettings, steps: u64) -> Self {
        let share = (settings.warmup_ratio * steps as f64).round() as u64;
        Self {
            highest: settings.learning_rate,
            warmup: settings.warmup_steps.unwrap_or(share).min(steps),
            steps,
            schedule: settings.lr_schedule,
        }
    }

    /// The rate of `step`, counted from 0.
    ///
    /// # Formula
    /// While warming up `highest · (step + 1) / warmup`; afterwards, with `p` the share done of what is left,
    /// `highest · (1 + cos πp) / 2`, `highest · (1 − p)`, or `highest`. No step is at zero.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.highest * (step + 1) as f64 / self.warmup as f64;
        }
        let left = self.steps.saturating_sub(self.warmup).max(1);
        let done = (step - self.warmup) as f64 / left as f64;
        match self.schedule {
            LearningRateSchedule::Cosine => self.highest * (1.0 + (PI * done.min(1.0)).cos()) / 2.0,
            LearningRateSchedule::Linear => self.highest * (1.0 - done.min(1.0)),
            LearningRateSchedule::Constant => self.highest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: LearningRateSchedule) -> Vec<f64> {
        let settings = TrainingSettings {
            learning_rate: 1.0,
            warmup_steps: Some(2),
            lr_schedule: schedule,
            ..TrainingSettings::default()
        };
        let rate = LearningRate::new(&settings, 6);
        (0..6)
            .map(|step| (rate.at(step) * 1000.0).round() / 1000.0)
            .collect()
    }

    #[test]
    fn the_rate_rises_and_then_follows_its_schedule() {
        assert_eq!(
            rates(LearningRateSchedule::Constant),
            [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
        );
        assert_eq!(
            rates(LearningRateSchedule::Linear),
            [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        );
        assert_eq!(
            rates(LearningRateSchedule::Cosine),
            [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
        );
    }
}
