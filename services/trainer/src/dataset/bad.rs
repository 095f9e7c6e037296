use serde::{Deserialize, Serialize};
use std::fmt;

/// Bad lines that are kept with their reason; the rest is only counted.
const KEPT: usize = 100;

/// Bad lines that a message names.
const NAMED: usize = 10;

/// A line that is no example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    /// Its number, from 1; of an item in a JSON array the line that it begins on.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The lines of a file that are no examples: all are counted, the first hundred are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadLines {
    lines: Vec<BadLine>,
    count: usize,
}

impl BadLines {
    /// Those that were kept, by line.
    pub fn lines(&self) -> &[BadLine] {
        &self.lines
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn push(&mut self, line: usize, reason: impl Into<String>) {
        self.count += 1;
        if self.lines.len() < KEPT {
            let reason = reason.into();
            self.lines.push(BadLine { line, reason });
        }
    }

    /// Both together, by line.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.count += other.count;
        self.lines.extend(other.lines);
        self.lines.sort_by_key(|bad| bad.line);
        self.lines.truncate(KEPT);
        self
    }
}

impl fmt::Display for BadLines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bad) in self.lines.iter().take(NAMED).enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(out, "{between}line {}: {}", bad.line, bad.reason)?;
        }
        match self.count.saturating_sub(NAMED.min(self.lines.len())) {
            0 => Ok(()),
            more => write!(out, "; and {more} more"),
        }
    }
}
