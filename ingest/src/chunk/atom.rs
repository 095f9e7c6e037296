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

/// Bytes of the longest block whose tokens are found in one pass.
const LONGEST_PASS: usize = 64 << 10;
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
    let counter = Counter::new(text, block.clone(), tokens, limit);
    let mut start = 0;
    for end in ends {
        let whole = trimmed(text, block.start + start..block.start + end);
        start = end;
        for (range, tokens) in counter.bounded(whole) {
            let is_first = range.start == block.start || kind == Kind::Heading;
            let kind = if is_first { kind } else { Kind::Inner };
            out.push(Atom {
                range,
                tokens,
                kind,
            });
        }
    }
}

/// Counts the tokens of the parts of a block: one pass over the block tells those of its sentences near enough, and only long
/// ones are counted exactly.
struct Counter<'a> {
    text: &'a str,
    tokens: &'a dyn Tokens,
    limit: usize,
    /// Where the block's tokens start, in bytes of the text; `None` for a block that is too long for one pass.
    starts: Option<Vec<usize>>,
}

impl<'a> Counter<'a> {
    fn new(text: &'a str, block: Range<usize>, tokens: &'a dyn Tokens, limit: usize) -> Self {
        let inside = text
            .get(block.clone())
            .filter(|inside| inside.len() <= LONGEST_PASS);
        let starts = |inside: &str| {
            tokens
                .offsets(inside)
                .iter()
                .map(|(start, _)| block.start + start)
                .collect()
        };
        Self {
            text,
            tokens,
            limit,
            starts: inside.map(starts),
        }
    }

    /// `range` with its tokens, or pieces of it where it is too long for a chunk.
    fn bounded(&self, range: Range<usize>) -> Vec<(Range<usize>, usize)> {
        let inside = self.text.get(range.clone()).unwrap_or_default();
        if inside.is_empty() {
            return Vec::new();
        }
        if inside.len() <= self.limit * BYTES_PER_TOKEN {
            let count = self
                .estimate(&range)
                .unwrap_or_else(|| self.tokens.count(inside));
            if count <= self.limit {
                return vec![(range, count)];
            }
        }
        let mut from = range.start;
        let ends = piece::ends(inside, self.tokens, self.limit).into_iter();
        let pieces = ends.map(|end| {
            let piece = trimmed(self.text, from..range.start + end);
            from = range.start + end;
            let count = self
                .tokens
                .count(self.text.get(piece.clone()).unwrap_or_default());
            (piece, count)
        });
        pieces.filter(|(piece, _)| !piece.is_empty()).collect()
    }

    /// The tokens of `range` as counted in its block, where that is so far below the limit that it need not be exact.
    fn estimate(&self, range: &Range<usize>) -> Option<usize> {
        let starts = self.starts.as_ref()?;
        let before = |at: usize| starts.partition_point(|start| *start < at);
        let count = before(range.end) - before(range.start);
        (count * 2 <= self.limit && count > 0).then_some(count)
    }
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
