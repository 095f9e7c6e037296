//! Filters on metadata: their JSON form, and what they mean. Both indexes translate them; [`Filter::admits`] is what
//! every translation is held against.

use crate::Metadata;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use thiserror::Error;
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, OffsetDateTime, PrimitiveDateTime};

/// Deepest nesting of a filter; deeper ones are refused.
const MAX_DEPTH: usize = 16;
/// Most comparisons in one filter.
const MAX_COMPARISONS: usize = 512;

/// A condition on a document's metadata, in the shape that Pinecone, Chroma and R2R share:
/// `{"team": "hr", "year": {"$gte": 2024}, "$or": [{"lang": "en"}, {"lang": {"$exists": false}}]}`.
///
/// # Guarantees
/// Several fields in one object are joined by and. A field that holds a list matches where any element does. A nested
/// field is named by its path, `author.name`. `$ne`, `$nin` and `$not` admit documents that lack the field. Lore's own
/// fields are `document.id`, `document.name`, `document.format` and `document.language`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every one; the empty one admits everything.
    And(Vec<Filter>),
    /// At least one; the empty one admits nothing.
    Or(Vec<Filter>),
    /// Not this one.
    Not(Box<Filter>),
    /// A comparison of one field.
    Field {
        /// The field, as a dotted path.
        field: String,
        /// What its value must be.
        is: Comparison,
    },
}

/// What a field's value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// Any of these; `$eq` is the case of one.
    In(Vec<Scalar>),
    /// A number within these borders.
    Numbers {
        /// Lower border, and whether it is itself admitted.
        from: Option<(f64, bool)>,
        /// Upper border, and whether it is itself admitted.
        to: Option<(f64, bool)>,
    },
    /// A date or a point in time within these borders, in microseconds since 1970 (UTC).
    Times {
        /// Lower border, and whether it is itself admitted.
        from: Option<(i64, bool)>,
        /// Upper border, and whether it is itself admitted.
        to: Option<(i64, bool)>,
    },
    /// The field is there (true) or is not.
    Exists(bool),
}

/// One value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A text; compared exactly, letter case included.
    Text(String),
    /// A number; 2 and 2.0 are the same.
    Number(f64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// The point in time that a text names, in microseconds since 1970 (UTC), where it is an RFC 3339 time or an ISO date.
    pub fn time(&self) -> Option<i64> {
        let Self::Text(text) = self else { return None };
        parse_time(text)
    }

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Bool(truth) => Some(Self::Bool(*truth)),
            Value::Number(number) => number.as_f64().map(Self::Number),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

fn parse_time(text: &str) -> Option<i64> {
    // Cheap refusal first: every date starts with a four-digit year and a hyphen.
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| {
            PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc)
        })
        .or_else(|_| Date::parse(text, &Iso8601::DATE).map(|date| date.midnight().assume_utc()))
        .ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000).ok()
}

/// Why a filter or some metadata was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The filter is not an object.
    #[error("a filter is a JSON object such as {{\"team\": \"hr\"}}, not {0}")]
    NotAnObject(String),
    /// An operator that does not exist.
    #[error(
        "unknown filter operator `{0}`; known are $eq $ne $gt $gte $lt $lte $in $nin $exists $and $or $not"
    )]
    UnknownOperator(String),
    /// A value that the operator cannot take.
    #[error("`{operator}` of field `{field}` takes {expected}, not {actual}")]
    WrongValue {
        /// The field.
        field: String,
        /// The operator.
        operator: String,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        actual: String,
    },
    /// Too deep or too long.
    #[error(
        "the filter is too large: at most {MAX_DEPTH} levels and {MAX_COMPARISONS} comparisons"
    )]
    TooLarge,
}

impl Filter {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`FilterError`], naming the field and the operator.
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        let filter = parse_object(value, 0)?;
        if filter.comparisons() > MAX_COMPARISONS {
            return Err(FilterError::TooLarge);
        }
        Ok(filter)
    }

    /// Whether a document with these fields is admitted. This is the meaning that both indexes have to reproduce.
    pub fn admits(&self, fields: &BTreeMap<String, Vec<Scalar>>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.admits(fields)),
            Self::Or(any) => any.iter().any(|filter| filter.admits(fields)),
            Self::Not(filter) => !filter.admits(fields),
            Self::Field { field, is } => is.admits(fields.get(field).map_or(&[], Vec::as_slice)),
        }
    }

    fn comparisons(&self) -> usize {
        match self {
            Self::And(filters) | Self::Or(filters) => filters.iter().map(Self::comparisons).sum(),
            Self::Not(filter) => filter.comparisons(),
            Self::Field {
                is: Comparison::In(values),
                ..
            } => values.len().max(1),
            Self::Field { .. } => 1,
        }
    }
}

impl Comparison {
    fn admits(&self, values: &[Scalar]) -> bool {
        match self {
            Self::In(wanted) => values.iter().any(|value| wanted.contains(value)),
            Self::Numbers { from, to } => values.iter().any(
                |value| matches!(value, Scalar::Number(number) if within(*number, *from, *to)),
            ),
            Self::Times { from, to } => values
                .iter()
                .filter_map(Scalar::time)
                .any(|time| within(time, *from, *to)),
            Self::Exists(wanted) => values.is_empty() != *wanted,
        }
    }
}

fn within<T: PartialOrd>(value: T, from: Option<(T, bool)>, to: Option<(T, bool)>) -> bool {
    from.is_none_or(|(border, closed)| value > border || (closed && value == border))
        && to.is_none_or(|(border, closed)| value < border || (closed && value == border))
}

/// The fields of some metadata as filters see them: nested objects by dotted path, lists as several values, nulls absent.
pub(crate) fn flatten(metadata: &Metadata) -> BTreeMap<String, Vec<Scalar>> {
    let mut fields = BTreeMap::new();
    for (key, value) in metadata {
        flatten_into(key, value, &mut fields);
    }
    fields
}

fn flatten_into(path: &str, value: &Value, fields: &mut BTreeMap<String, Vec<Scalar>>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                flatten_into(&format!("{path}.{key}"), value, fields);
            }
        }
        Value::Array(values) => {
            for value in values {
                flatten_into(path, value, fields);
            }
        }
        _ => {
            if let Some(scalar) = Scalar::of(value) {
                fields.entry(path.to_owned()).or_default().push(scalar);
            }
        }
    }
}

fn parse_object(value: &Value, depth: usize) -> Result<Filter, FilterError> {
    if depth > MAX_DEPTH {
        return Err(FilterError::TooLarge);
    }
    let Value::Object(object) = value else {
        return Err(FilterError::NotAnObject(value.to_string()));
    };
    let mut all = Vec::with_capacity(object.len());
    for (key, value) in object {
        all.push(match key.as_str() {
            "$and" => Filter::And(parse_list(key, value, depth)?),
            "$or" => Filter::Or(parse_list(key, value, depth)?),
            "$not" => Filter::Not(Box::new(parse_object(value, depth + 1)?)),
            operator if operator.starts_with('$') => {
                return Err(FilterError::UnknownOperator(operator.to_owned()));
            }
            field => parse_field(field, value, depth)?,
        });
    }
    Ok(if all.len() == 1 {
        all.remove(0)
    } else {
        Filter::And(all)
    })
}

fn parse_list(operator: &str, value: &Value, depth: usize) -> Result<Vec<Filter>, FilterError> {
    let Value::Array(values) = value else {
        return Err(wrong("", operator, "a list of filters", value));
    };
    values
        .iter()
        .map(|value| parse_object(value, depth + 1))
        .collect()
}

fn parse_field(field: &str, value: &Value, depth: usize) -> Result<Filter, FilterError> {
    match value {
        Value::Object(operators) => parse_operators(field, operators, depth),
        Value::Array(_) => Ok(comparison(
            field,
            Comparison::In(scalars(field, "$in", value)?),
        )),
        _ => Ok(comparison(
            field,
            Comparison::In(vec![scalar(field, "$eq", value)?]),
        )),
    }
}

fn parse_operators(
    field: &str,
    operators: &Map<String, Value>,
    depth: usize,
) -> Result<Filter, FilterError> {
    let mut all = Vec::with_capacity(operators.len());
    for (operator, value) in operators {
        all.push(match operator.as_str() {
            "$eq" => comparison(field, Comparison::In(vec![scalar(field, operator, value)?])),
            "$ne" => negate(comparison(
                field,
                Comparison::In(vec![scalar(field, operator, value)?]),
            )),
            "$in" => comparison(field, Comparison::In(scalars(field, operator, value)?)),
            "$nin" => negate(comparison(
                field,
                Comparison::In(scalars(field, operator, value)?),
            )),
            "$gt" | "$gte" | "$lt" | "$lte" => comparison(field, border(field, operator, value)?),
            "$exists" => match value {
                Value::Bool(wanted) => comparison(field, Comparison::Exists(*wanted)),
                _ => return Err(wrong(field, operator, "true or false", value)),
            },
            "$not" if depth < MAX_DEPTH => negate(parse_field(field, value, depth + 1)?),
            _ if operator.starts_with('$') => {
                return Err(FilterError::UnknownOperator(operator.clone()));
            }
            nested => parse_field(&format!("{field}.{nested}"), value, depth + 1)?,
        });
    }
    Ok(if all.len() == 1 {
        all.remove(0)
    } else {
        Filter::And(all)
    })
}

fn border(field: &str, operator: &str, value: &Value) -> Result<Comparison, FilterError> {
    let closed = operator.ends_with('e');
    let lower = operator.starts_with("$g");
    let scalar = Scalar::of(value);
    if let Some(Scalar::Number(number)) = scalar {
        let side = Some((number, closed));
        return Ok(Comparison::Numbers {
            from: side.filter(|_| lower),
            to: side.filter(|_| !lower),
        });
    }
    let Some(time) = scalar.as_ref().and_then(Scalar::time) else {
        return Err(wrong(
            field,
            operator,
            "a number, an ISO date or an RFC 3339 time",
            value,
        ));
    };
    let side = Some((time, closed));
    Ok(Comparison::Times {
        from: side.filter(|_| lower),
        to: side.filter(|_| !lower),
    })
}

fn scalar(field: &str, operator: &str, value: &Value) -> Result<Scalar, FilterError> {
    Scalar::of(value)
        .ok_or_else(|| wrong(field, operator, "a text, a number or a truth value", value))
}

fn scalars(field: &str, operator: &str, value: &Value) -> Result<Vec<Scalar>, FilterError> {
    let Value::Array(values) = value else {
        return Err(wrong(field, operator, "a list", value));
    };
    values
        .iter()
        .map(|value| scalar(field, operator, value))
        .collect()
}

fn comparison(field: &str, is: Comparison) -> Filter {
    Filter::Field {
        field: field.to_owned(),
        is,
    }
}

fn negate(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

fn wrong(field: &str, operator: &str, expected: &'static str, actual: &Value) -> FilterError {
    FilterError::WrongValue {
        field: field.to_owned(),
        operator: operator.to_owned(),
        expected,
        actual: actual.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn admits(filter: &Value, metadata: &Value) -> bool {
        let metadata = metadata.as_object().expect("metadata is an object");
        Filter::parse(filter)
            .expect("the filter parses")
            .admits(&flatten(metadata))
    }

    #[test]
    fn filters_mean_what_the_table_says() {
        let hr = json!({"team": "hr", "year": 2024, "tags": ["a", "b"], "on": "2024-03-05", "author": {"name": "Li"}});
        for (filter, expected) in [
            (json!({}), true),
            (json!({"team": "hr"}), true),
            (json!({"team": "HR"}), false),
            (json!({"team": ["it", "hr"]}), true),
            (json!({"year": 2024.0}), true),
            (json!({"year": {"$gte": 2024, "$lt": 2025}}), true),
            (json!({"year": {"$gt": 2024}}), false),
            (json!({"tags": "b"}), true),
            (json!({"tags": {"$nin": ["b"]}}), false),
            (json!({"missing": {"$ne": 1}}), true),
            (json!({"missing": {"$exists": false}}), true),
            (
                json!({"on": {"$gte": "2024-03-01", "$lte": "2024-03-05T00:00:00Z"}}),
                true,
            ),
            (json!({"on": {"$gt": "2024-03-05"}}), false),
            (json!({"author.name": "Li"}), true),
            (json!({"author": {"name": "Li"}}), true),
            (
                json!({"$or": [{"team": "it"}, {"$not": {"year": 2023}}]}),
                true,
            ),
            (json!({"$or": []}), false),
        ] {
            assert_eq!(admits(&filter, &hr), expected, "{filter}");
        }
    }

    #[test]
    fn a_bad_filter_is_refused_by_name() {
        let unknown = Filter::parse(&json!({"year": {"$near": 1}})).expect_err("unknown operator");
        assert_eq!(unknown, FilterError::UnknownOperator("$near".to_owned()));
        let wrong = Filter::parse(&json!({"year": {"$gt": true}})).expect_err("wrong value");
        assert!(
            wrong
                .to_string()
                .starts_with("`$gt` of field `year` takes a number"),
            "{wrong}"
        );
        assert!(Filter::parse(&json!([1])).is_err());
    }
}
