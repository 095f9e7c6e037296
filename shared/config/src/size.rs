//! Sizes in bytes with a unit.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

const KIB: u64 = 1024;
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", KIB),
    ("MiB", KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("TiB", KIB * KIB * KIB * KIB),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A number of bytes, written `"256 MiB"` (1024² each) or `"256 MB"` (10⁶ each); a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSizeError {
    /// No number at the front.
    #[error("`{0}` has no whole number in front")]
    Number(String),
    /// A unit that is not known.
    #[error("`{0}` is not a unit; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB")]
    Unit(String),
    /// More than 2⁶⁴ bytes.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

impl ByteSize {
    /// A size of this many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of this many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count * KIB * KIB)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number
            .replace('_', "")
            .parse()
            .map_err(|_| ParseSizeError::Number(text.to_owned()))?;
        let factor =
            unit_factor(unit.trim()).ok_or_else(|| ParseSizeError::Unit(unit.trim().to_owned()))?;
        let bytes = number
            .checked_mul(factor)
            .ok_or_else(|| ParseSizeError::TooLarge(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

fn unit_factor(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, factor)| *factor)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS[1..5]
            .iter()
            .rev()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match whole {
            Some((name, factor)) => write!(f, "{} {name}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}
