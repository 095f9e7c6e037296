use super::record;
use super::source::{Record, records};
use super::{BadLines, Conversation, DatasetError, Format};
use lore_types::BadLinePolicy;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// The largest file that is read: everything is held in memory.
const LARGEST_FILE: u64 = 1 << 30;

/// Objects whose keys an error about an unknown format names.
const KEYS_FROM: usize = 5;

/// How a data set is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// What errors call the file; its path where absent.
    pub name: Option<String>,
    /// The format; recognised where absent.
    pub format: Option<Format>,
    /// What to do with lines that are no examples.
    pub on_bad_line: BadLinePolicy,
}

/// A file of examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What errors call the file.
    pub name: String,
    /// The format, told or recognised.
    pub format: Format,
    /// Its examples, in the file's order.
    pub conversations: Vec<Conversation>,
    /// Lines that are no examples and were left out.
    pub skipped: BadLines,
    /// Keys that the format has no use for, and on how many lines they stand.
    pub unused_keys: BTreeMap<String, usize>,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub sha256: String,
}

/// Reads JSON Lines or a JSON array.
///
/// # Errors
/// What the file is instead of a data set; with [`BadLinePolicy::Refuse`] every line that is no example, by its number.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DatasetError> {
    let failed = |source| DatasetError::Read {
        path: path.to_owned(),
        source,
    };
    let name = options
        .name
        .clone()
        .unwrap_or_else(|| path.display().to_string());
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > LARGEST_FILE {
        let limit = LARGEST_FILE;
        return Err(DatasetError::TooLarge { name, bytes, limit });
    }
    let content = std::fs::read(path).map_err(failed)?;
    parse(&name, &content, options)
}

/// Reads a data set from its bytes; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn parse(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Dataset, DatasetError> {
    let records = records(name, bytes)?;
    let lines = records.len();
    let format = match options.format {
        Some(format) => format,
        None => recognise(name, &records)?,
    };
    let mut dataset = Dataset {
        name: name.to_owned(),
        format,
        conversations: Vec::new(),
        skipped: BadLines::default(),
        unused_keys: BTreeMap::new(),
        sha256: hex(&Sha256::digest(bytes)),
    };
    for record in records {
        dataset.take(record);
    }
    dataset.judge(lines, options.on_bad_line)
}

impl Dataset {
    fn take(&mut self, record: Record) {
        let line = record.line;
        let body = record.content.and_then(|object| {
            let body = record::body(&object, self.format)
                .map_err(|reason| self.explain(&object, reason))?;
            let unused = object
                .keys()
                .filter(|key| !record::is_used(key, self.format));
            unused.for_each(|key| *self.unused_keys.entry(key.clone()).or_default() += 1);
            Ok(body)
        });
        match body {
            Ok(body) => self.conversations.push(Conversation { line, body }),
            Err(reason) => self.skipped.push(line, reason),
        }
    }

    /// Names the format of a line that is of another one.
    fn explain(
        &self,
        object: &serde_json::Map<String, serde_json::Value>,
        reason: String,
    ) -> String {
        match Format::of(object) {
            Some(other) if other != self.format => {
                format!(
                    "{reason}; it looks like {other}, but the file is {}",
                    self.format
                )
            }
            _ => reason,
        }
    }

    fn judge(self, lines: usize, policy: BadLinePolicy) -> Result<Self, DatasetError> {
        let (name, format, bad) = (self.name.clone(), self.format, self.skipped.clone());
        if self.conversations.is_empty() {
            return Err(DatasetError::NothingLeft { name, format, bad });
        }
        if policy == BadLinePolicy::Refuse && !bad.is_empty() {
            return Err(DatasetError::BadLines {
                name,
                format,
                lines,
                bad,
            });
        }
        Ok(self)
    }
}

/// The format of most lines; of several that are equally frequent, the one that is looked for first.
fn recognise(name: &str, records: &[Record]) -> Result<Format, DatasetError> {
    let objects = || {
        records
            .iter()
            .filter_map(|record| record.content.as_ref().ok())
    };
    let count = |format: &Format| {
        objects()
            .filter(|object| Format::of(object) == Some(*format))
            .count()
    };
    let counted = Format::ALL
        .into_iter()
        .rev()
        .map(|format| (count(&format), format));
    match counted.max_by_key(|(count, _)| *count) {
        Some((1.., format)) => Ok(format),
        _ => {
            let mut keys: Vec<String> = objects()
                .take(KEYS_FROM)
                .flat_map(|object| object.keys().map(|key| format!("`{key}`")))
                .collect();
            keys.sort();
            keys.dedup();
            Err(unknown(name, &keys, records))
        }
    }
}

fn unknown(name: &str, keys: &[String], records: &[Record]) -> DatasetError {
    let mut bad = BadLines::default();
    for record in records {
        if let Err(reason) = &record.content {
            bad.push(record.line, reason.as_str());
        }
    }
    let name = name.to_owned();
    if keys.is_empty() && !bad.is_empty() {
        return DatasetError::NoObjects { name, bad };
    }
    let keys = if keys.is_empty() {
        "no keys".to_owned()
    } else {
        keys.join(", ")
    };
    DatasetError::UnknownFormat { name, keys, bad }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
