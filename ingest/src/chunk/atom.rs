use super::piece::{self, BYTES_PER_TOKEN};
use super::sentence;
use super::tokens::Tokens;
use std::ops::Range;

/// A stretch that is not cut further: a sentence, a line, or a piece of one that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Atom {
    /// Bytes of the text, without white space at either end.
    pub(crate) range: Range<usize>,
    pub(crate) tokens: usize,
    pub(crate) kind: Kind,
}

/// What stands at the start of an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A heading: never the last thing in a chunk.
    Heading,
    /// A paragraph, a list, a table or another block: the best place to cut.
    Block,
    /// A further sentence or line of the block.
    Inner,
}

/// Characters of a line from which on it looks like prose.
const PROSE_LINE: usize = 40;

/// Cuts the text in `range` into atoms of at most `limit` tokens. `headings` are the lines in it that are headings.
pub(crate) fn atoms(
    text: &str,
    range: Range<usize>,
    headings: &[Range<usize>],
    tokens: &dyn Tokens,
    limit: usize,
) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for block in blocks(text, range) {
        let kind = if headings.iter().any(|heading| heading.start == block.start) {
            Kind::Heading
        } else {
            Kind::Block
        };
        add_block(text, block, kind, tokens, limit, &mut atoms);
    }
    atoms
}

fn add_block(
    text: &str,
    block: Range<usize>,
    kind: Kind,
    tokens: &dyn Tokens,
    limit: usize,
    out: &mut Vec<Atom>,
) {
    let inside = text.get(block.clone()).unwrap_or_default();
    let ends = if is_prose(inside) {
        sentence::ends(inside)
    } else {
        line_ends(inside)
    };
    let mut start = 0;
    for end in ends {
        let whole = trimmed(text, block.start + start..block.start + end);
        start = end;
        for range in bounded(text, whole, tokens, limit) {
            let count = tokens.count(text.get(range.clone()).unwrap_or_default());
            let first = range.start == block.start;
            let kind = if first || kind == Kind::Heading {
                kind
            } else {
                Kind::Inner
            };
            out.push(Atom {
                range,
                tokens: count,
                kind,
            });
        }
    }
}

/// `range`, or pieces of it where it is too long for a chunk.
fn bounded(
    text: &str,
    range: Range<usize>,
    tokens: &dyn Tokens,
    limit: usize,
) -> Vec<Range<usize>> {
    let inside = text.get(range.clone()).unwrap_or_default();
    if inside.is_empty() {
        return Vec::new();
    }
    if inside.len() <= limit * BYTES_PER_TOKEN && tokens.count(inside) <= limit {
        return vec![range];
    }
    let mut from = range.start;
    let pieces = piece::ends(inside, tokens, limit).into_iter().map(|end| {
        let piece = trimmed(text, from..range.start + end);
        from = range.start + end;
        piece
    });
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// The stretches of `range` between blank lines, without white space at either end.
fn blocks(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = range.start;
    let inside = text.get(range.clone()).unwrap_or_default();
    for (at, gap) in inside.match_indices("\n\n") {
        found.push(trimmed(text, start..range.start + at));
        start = range.start + at + gap.len();
    }
    found.push(trimmed(text, start..range.end));
    found.retain(|block| !block.is_empty());
    found
}

/// Whether the lines of a block run on into each other, as in a text with hard line ends; else each stands for itself.
fn is_prose(block: &str) -> bool {
    let lines: Vec<&str> = block.lines().collect();
    if lines.len() == 1 {
        return !block.contains(" | ");
    }
    let own = lines
        .iter()
        .filter(|line| {
            line.contains(" | ") || line.starts_with([' ', '\t', '-', '•']) || is_numbered(line)
        })
        .count();
    let letters: usize = lines.iter().map(|line| line.chars().count()).sum();
    own * 3 < lines.len() && letters >= lines.len() * PROSE_LINE
}

/// Whether a line starts like `12.` or `a)`.
fn is_numbered(line: &str) -> bool {
    let head = line.split_whitespace().next().unwrap_or_default();
    head.len() <= 8
        && head.ends_with(['.', ')'])
        && head.chars().next().is_some_and(char::is_alphanumeric)
}

/// The end of each line, its line end included.
fn line_ends(text: &str) -> Vec<usize> {
    let mut at = 0;
    let ends = text.split_inclusive('\n').map(|line| {
        at += line.len();
        at
    });
    ends.collect()
}

/// `range` without white space at either end.
pub(crate) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inside = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (inside.len() - inside.trim_start().len());
    start..start + inside.trim().len()
}
