use crate::{handbook, passage};
use lore_retrieval::{pack, without_repetition};
use proptest::prelude::*;

fn texts(passages: &[lore_types::Passage]) -> Vec<&str> {
    passages
        .iter()
        .map(|passage| passage.text.as_str())
        .collect()
}

#[test]
fn the_same_text_in_two_documents_is_shown_once() {
    let kept = without_repetition(vec![
        passage("a", 0, "Refunds take three days."),
        passage("b", 9, "REFUNDS take  three days"),
        passage("c", 0, "Refunds take ten days."),
    ]);
    assert_eq!(
        texts(&kept),
        ["Refunds take three days.", "Refunds take ten days."]
    );
}

#[test]
fn neighbours_that_overlap_a_little_both_stay_and_heavily_overlapping_ones_do_not() {
    let text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
    let at = |start: usize, end: usize| passage("a", start, &text[start..end]);
    assert_eq!(without_repetition(vec![at(0, 40), at(35, 80)]).len(), 2);
    assert_eq!(without_repetition(vec![at(0, 40), at(8, 48)]).len(), 1);
}

#[test]
fn a_passage_that_does_not_fit_makes_room_for_the_next() {
    let packed = pack(handbook(), 12, 5, |passage| {
        if passage.document_name == "returns.md" {
            20
        } else {
            6
        }
    });
    assert_eq!(
        packed
            .passages
            .iter()
            .map(|passage| passage.document_name.as_str())
            .collect::<Vec<_>>(),
        ["leave.md", "报销.md"]
    );
    assert_eq!((packed.tokens, packed.left_out), (12, 1));
}

proptest! {
    #[test]
    fn the_budget_and_the_limit_hold(sizes in prop::collection::vec(0usize..60, 0..12), budget in 0usize..120, limit in 0usize..6) {
        let passages: Vec<_> = (0..sizes.len()).map(|at| passage(&format!("d{at}"), 0, &format!("text number {at}"))).collect();
        let mut left = sizes.clone().into_iter();
        let total = sizes.len();
        let packed = pack(passages, budget, limit, |_| left.next().unwrap_or_default());
        prop_assert!(packed.tokens <= budget && packed.passages.len() <= limit);
        prop_assert_eq!(packed.passages.len() + packed.left_out, total);
    }
}
