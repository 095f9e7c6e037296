//! Here is a number or a time, give me digits that sort as the values do, and the prefixes that make up a range.

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// How one kind of ordered value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 16 hexadecimal digits.
    Number,
    /// 17 hexadecimal digits: seven for the day, ten for the microsecond of the day.
    Time,
}

/// A value's code. The codes of one kind sort as its values do.
pub(crate) type Code = u128;

/// A set of values of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The value with these digits, without the zeros at the end.
    Exactly(String),
    /// The values whose digits, without the zeros at the end, begin so.
    Under(String),
}

impl Kind {
    fn digits(self) -> usize {
        match self {
            Self::Number => 16,
            Self::Time => 17,
        }
    }
}

/// The digits of a value without the zeros at the end: round numbers and dates have few.
pub(crate) fn digits(code: Code, kind: Kind) -> String {
    without_zeros(&format!("{code:0width$x}", width = kind.digits()))
}

/// The code of a number; both zeros have the same. `None` for what is no number.
pub(crate) fn number(number: f64) -> Option<Code> {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    let negative = bits >> 63 == 1;
    (!number.is_nan()).then(|| u128::from(if negative { !bits } else { bits | 1 << 63 }))
}

/// The code of a time in microseconds since 1970.
pub(crate) fn time(microseconds: i64) -> Code {
    // 2^27 days back from 1970 is before any time that can be written.
    let day = microseconds.div_euclid(MICROSECONDS_PER_DAY) + (1 << 27);
    let rest = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
    u128::from(day.unsigned_abs()) << 40 | u128::from(rest.unsigned_abs())
}

/// The lowest and the highest code within borders, or `None` where nothing lies.
pub(crate) fn numbers(from: Option<(f64, bool)>, to: Option<(f64, bool)>) -> Option<(Code, Code)> {
    let low = match from {
        Some((border, closed)) => number(border)? + u128::from(!closed),
        None => 0,
    };
    let high = match to {
        Some((border, closed)) => number(border)? - u128::from(!closed),
        None => u64::MAX.into(),
    };
    (low <= high).then_some((low, high))
}

/// Likewise for times.
pub(crate) fn times(from: Option<(i64, bool)>, to: Option<(i64, bool)>) -> Option<(Code, Code)> {
    let low = match from {
        Some((border, closed)) => border.checked_add((!closed).into())?,
        None => i64::MIN,
    };
    let high = match to {
        Some((border, closed)) => border.checked_sub((!closed).into())?,
        None => i64::MAX,
    };
    (low <= high).then(|| (time(low), time(high)))
}

/// Parts that together hold the values from `low` to `high`, both included, and no other.
pub(crate) fn cover(kind: Kind, low: Code, high: Code) -> Vec<Part> {
    let mut parts = Vec::new();
    for digit in 0..16 {
        cover_under(kind, (digit, 1), (low, high), &mut parts);
    }
    parts
}

/// Covers what of the range lies under one prefix, given as its value and its length in digits.
fn cover_under(
    kind: Kind,
    (prefix, length): (Code, usize),
    (low, high): (Code, Code),
    parts: &mut Vec<Part>,
) {
    let below = 4 * (kind.digits() - length);
    let first = prefix << below;
    let last = first | ((1 << below) - 1);
    if last < low || first > high {
        return;
    }
    if first < low || last > high {
        for digit in 0..16 {
            cover_under(kind, (prefix << 4 | digit, length + 1), (low, high), parts);
        }
        return;
    }
    let digits = format!("{prefix:0length$x}");
    // A value that ends in zeros has no digits here: it is named as a whole.
    if digits.ends_with('0') || length == kind.digits() {
        parts.push(Part::Exactly(without_zeros(&digits)));
    }
    if length < kind.digits() {
        parts.push(Part::Under(digits));
    }
}

fn without_zeros(digits: &str) -> String {
    digits.trim_end_matches('0').to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_number() -> impl Strategy<Value = f64> {
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2024.0,
            0.1,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
        ];
        let edges = prop::sample::select(edges.to_vec());
        prop_oneof![
            edges,
            prop::num::f64::NORMAL,
            (-20i32..20).prop_map(f64::from)
        ]
    }

    fn any_time() -> impl Strategy<Value = i64> {
        let day = MICROSECONDS_PER_DAY;
        let days = (-400i64..400).prop_map(move |days| days * day);
        prop_oneof![
            any::<i64>(),
            days,
            0..3 * day,
            Just(i64::MAX),
            Just(i64::MIN)
        ]
    }

    fn border<T: std::fmt::Debug>(
        of: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<(T, bool)>> {
        prop::option::of((of, any::<bool>()))
    }

    fn holds(parts: &[Part], code: Code, kind: Kind) -> bool {
        let digits = digits(code, kind);
        parts.iter().any(|part| match part {
            Part::Exactly(exact) => *exact == digits,
            Part::Under(prefix) => digits.starts_with(prefix),
        })
    }

    fn within<T: PartialOrd + Copy>(
        value: T,
        from: Option<(T, bool)>,
        to: Option<(T, bool)>,
    ) -> bool {
        from.is_none_or(|(border, closed)| value > border || (closed && value == border))
            && to.is_none_or(|(border, closed)| value < border || (closed && value == border))
    }

    proptest! {
        #[test]
        fn number_ranges_hold_what_comparing_admits(
            value in any_number(), from in border(any_number()), to in border(any_number()),
        ) {
            let parts = numbers(from, to).map(|(low, high)| cover(Kind::Number, low, high));
            let code = number(value).unwrap();
            let held = holds(&parts.unwrap_or_default(), code, Kind::Number);
            prop_assert_eq!(held, within(value, from, to));
        }

        #[test]
        fn time_ranges_hold_what_comparing_admits(
            value in any_time(), from in border(any_time()), to in border(any_time()),
        ) {
            let parts = times(from, to).map(|(low, high)| cover(Kind::Time, low, high));
            let parts = parts.unwrap_or_default();
            prop_assert_eq!(holds(&parts, time(value), Kind::Time), within(value, from, to));
            prop_assert!(parts.len() <= 2 * 2 * 16 * 17, "{} parts", parts.len());
        }
    }

    #[test]
    fn round_values_have_few_digits() {
        assert_eq!(digits(number(2024.0).unwrap(), Kind::Number).len(), 5);
        assert_eq!(
            digits(time(19_787 * MICROSECONDS_PER_DAY), Kind::Time).len(),
            7
        );
    }
}
