use super::DatasetError;
use lore_model::Random;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A data set's part in a mixture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Its examples.
    pub examples: usize,
    /// How often an epoch shows each of them: 1 once, 2 twice, 0.5 every other one, the rest in the next epoch.
    pub weight: f64,
}

/// General data that is mixed in against forgetting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replay {
    /// Its examples.
    pub examples: usize,
    /// Its share of all examples that an epoch shows, 0..1.
    pub share: f64,
}

/// Which example comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pick {
    /// The data set: the place of its [`Part`]; the replayed one stands behind the last.
    pub dataset: usize,
    /// The example's place in it.
    pub example: usize,
}

/// A place in the endless sequence of examples; a checkpoint keeps it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Position {
    /// Epochs done.
    pub epoch: u64,
    /// Examples done in this epoch.
    pub index: usize,
}

/// The order of examples: a pure function of parts, replay share and seed.
///
/// # Guarantees
/// Each data set is gone through in ever new orders without a gap: an example comes again only when all others of its data set
/// have come, however weights and epochs cut that sequence. Within an epoch the data sets are mixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Examples of each data set, and how many of them an epoch takes.
    parts: Vec<(usize, f64)>,
    seed: u64,
}

impl Schedule {
    /// Checks the numbers of a mixture.
    ///
    /// # Errors
    /// [`DatasetError::Mixture`]: a weight that is no positive number, a share outside 0..1, an empty data set, no example.
    pub fn new(parts: &[Part], replay: Option<Replay>, seed: u64) -> Result<Self, DatasetError> {
        let wrong = |problem: String| Err(DatasetError::Mixture(problem));
        for (index, part) in parts.iter().enumerate() {
            if !(part.weight.is_finite() && part.weight > 0.0) {
                let number = index + 1;
                return wrong(format!(
                    "the weight of data set {number} is {}, but has to be above 0",
                    part.weight
                ));
            }
            if part.examples == 0 {
                return wrong(format!("data set {} has no example to train on", index + 1));
            }
        }
        let mut taken: Vec<(usize, f64)> = parts
            .iter()
            .map(|part| (part.examples, part.examples as f64 * part.weight))
            .collect();
        let own: f64 = taken.iter().map(|(_, taken)| taken).sum();
        if own < 1.0 {
            return wrong("the weights leave less than one example an epoch".to_owned());
        }
        if let Some(replay) = replay {
            if !(replay.share > 0.0 && replay.share < 1.0) {
                return wrong(format!(
                    "the replay share is {}, but has to be between 0 and 1",
                    replay.share
                ));
            }
            if replay.examples == 0 {
                return wrong("the replayed data set has no example".to_owned());
            }
            taken.push((replay.examples, own * replay.share / (1.0 - replay.share)));
        }
        Ok(Self { parts: taken, seed })
    }

    /// Examples of an epoch.
    pub fn length(&self, epoch: u64) -> usize {
        let taken = self.parts.iter().map(|(_, taken)| part_of(*taken, epoch));
        taken.map(|range| range.count()).sum()
    }

    /// All examples of an epoch in their order.
    pub fn epoch(&self, epoch: u64) -> Vec<Pick> {
        let mut picks = Vec::with_capacity(self.length(epoch));
        for (dataset, (examples, taken)) in self.parts.iter().enumerate() {
            let range = part_of(*taken, epoch);
            picks.extend(self.run(dataset, *examples, range));
        }
        // Purposes above those of the parts' rounds.
        Random::derived(self.seed, u64::MAX - epoch).shuffle(&mut picks);
        picks
    }

    /// Goes on from a position, for ever.
    pub fn walk(&self, from: Position) -> Walk<'_> {
        Walk {
            schedule: self,
            picks: self.epoch(from.epoch),
            position: from,
        }
    }

    /// A stretch of the endless sequence of a data set's rounds, each in an order of its own.
    fn run(&self, dataset: usize, examples: usize, range: Range<u64>) -> Vec<Pick> {
        let mut picks = Vec::new();
        let mut round = (u64::MAX, Vec::new());
        for place in range {
            let number = place / examples as u64;
            if round.0 != number {
                round = (number, self.order(dataset, examples, number));
            }
            let within = usize::try_from(place % examples as u64).unwrap_or(0);
            let example = round.1.get(within).copied().unwrap_or(0);
            picks.push(Pick { dataset, example });
        }
        picks
    }

    fn order(&self, dataset: usize, examples: usize, round: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..examples).collect();
        let seed = Random::derived(self.seed, dataset as u64 + 1).next_u64();
        Random::derived(seed, round).shuffle(&mut order);
        order
    }
}

/// The stretch of a data set's sequence that an epoch takes.
fn part_of(taken: f64, epoch: u64) -> Range<u64> {
    // A small allowance: 10 examples at 0.1 are one, whatever the last bit says.
    let border = |epoch: u64| (epoch as f64 * taken + 1e-6).floor() as u64;
    border(epoch)..border(epoch + 1)
}

/// Examples from a position on, epoch after epoch.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    schedule: &'a Schedule,
    picks: Vec<Pick>,
    position: Position,
}

impl Walk<'_> {
    /// Where the next example stands.
    pub fn position(&self) -> Position {
        self.position
    }
}

impl Iterator for Walk<'_> {
    type Item = Pick;

    fn next(&mut self) -> Option<Pick> {
        // Every epoch has an example: the weights were checked. Weights just above one may leave rare empty ones out.
        while self.position.index >= self.picks.len() {
            self.position = Position {
                epoch: self.position.epoch + 1,
                index: 0,
            };
            self.picks = self.schedule.epoch(self.position.epoch);
        }
        let pick = self.picks.get(self.position.index).copied();
        self.position.index += 1;
        pick
    }
}
