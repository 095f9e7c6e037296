use super::atom::{Atom, Kind, trimmed};
use super::tokens::Tokens;
use lore_types::Span;

/// Fills chunks with the atoms of a section.
pub(crate) struct Packer<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: &'a dyn Tokens,
    /// Tokens of text that a chunk may hold.
    pub(crate) limit: usize,
    /// Tokens that a chunk may repeat of the one before.
    pub(crate) overlap: usize,
}

/// Where a chunk starts.
#[derive(Clone, Copy)]
struct Start {
    /// The first byte, which may be one of the chunk before.
    byte: usize,
    /// Tokens from there to `atom`.
    repeated: usize,
    /// The first atom that no chunk holds yet.
    atom: usize,
}

impl Packer<'_> {
    /// The chunks of `atoms`: their spans, and the tokens of the text in them.
    pub(crate) fn pack(&self, atoms: &[Atom]) -> Vec<(Span, usize)> {
        let mut chunks: Vec<(Span, usize)> = Vec::new();
        let mut left: usize = atoms.iter().map(|atom| atom.tokens).sum();
        let mut start = Start {
            byte: atoms.first().map_or(0, |atom| atom.range.start),
            repeated: 0,
            atom: 0,
        };
        while let Some(first) = atoms.get(start.atom) {
            let end = self.best_end(atoms, start, left);
            let (byte, end, count) = self.fitted(atoms, start, end);
            let last = atoms.get(end - 1).unwrap_or(first);
            chunks.push((Span::new(byte, last.range.end), count));
            left -= atoms
                .get(start.atom..end)
                .unwrap_or_default()
                .iter()
                .map(|atom| atom.tokens)
                .sum::<usize>();
            start = self.next_start(atoms, byte, start.atom, end);
        }
        chunks
    }

    /// The atom before which the chunk from `start` on is best cut.
    fn best_end(&self, atoms: &[Atom], start: Start, left: usize) -> usize {
        let room = self.room(start.repeated + left);
        let mut size = start.repeated;
        let mut end = start.atom;
        // The last block border within the chunk, and the size up to there.
        let mut border = None;
        while let Some(atom) = atoms.get(end) {
            if end > start.atom && atom.kind != Kind::Inner {
                border = Some((end, size));
            }
            if end > start.atom && size + atom.tokens > room {
                break;
            }
            size += atom.tokens;
            end += 1;
        }
        let amid_block = atoms.get(end).is_some_and(|atom| atom.kind == Kind::Inner);
        if let Some((at, size_there)) = border.filter(|_| amid_block)
            && self.is_worth(atoms, at, size_there)
        {
            end = at;
        }
        while end > start.atom + 1
            && end < atoms.len()
            && atoms
                .get(end - 1)
                .is_some_and(|atom| atom.kind == Kind::Heading)
        {
            end -= 1;
        }
        end
    }

    /// Tokens to fill: all there is room for, or half of what is left where that makes two even chunks.
    fn room(&self, left: usize) -> usize {
        let two_even = left > self.limit && left * 5 < self.limit * 8;
        if two_even {
            (left * 11 / 20).min(self.limit)
        } else {
            self.limit
        }
    }

    /// Whether to cut before the block at `at` rather than within it: the chunk is half full, or a quarter full and the block
    /// then stays whole.
    fn is_worth(&self, atoms: &[Atom], at: usize, size: usize) -> bool {
        let rest = atoms.get(at..).unwrap_or_default();
        let inner = rest
            .iter()
            .skip(1)
            .take_while(|atom| atom.kind == Kind::Inner);
        let block = rest.iter().take(1).chain(inner).scan(0, |sum, atom| {
            *sum += atom.tokens;
            (*sum <= self.limit).then_some(())
        });
        let stays_whole = || {
            block.count()
                == 1 + rest
                    .iter()
                    .skip(1)
                    .take_while(|atom| atom.kind == Kind::Inner)
                    .take(self.limit + 1)
                    .count()
        };
        size * 2 >= self.limit || (size * 4 >= self.limit && stays_whole())
    }

    /// The chunk as it fits by an exact count: its first byte, the atom that it ends before, and its tokens. First what is
    /// repeated goes, then atoms from its end; one atom always stays.
    fn fitted(&self, atoms: &[Atom], start: Start, end: usize) -> (usize, usize, usize) {
        let own = atoms
            .get(start.atom)
            .map_or(start.byte, |atom| atom.range.start);
        let (mut byte, mut end) = (start.byte, end.max(start.atom + 1));
        loop {
            let last = atoms.get(end - 1).map_or(own, |atom| atom.range.end);
            let count = self
                .tokens
                .count(self.text.get(byte..last).unwrap_or_default());
            if count <= self.limit || (byte == own && end == start.atom + 1) {
                return (byte, end, count);
            }
            if byte < own && (end == start.atom + 1 || start.repeated + 1 >= count - self.limit) {
                byte = own;
            } else {
                end -= 1;
            }
        }
    }

    /// Where the chunk after the one of the atoms `from..end` (which starts at `byte`) starts: a few sentences back, or a few
    /// words where the last sentence is long.
    fn next_start(&self, atoms: &[Atom], byte: usize, from: usize, end: usize) -> Start {
        let fresh = Start {
            byte: atoms.get(end).map_or(0, |atom| atom.range.start),
            repeated: 0,
            atom: end,
        };
        if end >= atoms.len() || self.overlap == 0 {
            return fresh;
        }
        let mut first = end;
        let mut repeated = 0;
        while let Some(atom) = first
            .checked_sub(1)
            .filter(|before| *before > from)
            .and_then(|before| atoms.get(before))
        {
            if repeated + atom.tokens > self.overlap || atom.kind == Kind::Heading {
                break;
            }
            repeated += atom.tokens;
            first -= 1;
        }
        match atoms.get(first).filter(|_| first < end) {
            Some(atom) => Start {
                byte: atom.range.start,
                repeated,
                atom: end,
            },
            None => self
                .few_words(atoms.get(end - 1), byte)
                .map_or(fresh, |(byte, repeated)| Start {
                    byte,
                    repeated,
                    atom: end,
                }),
        }
    }

    /// The last words of a long sentence: where they start, and their tokens.
    fn few_words(&self, atom: Option<&Atom>, chunk_start: usize) -> Option<(usize, usize)> {
        let atom = atom.filter(|atom| atom.kind != Kind::Heading && atom.tokens > self.overlap)?;
        let inside = self.text.get(atom.range.clone())?;
        let offsets = self.tokens.offsets(inside);
        let (tail, _) = *offsets.get(offsets.len().checked_sub(self.overlap)?)?;
        let tail = inside.ceil_char_boundary(tail);
        let words = inside.get(tail..)?;
        // Only at the start of a word, unless the script has none.
        let at_word = inside.get(..tail)?.ends_with(char::is_whitespace)
            || words.starts_with(|c: char| c.is_whitespace() || c >= '\u{2E80}');
        let skip = if at_word {
            0
        } else {
            words.find(char::is_whitespace)?
        };
        let range = trimmed(self.text, atom.range.start + tail + skip..atom.range.end);
        let count = self.tokens.count(self.text.get(range.clone())?);
        (!range.is_empty() && range.start > chunk_start && count <= self.overlap + 2)
            .then_some((range.start, count))
    }
}
