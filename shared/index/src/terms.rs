//! Here is a filter, give me the terms to look for: both engines hold one list of terms per chunk and answer every filter
//! with it, so that they cannot disagree and no field needs an index of its own.
//!
//! A field gives one term that says it is there, and per value one term that names the value. Numbers and times also
//! give one term per leading hexadecimal digit of an order-preserving code: a range is then the few dozen prefixes
//! that lie wholly inside it. Trailing zeros give no terms, which keeps round numbers and dates short.

use lore_types::{Comparison, Filter, Scalar};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Terms longer than this are replaced by their hash.
const LONGEST_TERM: usize = 200;
/// Hexadecimal digits of a number's code.
const NUMBER_DIGITS: usize = 16;
/// Hexadecimal digits of a time's code: seven for the day, ten for the microsecond of the day.
const TIME_DIGITS: usize = 17;
const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

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
            Filter::And(filters) => join(filters, Self::None, Self::All, Self::And),
            Filter::Or(filters) => join(filters, Self::All, Self::None, Self::Or),
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
    absorbing: TermFilter,
    neutral: TermFilter,
    join: fn(Vec<TermFilter>) -> TermFilter,
) -> TermFilter {
    let mut parts: Vec<_> = filters
        .iter()
        .map(TermFilter::of)
        .filter(|part| *part != neutral)
        .collect();
    if parts.contains(&absorbing) {
        return absorbing;
    }
    match parts.len() {
        0 => neutral,
        1 => parts.remove(0),
        _ => join(parts),
    }
}

fn compare(field: &str, is: &Comparison) -> TermFilter {
    let terms = match is {
        Comparison::In(values) => values
            .iter()
            .filter_map(|value| value_term(field, value))
            .collect(),
        Comparison::Numbers { from, to } => number_range(*from, *to)
            .map(|(low, high)| range_terms(field, NUMBERS, low, high))
            .unwrap_or_default(),
        Comparison::Times { from, to } => time_range(*from, *to)
            .map(|(low, high)| range_terms(field, TIMES, low, high))
            .unwrap_or_default(),
        Comparison::Exists(true) => vec![term('x', field, "")],
        Comparison::Exists(false) => {
            return TermFilter::Not(Box::new(TermFilter::Any(vec![term('x', field, "")])));
        }
    };
    if terms.is_empty() {
        TermFilter::None
    } else {
        TermFilter::Any(terms)
    }
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

/// The term that stands for one value; a number that is none has no term, because it equals nothing.
fn value_term(field: &str, value: &Scalar) -> Option<String> {
    match value {
        Scalar::Text(text) => Some(term('s', field, text)),
        Scalar::Bool(truth) => Some(term('b', field, if *truth { "1" } else { "0" })),
        Scalar::Number(number) => (!number.is_nan())
            .then(|| exact_term(field, NUMBERS, &digits(number_code(*number), NUMBERS))),
    }
}

/// The terms by which ranges find a value.
fn order_terms(field: &str, value: &Scalar) -> Vec<String> {
    let (code, kind) = match value {
        Scalar::Number(number) if !number.is_nan() => (number_code(*number), NUMBERS),
        Scalar::Number(_) | Scalar::Bool(_) => return Vec::new(),
        Scalar::Text(_) => match value.time() {
            Some(time) => (time_code(time), TIMES),
            None => return Vec::new(),
        },
    };
    let all = digits(code, kind);
    let significant = all.trim_end_matches('0');
    let prefixes = (1..=significant.len()).filter_map(|length| significant.get(..length));
    let mut terms: Vec<_> = prefixes
        .map(|prefix| term(kind.prefix, field, prefix))
        .collect();
    terms.push(exact_term(field, kind, &all));
    terms
}

/// How one kind of ordered value is written.
#[derive(Clone, Copy)]
struct Ordered {
    digits: usize,
    prefix: char,
    exact: char,
}

const NUMBERS: Ordered = Ordered {
    digits: NUMBER_DIGITS,
    prefix: 'n',
    exact: 'e',
};
const TIMES: Ordered = Ordered {
    digits: TIME_DIGITS,
    prefix: 't',
    exact: 'u',
};

fn digits(code: u128, kind: Ordered) -> String {
    format!("{code:0width$x}", width = kind.digits)
}

fn exact_term(field: &str, kind: Ordered, digits: &str) -> String {
    term(kind.exact, field, digits.trim_end_matches('0'))
}

/// The length before the field keeps `a` + `bc` apart from `ab` + `c`, whatever characters they hold.
fn term(kind: char, field: &str, value: &str) -> String {
    let whole = format!("{kind}{}:{field}{value}", field.len());
    if whole.len() <= LONGEST_TERM {
        return whole;
    }
    Sha256::digest(whole.as_bytes())
        .iter()
        .fold("h".to_owned(), |hash, byte| format!("{hash}{byte:02x}"))
}

/// A code that sorts as the numbers do; both zeros have the same.
fn number_code(number: f64) -> u128 {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    let negative = bits >> 63 == 1;
    u128::from(if negative { !bits } else { bits | 1 << 63 })
}

/// A code that sorts as the times do, with the time of the day in the last ten digits.
fn time_code(microseconds: i64) -> u128 {
    let day = microseconds.div_euclid(MICROSECONDS_PER_DAY) + (1 << 27);
    let rest = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
    u128::from(day.unsigned_abs()) << 40 | u128::from(rest.unsigned_abs())
}

/// The lowest and the highest code within the borders, or `None` where nothing is.
fn number_range(from: Option<(f64, bool)>, to: Option<(f64, bool)>) -> Option<(u128, u128)> {
    if [from, to]
        .into_iter()
        .flatten()
        .any(|(border, _)| border.is_nan())
    {
        return None;
    }
    let low = from.map_or(0, |(border, closed)| {
        number_code(border) + u128::from(!closed)
    });
    let high = to.map_or(u128::from(u64::MAX), |(border, closed)| {
        number_code(border) - u128::from(!closed)
    });
    (low <= high).then_some((low, high))
}

fn time_range(from: Option<(i64, bool)>, to: Option<(i64, bool)>) -> Option<(u128, u128)> {
    let low = match from {
        Some((border, closed)) => border.checked_add(i64::from(!closed))?,
        None => i64::MIN,
    };
    let high = match to {
        Some((border, closed)) => border.checked_sub(i64::from(!closed))?,
        None => i64::MAX,
    };
    (low <= high).then(|| (time_code(low), time_code(high)))
}

/// The terms of which each value between `low` and `high`, both included, has at least one, and no other value any.
fn range_terms(field: &str, kind: Ordered, low: u128, high: u128) -> Vec<String> {
    let mut terms = Vec::new();
    for digit in 0..16 {
        cover(field, kind, (digit, 1), (low, high), &mut terms);
    }
    terms
}

/// Covers the part of the range under one prefix, given as its value and its length in digits.
fn cover(
    field: &str,
    kind: Ordered,
    (prefix, length): (u128, usize),
    range: (u128, u128),
    terms: &mut Vec<String>,
) {
    let below = 4 * (kind.digits - length);
    let first = prefix << below;
    let last = first | ((1 << below) - 1);
    if last < range.0 || first > range.1 {
        return;
    }
    if first < range.0 || last > range.1 {
        for digit in 0..16 {
            cover(field, kind, (prefix << 4 | digit, length + 1), range, terms);
        }
        return;
    }
    let digits = format!("{prefix:0length$x}");
    // A value that ends in zeros has no terms for these: where the prefix ends in one, that value is named as a whole.
    if digits.ends_with('0') || length == kind.digits {
        terms.push(exact_term(field, kind, &digits));
    }
    if length < kind.digits {
        terms.push(term(kind.prefix, field, &digits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl TermFilter {
        fn admits(&self, terms: &[String]) -> bool {
            match self {
                Self::All => true,
                Self::None => false,
                Self::Any(wanted) => wanted.iter().any(|term| terms.contains(term)),
                Self::And(filters) => filters.iter().all(|filter| filter.admits(terms)),
                Self::Or(filters) => filters.iter().any(|filter| filter.admits(terms)),
                Self::Not(filter) => !filter.admits(terms),
            }
        }
    }

    fn numbers(from: Option<(f64, bool)>, to: Option<(f64, bool)>) -> Filter {
        Filter::Field {
            field: "n".to_owned(),
            is: Comparison::Numbers { from, to },
        }
    }

    fn agree(filter: &Filter, fields: &BTreeMap<String, Vec<Scalar>>) {
        let terms = field_terms(fields);
        assert_eq!(
            TermFilter::of(filter).admits(&terms),
            filter.admits(fields),
            "{filter:?} over {fields:?}: {terms:?}"
        );
    }

    fn number() -> impl Strategy<Value = f64> {
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2024.0,
            0.1,
            9_007_199_254_740_993.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
        ];
        prop_oneof![
            prop::sample::select(edges.to_vec()),
            prop::num::f64::NORMAL,
            (-20i32..20).prop_map(f64::from)
        ]
    }

    fn border<T: std::fmt::Debug>(
        of: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<(T, bool)>> {
        prop::option::of((of, any::<bool>()))
    }

    fn time() -> impl Strategy<Value = i64> {
        let day = 86_400_000_000i64;
        prop_oneof![
            any::<i64>(),
            (-400i64..400).prop_map(move |d| d * day),
            (0..3 * day),
            Just(i64::MAX),
            Just(i64::MIN)
        ]
    }

    proptest! {
        #[test]
        fn number_ranges_admit_what_comparing_admits(value in number(), from in border(number()), to in border(number())) {
            agree(&numbers(from, to), &BTreeMap::from([("n".to_owned(), vec![Scalar::Number(value)])]));
        }

        #[test]
        fn time_codes_sort_as_times_do(a in time(), b in time()) {
            prop_assert_eq!(a.cmp(&b), time_code(a).cmp(&time_code(b)));
        }

        #[test]
        fn time_ranges_are_short(from in border(time()), to in border(time())) {
            let filter = Filter::Field { field: "n".to_owned(), is: Comparison::Times { from, to } };
            if let TermFilter::Any(terms) = TermFilter::of(&filter) {
                prop_assert!(terms.len() <= 2 * 2 * 16 * TIME_DIGITS, "{}", terms.len());
            }
        }
    }

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
        let fields =
            BTreeMap::from([("on".to_owned(), vec![Scalar::Text("2024-03-05".to_owned())])]);
        assert!(
            field_terms(&fields).len() <= 10,
            "{:?}",
            field_terms(&fields)
        );
    }
}
