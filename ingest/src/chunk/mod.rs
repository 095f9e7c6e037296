//! Here is a parsed text, give me pieces to index: at headings and paragraphs first, then sentences, words, characters.
//!
//! *Useful for* any [`Parsed`] text, up to one giant line without a space. *Not useful for* raw files: the cut follows the
//! blocks that the parsers write (a blank line between paragraphs, a line per table row or list item).

mod atom;
mod pack;
mod piece;
mod section;
mod sentence;
mod tokens;

pub use tokens::{Tokens, WordTokens};

use crate::parse::Parsed;
use lore_types::Span;
use pack::Packer;

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSettings {
    /// Tokens of the largest chunk, with what the embedder adds ([`Tokens::overhead`]).
    pub max_tokens: usize,
    /// Tokens that a chunk repeats of the one before it in the same section; at most a third of `max_tokens` is used.
    pub overlap_tokens: usize,
}

/// A piece of a parsed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDraft {
    /// Bytes of the parsed text, without white space at either end.
    pub span: Span,
    /// Headings above the text, outermost first; those that stand at the start of the chunk itself are among them.
    pub heading: Vec<String>,
    /// Page on which it starts, from 1, for formats with pages.
    pub page: Option<u32>,
    /// Its tokens, with [`Tokens::overhead`].
    pub tokens: usize,
}

/// Cuts `parsed` into chunks.
///
/// # Guarantees
/// - Spans are ordered by start and by end, lie on character borders and cover every character that is not white space.
/// - `tokens` is what `tokens.count` says of the very text of the span, plus the overhead, and at most `max_tokens`, unless one
///   single character has more.
/// - A heading stays with the text that follows it, a table is cut between rows, and a chunk does not reach from one section
///   into the next unless one of them is tiny.
/// - The time grows in proportion to the text.
pub fn chunk(parsed: &Parsed, tokens: &dyn Tokens, settings: ChunkSettings) -> Vec<ChunkDraft> {
    let limit = settings.max_tokens.saturating_sub(tokens.overhead()).max(1);
    let overlap = settings.overlap_tokens.min(limit / 3);
    let packer = Packer {
        text: &parsed.text,
        tokens,
        limit,
        overlap,
    };
    let mut drafts = Vec::new();
    for section in section::sections(parsed, tokens, limit) {
        for (span, count) in packer.pack(&section.atoms) {
            drafts.push(ChunkDraft {
                span,
                heading: section.path.clone(),
                page: parsed.page_at(span.start),
                tokens: count + tokens.overhead(),
            });
        }
    }
    drafts
}
