/// A piece of a page between the finding of lines and the writing of blocks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    /// The page, from 0.
    pub(crate) page: usize,
    /// The size of its font.
    pub(crate) size: f32,
    pub(crate) bold: bool,
    /// Lines that it has on the page.
    pub(crate) lines: usize,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A paragraph.
    Text(String),
    /// A line of a list: its marker and its text.
    Item(String, String),
    /// A row of a table; `first` starts a table.
    Row { first: bool, cells: Vec<String> },
    /// Lines of a font whose characters have one width.
    Code(String),
    /// A heading of a level, 1..=6.
    Heading(u8, String),
}

impl Piece {
    /// The text of a paragraph.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}
