//! Bytes to JSON objects, each with the line that it begins on.

use super::DatasetError;
use serde_json::{Deserializer, Map, Value};

/// A longer line is no example: it is a file whose line ends were lost.
const LONGEST_LINE: usize = 32 << 20;

/// What stands on a line, or as an item of an array: an object, or why it is none.
pub(super) struct Record {
    pub(super) line: usize,
    pub(super) content: Result<Map<String, Value>, String>,
}

/// Reads JSON Lines, or one JSON array; blank lines and a byte order mark are left out.
pub(super) fn records(name: &str, bytes: &[u8]) -> Result<Vec<Record>, DatasetError> {
    check_encoding(name, bytes)?;
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let empty = |problem| {
        let name = name.to_owned();
        Err(DatasetError::Empty { name, problem })
    };
    let records = match text.trim_ascii_start().first() {
        None => return empty("it is empty"),
        Some(b'[') => items(text),
        Some(_) => lines(text),
    };
    if records.is_empty() {
        return empty("it is an empty array");
    }
    Ok(records)
}

fn check_encoding(name: &str, bytes: &[u8]) -> Result<(), DatasetError> {
    let encoding = match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "UTF-16",
        [0x1F, 0x8B, ..] => "compressed with gzip",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [b'P', b'A', b'R', b'1', ..] => "a Parquet file",
        _ => return Ok(()),
    };
    let name = name.to_owned();
    Err(DatasetError::Encoding { name, encoding })
}

fn lines(text: &[u8]) -> Vec<Record> {
    let numbered = (1..).zip(text.split(|byte| *byte == b'\n'));
    numbered
        .map(|(line, content)| (line, content.trim_ascii()))
        .filter(|(_, content)| !content.is_empty())
        .map(|(line, content)| Record {
            line,
            content: parse_line(content),
        })
        .collect()
}

fn parse_line(content: &[u8]) -> Result<Map<String, Value>, String> {
    if content.len() > LONGEST_LINE {
        return Err(format!(
            "it has {} bytes; the longest that is read has {LONGEST_LINE}",
            content.len()
        ));
    }
    let text = std::str::from_utf8(content)
        .map_err(|error| format!("it is not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
    let value = serde_json::from_str(text).map_err(|error| explain(&error))?;
    object(value)
}

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(format!("it is {}, not an object", kind(&other))),
    }
}

/// What a JSON value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// serde's words without its count of lines, which starts at the value.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let cause = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(cause, _)| cause);
    format!("it is not JSON: {cause} (column {})", error.column())
}

/// The items of a JSON array. What follows damage cannot be told apart, so it ends the list.
fn items(text: &[u8]) -> Vec<Record> {
    let mut cursor = Cursor {
        text,
        place: 0,
        line: 1,
    };
    let mut records = Vec::new();
    let mut between = b'[';
    loop {
        if let Err(problem) = cursor.expect(between) {
            return damaged(records, cursor.line, problem);
        }
        if records.is_empty() && cursor.peek() == Some(b']') {
            return records;
        }
        let line = cursor.line;
        match cursor.value() {
            Ok(value) => records.push(Record {
                line,
                content: object(value),
            }),
            Err(problem) => return damaged(records, cursor.line, problem),
        }
        between = b',';
        if cursor.peek() == Some(b']') {
            break;
        }
    }
    cursor.place += 1;
    if cursor.peek().is_some() {
        return damaged(
            records,
            cursor.line,
            "something follows the array's end".to_owned(),
        );
    }
    records
}

fn damaged(mut records: Vec<Record>, line: usize, problem: String) -> Vec<Record> {
    let content = Err(format!("{problem}; what follows was not read"));
    records.push(Record { line, content });
    records
}

struct Cursor<'a> {
    text: &'a [u8],
    place: usize,
    /// The line of `place`, from 1.
    line: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.text.get(self.place..).unwrap_or_default()
    }

    fn step(&mut self, bytes: usize) {
        let passed = self.rest().iter().take(bytes);
        self.line += passed.filter(|byte| **byte == b'\n').count();
        self.place += bytes;
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let blank = self.rest().len() - self.rest().trim_ascii_start().len();
        self.step(blank);
        self.rest().first().copied()
    }

    /// Takes one sign and the white space behind it.
    fn expect(&mut self, sign: u8) -> Result<(), String> {
        match self.peek() {
            Some(found) if found == sign => {
                self.step(1);
                self.peek();
                Ok(())
            }
            Some(found) => Err(format!(
                "`{}` should stand here, not `{}`",
                char::from(sign),
                char::from(found).escape_default()
            )),
            None => Err("the array has no end: the file was cut off".to_owned()),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        let mut values = Deserializer::from_slice(self.rest()).into_iter::<Value>();
        let value = values.next();
        let bytes = values.byte_offset();
        match value {
            Some(Ok(value)) => {
                self.step(bytes);
                Ok(value)
            }
            Some(Err(error)) => {
                self.line += error.line().saturating_sub(1);
                Err(explain(&error))
            }
            None => Err("the array has no end: the file was cut off".to_owned()),
        }
    }
}
