//! PDF → blocks, through PDFium: lines from glyphs, paragraphs and tables from lines, headings from sizes and bookmarks.

mod beside;
mod block;
mod column;
mod document;
mod flow;
mod furniture;
mod glyph;
mod heading;
mod hyphen;
mod indent;
mod library;
mod line;
mod marker;
mod outline;
mod paragraph;
mod table;

pub(crate) use document::parse;
