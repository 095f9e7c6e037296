use crate::dataset::{Position, Schedule, micro_batches};
use lore_model::train::{Example, targets};
use lore_types::TrainingSettings;

/// The examples of a run, in tokens.
#[derive(Clone, Debug)]
pub struct Data {
    /// Examples of each data set, the replayed one last; `schedule` says which comes when.
    pub sets: Vec<Vec<Example>>,
    /// Held-out examples; none where nothing is evaluated.
    pub held_out: Vec<Example>,
    /// The order.
    pub schedule: Schedule,
    /// Names all of it: a checkpoint of a run on other data is refused.
    pub digest: String,
}

/// The examples of one step.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Each computed at once.
    pub(super) micro_batches: Vec<Vec<Example>>,
    /// Tokens in all.
    pub(super) tokens: u64,
    /// Labels that count in all: what the loss is divided by.
    pub(super) targets: usize,
    /// Where the next step begins.
    pub(super) next: Position,
}

impl Data {
    /// Steps that `settings` ask for.
    pub fn steps(&self, settings: &TrainingSettings) -> u64 {
        if let Some(steps) = settings.max_steps {
            return steps;
        }
        let whole = settings.n_epochs.floor();
        let examples: f64 = (0..whole as u64)
            .map(|epoch| self.schedule.length(epoch) as f64)
            .sum();
        let rest = (settings.n_epochs - whole) * self.schedule.length(whole as u64) as f64;
        ((examples + rest) / f64::from(settings.batch_size))
            .ceil()
            .max(1.0) as u64
    }

    /// Steps between two evaluations of a run of `steps`: as asked, or ten in all and at least one an epoch.
    pub fn evaluate_every(&self, settings: &TrainingSettings, steps: u64) -> u64 {
        let epoch = (self.schedule.length(0) as u64).div_ceil(u64::from(settings.batch_size));
        let automatic = steps.div_ceil(10).min(epoch).max(1);
        settings.eval_every_steps.unwrap_or(automatic)
    }

    /// Rounds through the examples that are done at a position, as a fraction.
    pub fn epochs(&self, position: Position) -> f64 {
        let length = self.schedule.length(position.epoch).max(1);
        position.epoch as f64 + position.index as f64 / length as f64
    }

    /// The step that begins at a position.
    pub(super) fn batch(&self, from: Position, settings: &TrainingSettings) -> Batch {
        let mut walk = self.schedule.walk(from);
        let size = usize::try_from(settings.batch_size).unwrap_or(usize::MAX);
        let picks: Vec<_> = walk.by_ref().take(size).collect();
        let examples: Vec<Example> = picks
            .iter()
            .filter_map(|pick| self.sets.get(pick.dataset)?.get(pick.example).cloned())
            .collect();
        Batch {
            tokens: tokens(&examples),
            targets: targets(&examples),
            micro_batches: pack(examples, settings),
            next: walk.position(),
        }
    }

    /// The held-out examples, packed.
    pub(super) fn held_out(&self, settings: &TrainingSettings) -> Vec<Vec<Example>> {
        pack(self.held_out.clone(), settings)
    }
}

pub(super) fn tokens(examples: &[Example]) -> u64 {
    examples
        .iter()
        .map(|example| example.tokens.len() as u64)
        .sum()
}

fn pack(examples: Vec<Example>, settings: &TrainingSettings) -> Vec<Vec<Example>> {
    let lengths: Vec<usize> = examples
        .iter()
        .map(|example| example.tokens.len())
        .collect();
    let most = usize::try_from(settings.micro_batch_tokens).unwrap_or(usize::MAX);
    let pick = |indices: Vec<usize>| {
        let some = indices
            .into_iter()
            .filter_map(|index| examples.get(index).cloned());
        some.collect()
    };
    micro_batches(&lengths, most)
        .into_iter()
        .map(pick)
        .collect()
}
