//! Paragraphs that other things interrupt: notes at the foot of a column, tables and figures at its head, the end of a page.

use super::block::{Kind, Piece};
use super::hyphen::Words;
use super::line::is_wide;
use super::paragraph::ends_sentence;

/// Pieces that may stand between the two parts of a paragraph.
const LONGEST_BREAK: usize = 80;

/// The pieces of a page with those that run along its margin: before a paragraph that goes on over the page, else at the end.
pub(crate) fn after(mut main: Vec<Piece>, sideways: Vec<Piece>) -> Vec<Piece> {
    let unfinished = main
        .last()
        .and_then(Piece::text)
        .is_some_and(|text| !ends_sentence(text));
    let at = main.len() - usize::from(unfinished);
    main.splice(at..at, sideways);
    main
}

/// Joins the parts of paragraphs; what stood between them goes before. Parts on two pages are put next to each other only.
pub(crate) fn reunited(pieces: Vec<Piece>, words: &Words) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        let Some(at) = first_part(&out, &piece) else {
            out.push(piece);
            continue;
        };
        let first = out.remove(at);
        if first.page == piece.page {
            let mut text = first.text().unwrap_or_default().to_owned();
            words.join(&mut text, piece.text().unwrap_or_default());
            piece = Piece {
                kind: Kind::Text(text),
                lines: first.lines + piece.lines,
                ..piece
            };
            out.push(piece);
        } else {
            out.push(first);
            out.push(piece);
        }
    }
    out
}

/// The place of the paragraph that `piece` goes on with, where only things that interrupt stand between.
fn first_part(before: &[Piece], piece: &Piece) -> Option<usize> {
    let (interruptions, (place, first)) = {
        let mut back = before.iter().enumerate().rev().take(LONGEST_BREAK);
        let found = back.find(|(_, earlier)| !interrupts(earlier, piece))?;
        (before.len() - 1 - found.0, found)
    };
    let near = piece.page - first.page.min(piece.page) <= 1;
    (interruptions > 0 && near && matches!(first.kind, Kind::Text(_)) && goes_on(first, piece))
        .then_some(place)
}

/// Whether `between` can stand in the middle of a paragraph of the look of `piece`.
fn interrupts(between: &Piece, piece: &Piece) -> bool {
    match &between.kind {
        Kind::Row { .. } | Kind::Code(_) => true,
        Kind::Text(_) | Kind::Item(..) => between.size < 0.93 * piece.size,
        Kind::Heading(..) => false,
    }
}

/// Whether `piece` goes on with the paragraph `before`: that one is not finished, and this one starts amid a sentence.
pub(crate) fn goes_on(before: &Piece, piece: &Piece) -> bool {
    let (Kind::Text(first) | Kind::Item(_, first), Kind::Text(second)) =
        (&before.kind, &piece.kind)
    else {
        return false;
    };
    let same_look =
        (before.size - piece.size).abs() < 0.08 * piece.size && before.bold == piece.bold;
    let wide = |c: Option<char>| c.is_some_and(is_wide);
    let starts_inside = second.starts_with(char::is_lowercase)
        || (wide(second.chars().next()) && wide(first.chars().next_back()));
    same_look
        && !is_caption(first)
        && starts_inside
        && (before.lines > 1 || first.chars().count() > 40)
        && !ends_sentence(first)
}

/// Whether a text names a figure or a table.
fn is_caption(text: &str) -> bool {
    const NAMES: [&str; 10] = [
        "table",
        "figure",
        "fig",
        "tab",
        "abb",
        "abbildung",
        "tabelle",
        "表",
        "图",
        "圖",
    ];
    let lower = text.trim_start().to_lowercase();
    let after = NAMES.iter().find_map(|name| lower.strip_prefix(name));
    after.is_some_and(|rest| {
        rest.trim_start_matches(['.', ' '])
            .starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, page: usize, size: f32) -> Piece {
        Piece {
            kind: Kind::Text(text.to_owned()),
            page,
            size,
            bold: false,
            lines: 3,
        }
    }

    #[test]
    fn a_paragraph_goes_on_after_what_interrupts_it() {
        let pieces = vec![
            piece("It holds for all of the", 0, 10.0),
            piece("1 A note at the foot.", 0, 8.0),
            piece("offices and their", 0, 10.0),
            piece("2 Another note.", 0, 8.0),
            piece("branches abroad.", 1, 10.0),
            piece("Table 1: a caption without an end", 1, 10.0),
            piece("lower case text.", 1, 10.0),
        ];
        let texts: Vec<String> = reunited(pieces, &Words::default())
            .iter()
            .filter_map(|piece| piece.text().map(str::to_owned))
            .collect();
        let expected = [
            "1 A note at the foot.",
            "2 Another note.",
            "It holds for all of the offices and their",
            "branches abroad.",
            "Table 1: a caption without an end",
            "lower case text.",
        ];
        assert_eq!(texts, expected);
    }
}
