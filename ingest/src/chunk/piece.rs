//! Pieces of a stretch that is too long for a chunk: at white space where there is some, else between characters.

use super::tokens::Tokens;
use unicode_segmentation::GraphemeCursor;

/// Bytes that a token stands for at most: more than any text has, so that only junk is cut by it. (Some tokenizers make one
/// unknown token of a word of any length.)
pub(crate) const BYTES_PER_TOKEN: usize = 16;

/// Cuts `text` into pieces of at most `limit` tokens: their ends in bytes, ascending, the last one at the end of the text.
pub(crate) fn ends(text: &str, tokens: &dyn Tokens, limit: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let window_end = text
            .floor_char_boundary(start.saturating_add(limit * BYTES_PER_TOKEN))
            .max(next_char(text, start));
        let window = text.get(start..window_end).unwrap_or_default();
        start += first_end(window, tokens, limit, window_end < text.len());
        ends.push(start);
    }
    ends
}

/// Where the first piece of `window` ends; after at least one character. `cut` says that the window itself ends amid the text.
fn first_end(window: &str, tokens: &dyn Tokens, limit: usize, cut: bool) -> usize {
    let offsets = tokens.offsets(window);
    let mut end = match offsets.get(limit) {
        Some((next, _)) => border(window, *next),
        None if cut => border(window, window.len()),
        None => window.len(),
    };
    // A cut within a word can change how its parts are counted.
    while tokens.count(window.get(..end).unwrap_or_default()) > limit {
        let shorter = border(window, end - end.div_ceil(8).min(end));
        if shorter == end || end <= next_char(window, 0) {
            break;
        }
        end = shorter;
    }
    end
}

/// The best place to cut at or before `at`: after white space in the second half, else between two graphemes, else characters.
fn border(text: &str, at: usize) -> usize {
    let at = text.floor_char_boundary(at);
    let head = text.get(..at).unwrap_or_default();
    let space = head
        .char_indices()
        .rev()
        .take_while(|(place, _)| *place * 2 >= at)
        .find(|(_, c)| c.is_whitespace());
    if let Some((place, c)) = space {
        return place + c.len_utf8();
    }
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    let between = match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten().unwrap_or(0),
        _ => at,
    };
    let end = if between * 2 >= at { between } else { at };
    end.max(next_char(text, 0))
}

/// The end of the character that starts at `at`.
fn next_char(text: &str, at: usize) -> usize {
    text.get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(text.len(), |c| at + c.len_utf8())
}
