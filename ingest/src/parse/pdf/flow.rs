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
        && starts_inside
        && (before.lines > 1 || first.chars().count() > 40)
        && !ends_sentence(first)
}
