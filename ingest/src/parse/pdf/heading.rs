//! Which pieces are headings: what bookmarks name, what is larger than the text, and short bold lines.

use super::block::{Kind, Piece};
use super::line::most_frequent;
use super::outline::plain;
use super::paragraph::ends_sentence;
use std::collections::{HashMap, HashSet};

/// Characters of the longest heading.
const LONGEST: usize = 200;
/// How much larger than the text a heading is.
const LARGER: f32 = 1.12;
/// How often one heading can stand in a document.
const MOST_REPEATED: usize = 3;
/// Levels that a heading can have.
const LEVELS: u8 = 6;
/// Numbered headings that it takes to trust the numbers.
const ENOUGH_NUMBERS: usize = 3;

/// Makes headings of the pieces that look like it; `outline` holds the bookmarks.
pub(crate) fn mark(pieces: &mut [Piece], outline: &HashMap<String, Vec<(u8, Option<usize>)>>) {
    let Some(body) = body_size(pieces) else {
        return;
    };
    let named: Vec<Option<u8>> = pieces
        .iter()
        .map(|piece| bookmarked(piece, outline))
        .collect();
    // Where bookmarks name the headings, short bold lines are none.
    let is_named = named.iter().flatten().count() >= 3;
    let levels = Levels::of(pieces, body);
    let over_table: Vec<bool> = (1..=pieces.len())
        .map(|next| {
            matches!(
                pieces.get(next).map(|piece| &piece.kind),
                Some(Kind::Row { .. })
            )
        })
        .collect();
    let repeated = repeated(pieces);
    for ((piece, named), over_table) in pieces.iter_mut().zip(named).zip(over_table) {
        let is_large = piece.size > body * LARGER;
        let is_found = is_like_heading(piece)
            && !piece.text().is_some_and(|text| repeated.contains(text))
            && (is_large || (is_bold_line(piece, body) && !over_table && !is_named));
        let level = named.or_else(|| is_found.then(|| levels.level(piece)));
        if let (Some(level), Some(text)) = (level, piece.text()) {
            piece.kind = Kind::Heading(level, text.replace('\n', " "));
        }
    }
}

/// Short texts that stand in the document again and again: labels rather than headings.
fn repeated(pieces: &[Piece]) -> HashSet<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let short = pieces
        .iter()
        .filter_map(Piece::text)
        .filter(|text| text.len() <= LONGEST);
    short.for_each(|text| *counts.entry(text).or_default() += 1);
    counts
        .into_iter()
        .filter(|(_, count)| *count > MOST_REPEATED)
        .map(|(text, _)| text.to_owned())
        .collect()
}

/// Which size of a heading stands for which level.
struct Levels {
    /// Sizes, largest first, each with its level.
    sizes: Vec<(f32, u8)>,
    /// Whether the numbers of headings say their levels.
    numbered: bool,
}

impl Levels {
    fn of(pieces: &[Piece], body: f32) -> Self {
        let is_candidate = |piece: &&Piece| {
            is_like_heading(piece) && (piece.size > body * LARGER || is_bold_line(piece, body))
        };
        let numbers: Vec<(f32, u8)> = pieces
            .iter()
            .filter(is_candidate)
            .filter_map(|piece| Some((piece.size, numbered_depth(piece.text()?)?)))
            .collect();
        let numbered = numbers.len() >= ENOUGH_NUMBERS;
        let sizes = if numbered {
            Self::by_number(&numbers)
        } else {
            Self::by_size(pieces, body)
        };
        Self { sizes, numbered }
    }

    /// The usual size of the headings of each depth.
    fn by_number(numbers: &[(f32, u8)]) -> Vec<(f32, u8)> {
        let usual = |depth: u8| {
            most_frequent(
                numbers
                    .iter()
                    .filter(|(_, own)| *own == depth)
                    .map(|(size, _)| *size),
            )
        };
        (1..=LEVELS)
            .filter_map(|depth| Some((usual(depth)?, depth)))
            .collect()
    }

    /// The sizes larger than the text, in their order.
    fn by_size(pieces: &[Piece], body: f32) -> Vec<(f32, u8)> {
        let large = pieces
            .iter()
            .filter(|piece| is_like_heading(piece) && piece.size > body * LARGER);
        let mut sizes: Vec<f32> = large.map(|piece| piece.size).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        sizes.dedup_by(|a, b| (*a - *b).abs() < 0.06 * *b);
        sizes.into_iter().zip(1..=LEVELS).collect()
    }

    fn level(&self, piece: &Piece) -> u8 {
        let by_number = piece
            .text()
            .and_then(numbered_depth)
            .filter(|_| self.numbered);
        let by_size = || {
            self.sizes
                .iter()
                .find(|(size, _)| piece.size > size * 0.96)
                .map(|(_, level)| *level)
        };
        let deepest = || self.sizes.last().map_or(1, |(_, level)| level + 1);
        by_number
            .or_else(by_size)
            .unwrap_or_else(deepest)
            .min(LEVELS)
    }
}

/// The size of most of the text.
fn body_size(pieces: &[Piece]) -> Option<f32> {
    let weight = |piece: &Piece| match &piece.kind {
        Kind::Text(text) | Kind::Item(_, text) => text.chars().count() / 20 + 1,
        Kind::Row { .. } | Kind::Code(_) | Kind::Heading(..) => 0,
    };
    most_frequent(
        pieces
            .iter()
            .flat_map(|piece| std::iter::repeat_n(piece.size, weight(piece))),
    )
}

/// The level that the bookmark of the same title gives.
fn bookmarked(piece: &Piece, outline: &HashMap<String, Vec<(u8, Option<usize>)>>) -> Option<u8> {
    let text = piece
        .text()
        .filter(|text| text.chars().count() <= LONGEST)?;
    let key = plain(text);
    let bare = key.trim_start_matches(|c: char| c.is_ascii_digit());
    let entries = outline.get(&key).or_else(|| outline.get(bare))?;
    let here = entries
        .iter()
        .find(|(_, page)| page.is_none_or(|page| page.abs_diff(piece.page) <= 1));
    here.map(|(level, _)| *level)
}

/// Whether a piece is a short bold line of the size of the text.
fn is_bold_line(piece: &Piece, body: f32) -> bool {
    let is_short = piece.lines <= 2 && piece.text().is_some_and(|text| text.chars().count() <= 100);
    piece.bold && piece.size > body * 0.95 && is_short
}

/// Whether a piece can be a heading: short, no sentence, and with letters in it.
fn is_like_heading(piece: &Piece) -> bool {
    let Some(text) = piece.text() else {
        return false;
    };
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let length = text.chars().count();
    let starts_well = text.starts_with(|c: char| {
        c.is_alphanumeric() || matches!(c, '“' | '"' | '(' | '「' | '《' | '【' | '§')
    });
    starts_well
        && piece.lines <= 3
        && length <= LONGEST
        && letters >= 2
        && letters * 2 >= length
        && !text.ends_with(['.', ',', ';', '。', '，'])
        && !(ends_sentence(text) && length > 80)
}

/// The depth of a section number: `2.1 Scope` has 2, `Chapter 4` and `第四章` have 1.
fn numbered_depth(text: &str) -> Option<u8> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let second = words.next().unwrap_or_default();
    if matches!(
        first.to_lowercase().as_str(),
        "chapter" | "part" | "kapitel" | "chapitre" | "capítulo" | "appendix"
    ) && second.len() <= 4
    {
        return Some(1);
    }
    if let Some(rest) = first.strip_prefix('第') {
        return rest
            .find(['章', '篇', '编'])
            .map(|_| 1)
            .or_else(|| rest.find(['节', '節', '条', '條']).map(|_| 2));
    }
    let head = first.trim_end_matches('.');
    let parts: Vec<&str> = head.split('.').collect();
    let is_number = |part: &&str| {
        (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_letter =
        |part: &&str| part.len() == 1 && part.bytes().all(|byte| byte.is_ascii_uppercase());
    let fits = parts.iter().skip(1).all(is_number)
        && parts
            .first()
            .is_some_and(|part| is_number(part) || (is_letter(part) && parts.len() > 1));
    u8::try_from(parts.len())
        .ok()
        .filter(|_| fits && !second.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_sections_say_their_depth() {
        for (text, depth) in [
            ("2.1 Scope", Some(2)),
            ("Chapter 4. Data", Some(1)),
            ("第二节 请假", Some(2)),
            ("A.1 Proofs", Some(2)),
            ("2024 results", None),
            ("Scope", None),
            ("7", None),
        ] {
            assert_eq!(numbered_depth(text), depth, "{text}");
        }
    }
}
