//! From rows to the words of Lore, and back. A value that Lore did not write is an error that names it.

use crate::CatalogError;
use lore_types::{
    DocumentFormat, FilePurpose, FineTuningStatus, JobKind, JobStage, JobStatus, Metadata,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Row, Sqlite, Type};
use std::fmt::Display;
use std::str::FromStr;
use time::OffsetDateTime;

/// The value of a column.
pub(crate) fn get<'row, T>(row: &'row SqliteRow, column: &'static str) -> Result<T, CatalogError>
where
    T: Decode<'row, Sqlite> + Type<Sqlite>,
    &'static str: ColumnIndex<SqliteRow>,
{
    row.try_get(column).map_err(CatalogError::sql("read a row"))
}

/// A column that holds an id.
pub(crate) fn id<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, CatalogError> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|_| corrupt("an id", text))
}

/// A column that holds an id or nothing.
pub(crate) fn optional_id<T: FromStr>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<T>, CatalogError> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| text.parse().map_err(|_| corrupt("an id", text)))
        .transpose()
}

/// A column that holds a count.
pub(crate) fn number<T: TryFrom<i64>>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T, CatalogError> {
    let value: i64 = get(row, column)?;
    T::try_from(value).map_err(|_| corrupt("a count", value))
}

/// A column that holds a count or nothing.
pub(crate) fn optional_number<T: TryFrom<i64>>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<T>, CatalogError> {
    let value: Option<i64> = get(row, column)?;
    value
        .map(|value| T::try_from(value).map_err(|_| corrupt("a count", value)))
        .transpose()
}

/// A column that holds a point in time.
pub(crate) fn time(row: &SqliteRow, column: &'static str) -> Result<OffsetDateTime, CatalogError> {
    let micros: i64 = get(row, column)?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .map_err(|_| corrupt("a time", micros))
}

/// A column that holds metadata.
pub(crate) fn metadata(row: &SqliteRow, column: &'static str) -> Result<Metadata, CatalogError> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|_| corrupt("a JSON object", text))
}

/// A column that holds a JSON list of texts.
pub(crate) fn texts(row: &SqliteRow, column: &'static str) -> Result<Vec<String>, CatalogError> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|_| corrupt("a JSON list of texts", text))
}

/// A column that holds a format or nothing.
pub(crate) fn format(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<DocumentFormat>, CatalogError> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| from_word(text, "a document format"))
        .transpose()
}

/// A list of texts as a column holds it.
pub(crate) fn list(texts: &[String]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

/// A word of one of the enums below.
pub(crate) trait Word: Sized + 'static {
    /// Every one.
    const ALL: &'static [Self];
    /// The word that stands for it in a column; the same as in JSON.
    fn word(&self) -> &'static str;
}

impl Word for JobKind {
    const ALL: &'static [Self] = &[Self::Ingest, Self::Finetune];
    fn word(&self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Finetune => "finetune",
        }
    }
}

impl Word for JobStatus {
    const ALL: &'static [Self] = &[
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];
    fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Word for JobStage {
    const ALL: &'static [Self] = &[
        Self::Queued,
        Self::Parsing,
        Self::Chunking,
        Self::Embedding,
        Self::Indexing,
        Self::Training,
        Self::Finished,
    ];
    fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Parsing => "parsing",
            Self::Chunking => "chunking",
            Self::Embedding => "embedding",
            Self::Indexing => "indexing",
            Self::Training => "training",
            Self::Finished => "finished",
        }
    }
}

impl Word for FineTuningStatus {
    const ALL: &'static [Self] = &[
        Self::ValidatingFiles,
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];
    fn word(&self) -> &'static str {
        FineTuningStatus::word(*self)
    }
}

impl Word for FilePurpose {
    const ALL: &'static [Self] = &[Self::FineTune, Self::FineTuneResults];
    fn word(&self) -> &'static str {
        FilePurpose::word(*self)
    }
}

/// A column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &'static str,
    expected: &'static str,
) -> Result<T, CatalogError> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|_| corrupt(expected, text))
}

/// A column that holds JSON or nothing.
pub(crate) fn optional_json<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &'static str,
    expected: &'static str,
) -> Result<Option<T>, CatalogError> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| serde_json::from_str(text).map_err(|_| corrupt(expected, text)))
        .transpose()
}

/// A value as a JSON column holds it.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, CatalogError> {
    serde_json::to_string(value).map_err(|error| corrupt("JSON", error))
}

/// A point in time in seconds since 1970, as OpenAI's shapes have it.
pub(crate) fn seconds(micros: i64) -> i64 {
    micros.div_euclid(1_000_000)
}

/// The value that a word stands for.
pub(crate) fn word<T: Word + Copy>(
    row: &SqliteRow,
    column: &'static str,
    expected: &'static str,
) -> Result<T, CatalogError> {
    let text: &str = get(row, column)?;
    T::ALL
        .iter()
        .copied()
        .find(|value| value.word() == text)
        .ok_or_else(|| corrupt(expected, text))
}

fn from_word(text: &str, expected: &'static str) -> Result<DocumentFormat, CatalogError> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| corrupt(expected, text))
}

pub(crate) fn corrupt(expected: &'static str, value: impl Display) -> CatalogError {
    CatalogError::Corrupt {
        expected,
        value: value.to_string(),
    }
}
