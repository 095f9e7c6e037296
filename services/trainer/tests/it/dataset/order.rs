//! Split, order and packing: functions of content, weights and a seed.

use lore_trainer::dataset::{
    Body, Conversation, Part, Pick, Position, Replay, Schedule, micro_batches, split,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn conversations(count: usize) -> Vec<Conversation> {
    let one = |line: usize| Conversation {
        line,
        body: Body::Text(format!("example {line}")),
    };
    (1..=count).map(one).collect()
}

fn texts(list: &[Conversation]) -> BTreeSet<String> {
    let text = |one: &Conversation| format!("{:?}", one.body);
    list.iter().map(text).collect()
}

#[test]
fn an_example_keeps_its_side_wherever_it_stands() {
    let all = conversations(1000);
    let whole = split(all.clone(), 0.1, 7);
    assert!(
        (60..140).contains(&whole.validation.len()),
        "{}",
        whole.validation.len()
    );
    assert_eq!(whole.training.len() + whole.validation.len(), 1000);
    let mut moved: Vec<Conversation> = all.iter().rev().take(500).cloned().collect();
    moved.iter_mut().for_each(|one| one.line += 1000);
    let part = split(moved, 0.1, 7);
    assert!(texts(&part.validation).is_subset(&texts(&whole.validation)));
    assert!(texts(&part.training).is_subset(&texts(&whole.training)));
    assert_ne!(
        texts(&split(all, 0.1, 8).validation),
        texts(&whole.validation)
    );
}

#[test]
fn small_files_have_both_sides_and_equal_examples_are_on_one() {
    for count in 2..12 {
        for (share, seed) in [(0.01, 1), (0.1, 2), (0.5, 3), (1.0, 4)] {
            let split = split(conversations(count), share, seed);
            assert!(
                !split.training.is_empty() && !split.validation.is_empty(),
                "{count} {share}"
            );
        }
    }
    assert_eq!(split(conversations(1), 0.5, 1).training.len(), 1);
    assert!(split(conversations(50), 0.0, 1).validation.is_empty());
    let mut twice = conversations(30);
    twice.extend(conversations(30));
    let split = split(twice, 0.3, 5);
    assert!(texts(&split.training).is_disjoint(&texts(&split.validation)));
    assert_eq!(split.training.len() + split.validation.len(), 60);
}

fn parts(list: &[(usize, f64)]) -> Vec<Part> {
    list.iter()
        .map(|&(examples, weight)| Part { examples, weight })
        .collect()
}

/// How often each example is picked.
fn counts(picks: impl IntoIterator<Item = Pick>) -> BTreeMap<Pick, usize> {
    let mut counts = BTreeMap::new();
    picks
        .into_iter()
        .for_each(|pick| *counts.entry(pick).or_insert(0) += 1);
    counts
}

#[test]
fn an_epoch_shows_each_data_set_as_often_as_its_weight_says() {
    let schedule =
        Schedule::new(&parts(&[(10, 1.0), (4, 2.0), (6, 0.5)]), None, 1).expect("a schedule");
    let first = schedule.epoch(0);
    assert_eq!(first.len(), 10 + 8 + 3);
    assert_eq!(first.len(), schedule.length(0));
    let counted = counts(first.iter().copied());
    assert!((0..10).all(|example| counted[&Pick {
        dataset: 0,
        example
    }] == 1));
    assert!((0..4).all(|example| counted[&Pick {
        dataset: 1,
        example
    }] == 2));
    // What the first epoch left out of the half-weighted data set comes in the second.
    let both = counts(first.into_iter().chain(schedule.epoch(1)));
    assert!((0..6).all(|example| both[&Pick {
        dataset: 2,
        example
    }] == 1));
}

#[test]
fn replay_has_its_share_and_goes_through_all_of_its_data() {
    let replay = Replay {
        examples: 50,
        share: 0.2,
    };
    let schedule = Schedule::new(&parts(&[(40, 1.0)]), Some(replay), 3).expect("a schedule");
    let picks: Vec<Pick> = (0..5).flat_map(|epoch| schedule.epoch(epoch)).collect();
    assert_eq!(picks.len(), 5 * 50);
    let counted = counts(picks);
    assert!((0..50).all(|example| counted[&Pick {
        dataset: 1,
        example
    }] == 1));
}

#[test]
fn the_order_is_the_seeds_and_another_in_every_epoch() {
    let new =
        |seed| Schedule::new(&parts(&[(100, 1.0), (100, 1.0)]), None, seed).expect("a schedule");
    assert_eq!(new(1).epoch(5), new(1).epoch(5));
    assert_ne!(new(1).epoch(0), new(2).epoch(0));
    assert_ne!(new(1).epoch(0), new(1).epoch(1));
    let firsts: BTreeSet<usize> = new(1)
        .epoch(0)
        .iter()
        .take(20)
        .map(|pick| pick.dataset)
        .collect();
    assert_eq!(firsts.len(), 2, "the data sets are mixed");
    // One data set's order is not that of another.
    let order = |dataset| -> Vec<usize> {
        let picks = new(1).epoch(0).into_iter();
        picks
            .filter(|pick| pick.dataset == dataset)
            .map(|pick| pick.example)
            .collect()
    };
    assert_ne!(order(0), order(1));
}

#[test]
fn numbers_that_make_no_mixture_are_refused() {
    for (list, replay, reason) in [
        (vec![(10, 0.0)], None, "the weight of data set 1 is 0"),
        (
            vec![(10, 1.0), (10, f64::NAN)],
            None,
            "the weight of data set 2 is NaN",
        ),
        (vec![(0, 1.0)], None, "data set 1 has no example"),
        (vec![(10, 0.01)], None, "less than one example"),
        (vec![], None, "less than one example"),
        (vec![(10, 1.0)], Some((10, 1.0)), "the replay share is 1"),
        (
            vec![(10, 1.0)],
            Some((0, 0.5)),
            "the replayed data set has no example",
        ),
    ] {
        let replay = replay.map(|(examples, share)| Replay { examples, share });
        let error = Schedule::new(&parts(&list), replay, 1)
            .expect_err(reason)
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

proptest! {
    #[test]
    fn a_walk_goes_on_from_any_position(
        list in prop::collection::vec((1usize..20, 0.2f64..3.0), 1..4), share in 0.05f64..0.6, seed in any::<u64>(), done in 0usize..120,
    ) {
        let replay = Replay { examples: 7, share };
        let Ok(schedule) = Schedule::new(&parts(&list), Some(replay), seed) else { return Ok(()) };
        let all: Vec<Pick> = schedule.walk(Position::default()).take(done + 40).collect();
        let mut walk = schedule.walk(Position::default());
        walk.by_ref().take(done).for_each(drop);
        let kept = serde_json::to_string(&walk.position()).expect("JSON");
        let position: Position = serde_json::from_str(&kept).expect("a position");
        let rest: Vec<Pick> = schedule.walk(position).take(40).collect();
        prop_assert_eq!(&all[done..], rest.as_slice());
        for pick in all {
            let examples = list.get(pick.dataset).map_or(7, |(examples, _)| *examples);
            prop_assert!(pick.example < examples);
        }
    }

    #[test]
    fn micro_batches_hold_every_example_once_within_the_budget(lengths in prop::collection::vec(1usize..300, 0..60), budget in 1usize..400) {
        let batches = micro_batches(&lengths, budget);
        let mut held: Vec<usize> = batches.iter().flatten().copied().collect();
        held.sort_unstable();
        prop_assert_eq!(held, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let tokens: usize = batch.iter().map(|index| lengths[*index]).sum();
            prop_assert!(tokens <= budget || batch.len() == 1);
        }
        // No two micro-batches would fit into one.
        let sums: Vec<usize> = batches.iter().map(|batch| batch.iter().map(|index| lengths[*index]).sum()).collect();
        for (index, a) in sums.iter().enumerate() {
            prop_assert!(sums.iter().skip(index + 1).all(|b| a + b > budget));
        }
    }
}
