//! Which pieces are headings: what bookmarks name, what is larger than the text, and short bold lines.

use super::block::{Kind, Piece};
use super::line::most_frequent;
use super::outline::plain;
use super::paragraph::ends_sentence;
use std::collections::HashMap;

/// Characters of the longest heading.
const LONGEST: usize = 200;
/// How much larger than the text a heading is.
const LARGER: f32 = 1.12;
/// Sizes of headings that are told apart.
const LEVELS: usize = 4;

/// Makes headings of the pieces that look like it; `outline` holds the bookmarks.
pub(crate) fn mark(pieces: &mut [Piece], outline: &HashMap<String, Vec<(u8, Option<usize>)>>) {
    let Some(body) = body_size(pieces) else { return };
    let sizes = heading_sizes(pieces, body);
    let named: Vec<Option<u8>> = pieces.iter().map(|piece| bookmarked(piece, outline)).collect();
    // Where bookmarks name the headings, short bold lines are none.
    let is_named = named.iter().flatten().count() >= 3;
    for (piece, named) in pieces.iter_mut().zip(named) {
        let level = named.or_else(|| level_of(piece, body, &sizes, is_named));
        if let (Some(level), Some(text)) = (level, piece.text()) {
            piece.kind = Kind::Heading(level, text.replace('\n', " "));
        }
    }
}

/// The size of most of the text.
fn body_size(pieces: &[Piece]) -> Option<f32> {
    let weight = |piece: &Piece| match &piece.kind {
        Kind::Text(text) | Kind::Item(_, text) => text.chars().count() / 20 + 1,
        Kind::Row { .. } | Kind::Code(_) | Kind::Heading(..) => 0,
    };
    most_frequent(pieces.iter().flat_map(|piece| std::iter::repeat_n(piece.size, weight(piece))))
}

/// The sizes that headings have, largest first.
fn heading_sizes(pieces: &[Piece], body: f32) -> Vec<f32> {
    let mut sizes: Vec<f32> = pieces.iter().filter(|piece| is_like_heading(piece) && piece.size > body * LARGER).map(|piece| piece.size).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    sizes.dedup_by(|a, b| (*a - *b).abs() < 0.06 * *b);
    sizes
}

/// The level that the bookmark of the same title gives.
fn bookmarked(piece: &Piece, outline: &HashMap<String, Vec<(u8, Option<usize>)>>) -> Option<u8> {
    let text = piece.text().filter(|text| text.chars().count() <= LONGEST)?;
    let key = plain(text);
    let bare = key.trim_start_matches(|c: char| c.is_ascii_digit());
    let entries = outline.get(&key).or_else(|| outline.get(bare))?;
    let here = entries.iter().find(|(_, page)| page.is_none_or(|page| page.abs_diff(piece.page) <= 1));
    here.map(|(level, _)| *level)
}

/// The level by size and weight.
fn level_of(piece: &Piece, body: f32, sizes: &[f32], is_named: bool) -> Option<u8> {
    if !is_like_heading(piece) {
        return None;
    }
    let text = piece.text()?;
    let by_number = numbered_depth(text);
    if piece.size > body * LARGER {
        let place = sizes.iter().position(|size| (size - piece.size).abs() <= 0.06 * size)?;
        return u8::try_from(place.min(LEVELS - 1) + 1).ok();
    }
    let is_bold = piece.bold && piece.size > body * 0.95 && piece.lines <= 2 && text.chars().count() <= 100;
    let deepest = u8::try_from(sizes.len().min(LEVELS - 1) + 1).ok()?;
    (is_bold && (!is_named || by_number.is_some())).then(|| by_number.map_or(deepest, |depth| depth.max(deepest)).min(6))
}

/// Whether a piece can be a heading: short, no sentence, and with letters in it.
fn is_like_heading(piece: &Piece) -> bool {
    let Some(text) = piece.text() else { return false };
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let length = text.chars().count();
    piece.lines <= 3 && length <= LONGEST && letters >= 2 && letters * 2 >= length && !text.ends_with(['.', ',', ';', '。', '，']) && !(ends_sentence(text) && length > 80)
}

/// The depth of a section number: `2.1 Scope` has 2.
fn numbered_depth(text: &str) -> Option<u8> {
    let head = text.split_whitespace().next()?.trim_end_matches('.');
    let parts: Vec<&str> = head.split('.').collect();
    let numbers = parts.iter().all(|part| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()));
    u8::try_from(parts.len()).ok().filter(|_| numbers)
}
