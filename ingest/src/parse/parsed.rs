use lore_types::DocumentFormat;
use serde::{Deserialize, Serialize};

/// What a parser makes of one document.
///
/// # Guarantees
/// `text` is UTF-8 without NUL or carriage return, starts and ends with a visible character, and is never blank. Blocks
/// (paragraphs, lists, tables) stand apart by one blank line; items and table rows stand on lines of their own, the cells
/// of a row joined by ` | `. Every offset is a byte offset of `text` on a character border.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parsed {
    /// The readable text.
    pub text: String,
    /// What the bytes turned out to be.
    pub format: DocumentFormat,
    /// The title that the document gives itself, or its first heading of the highest level.
    pub title: Option<String>,
    /// The main language, ISO 639-1, where it could be told.
    pub language: Option<String>,
    /// Where each page starts, ascending, page 1 first; empty for formats without pages. Blank pages share an offset.
    pub pages: Vec<usize>,
    /// The headings in their order.
    pub headings: Vec<Heading>,
    /// Things worth knowing that did not stop the parser, such as pages without text.
    pub warnings: Vec<String>,
}

impl Parsed {
    /// The page (from 1) on which the byte at `offset` stands, or `None` for a format without pages.
    pub fn page_at(&self, offset: usize) -> Option<u32> {
        let page = self.pages.partition_point(|start| *start <= offset);
        (page > 0).then(|| u32::try_from(page).unwrap_or(u32::MAX))
    }
}

/// A heading of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// Where its line starts in the text.
    pub offset: usize,
    /// Its level: 1 (outermost) to 6.
    pub level: u8,
    /// Its text, on one line.
    pub text: String,
}
