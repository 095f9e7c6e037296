//! Here is a filter, give me the terms to look for: both engines hold one list of terms per chunk and answer every filter
//! with it, so that they cannot disagree and no field needs an index of its own.
//!
//! A field gives one term that says it is there, and per value one term that names the value. Numbers and times also
//! give one term per leading digit of a code that sorts as they do (see `order`): a range is then the few dozen prefixes
//! that lie wholly inside it.

use crate::order::{self, Code, Kind, Part};
use lore_types::{Comparison, Filter, Scalar};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Terms longer than this are replaced by their hash.
const LONGEST_TERM: usize = 200;

/// A filter over terms. `All` and `None` stand at the top only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TermFilter {
    /// Admits everything.
    All,
    /// Admits nothing.
    None,
    /// At least one of these terms, of which there is at least one.
    Any(Vec<String>),
    /// Every one, of which there are at least two.
    And(Vec<TermFilter>),
    /// At least one, of which there are at least two.
    Or(Vec<TermFilter>),
    /// Not this one.
    Not(Box<TermFilter>),
}

impl TermFilter {
    /// The same condition as `filter`, over terms.
    pub(crate) fn of(filter: &Filter) -> Self {
        match filter {
            Filter::And(filters) => join(filters, &Self::None, Self::All, Self::And),
            Filter::Or(filters) => join(filters, &Self::All, Self::None, Self::Or),
            Filter::Not(filter) => match Self::of(filter) {
                Self::All => Self::None,
                Self::None => Self::All,
                other => Self::Not(Box::new(other)),
            },
            Filter::Field { field, is } => compare(field, is),
        }
    }
}

/// Joins filters of which `absorbing` decides alone and `neutral` says nothing.
fn join(
    filters: &[Filter],
    absorbing: &TermFilter,
    neutral: TermFilter,
    join: fn(Vec<TermFilter>) -> TermFilter,
) -> TermFilter {
    let parts = filters.iter().map(TermFilter::of);
    let mut parts: Vec<_> = parts.filter(|part| *part != neutral).collect();
    if parts.contains(absorbing) {
        return absorbing.clone();
    }
    match parts.len() {
        0 => neutral,
        1 => parts.remove(0),
        _ => join(parts),
    }
}

fn compare(field: &str, is: &Comparison) -> TermFilter {
    let there = || TermFilter::Any(vec![term('x', field, "")]);
    let terms: Vec<String> = match is {
        Comparison::In(values) => values
            .iter()
            .filter_map(|value| value_term(field, value))
            .collect(),
        Comparison::Numbers { from, to } => range(field, Kind::Number, order::numbers(*from, *to)),
        Comparison::Times { from, to } => range(field, Kind::Time, order::times(*from, *to)),
        Comparison::Exists(true) => return there(),
        Comparison::Exists(false) => return TermFilter::Not(Box::new(there())),
    };
    if terms.is_empty() {
        TermFilter::None
    } else {
        TermFilter::Any(terms)
    }
}

fn range(field: &str, kind: Kind, range: Option<(Code, Code)>) -> Vec<String> {
    let Some((low, high)) = range else {
        return Vec::new();
    };
    let parts = order::cover(kind, low, high);
    parts
        .iter()
        .map(|part| part_term(field, kind, part))
        .collect()
}

/// All terms of a document's fields, each once, in order.
pub(crate) fn field_terms(fields: &BTreeMap<String, Vec<Scalar>>) -> Vec<String> {
    let mut terms = BTreeSet::new();
    for (field, values) in fields {
        if !values.is_empty() {
            terms.insert(term('x', field, ""));
        }
        for value in values {
            terms.extend(value_term(field, value));
            terms.extend(order_terms(field, value));
        }
    }
    terms.into_iter().collect()
}

/// The term that stands for one value; what is no number has none, because it equals nothing.
fn value_term(field: &str, value: &Scalar) -> Option<String> {
    match value {
        Scalar::Text(text) => Some(term('s', field, text)),
        Scalar::Bool(truth) => Some(term('b', field, if *truth { "1" } else { "0" })),
        Scalar::Number(number) => order::number(*number).map(|code| {
            let digits = order::digits(code, Kind::Number);
            part_term(field, Kind::Number, &Part::Exactly(digits))
        }),
    }
}

/// The terms by which ranges find a value.
fn order_terms(field: &str, value: &Scalar) -> Vec<String> {
    let (code, kind) = match value {
        Scalar::Number(number) => (order::number(*number), Kind::Number),
        Scalar::Text(_) => (value.time().map(order::time), Kind::Time),
        Scalar::Bool(_) => (None, Kind::Number),
    };
    let Some(code) = code else { return Vec::new() };
    let digits = order::digits(code, kind);
    let prefixes = (1..=digits.len()).filter_map(|length| digits.get(..length));
    let mut parts: Vec<Part> = prefixes
        .map(|prefix| Part::Under(prefix.to_owned()))
        .collect();
    parts.push(Part::Exactly(digits.clone()));
    parts
        .iter()
        .map(|part| part_term(field, kind, part))
        .collect()
}

fn part_term(field: &str, kind: Kind, part: &Part) -> String {
    match (kind, part) {
        (Kind::Number, Part::Exactly(digits)) => term('e', field, digits),
        (Kind::Number, Part::Under(digits)) => term('n', field, digits),
        (Kind::Time, Part::Exactly(digits)) => term('u', field, digits),
        (Kind::Time, Part::Under(digits)) => term('t', field, digits),
    }
}

/// The length before the field keeps `a` + `bc` apart from `ab` + `c`, whatever characters they hold.
fn term(kind: char, field: &str, value: &str) -> String {
    let whole = format!("{kind}{}:{field}{value}", field.len());
    if whole.len() <= LONGEST_TERM {
        return whole;
    }
    let hash = Sha256::digest(whole.as_bytes());
    hash.iter()
        .fold("h".to_owned(), |hash, byte| format!("{hash}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_values_never_run_into_each_other() {
        assert_ne!(term('s', "a", "bc"), term('s', "ab", "c"));
        assert_ne!(term('s', "a\0", "b"), term('s', "a", "\0b"));
    }

    #[test]
    fn long_values_become_short_terms_and_stay_distinct() {
        let (one, two) = ("x".repeat(70_000), format!("{}y", "x".repeat(69_999)));
        assert_eq!(term('s', "k", &one).len(), 65);
        assert_ne!(term('s', "k", &one), term('s', "k", &two));
    }

    #[test]
    fn a_date_has_few_terms() {
        let date = vec![Scalar::Text("2024-03-05".to_owned())];
        let terms = field_terms(&BTreeMap::from([("on".to_owned(), date)]));
        assert!(terms.len() <= 10, "{terms:?}");
    }

    #[test]
    fn filters_that_decide_alone_are_folded() {
        let always = Filter::And(Vec::new());
        let never = Filter::Or(Vec::new());
        let both = Filter::And(vec![always.clone(), never.clone()]);
        assert_eq!(TermFilter::of(&both), TermFilter::None);
        assert_eq!(
            TermFilter::of(&Filter::Or(vec![always, never.clone()])),
            TermFilter::All
        );
        assert_eq!(
            TermFilter::of(&Filter::Not(Box::new(never))),
            TermFilter::All
        );
    }
}
