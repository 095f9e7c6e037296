//! Paragraphs, lists, rows and listings from the lines of a page.

use super::block::{Kind, Piece};
use super::hyphen::Words;
use super::indent::Indents;
use super::line::{Line, is_right_to_left};
use super::marker::marker;
use super::table;

/// The pieces of a page, from its lines in reading order.
pub(crate) fn pieces(lines: &[Line], page: usize, words: &Words) -> Vec<Piece> {
    let leading = leading(lines);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut place = 0;
    for table in table::tables(lines) {
        pieces.extend(paragraphs(
            lines.get(place..table.lines.start).unwrap_or_default(),
            leading,
            page,
            words,
        ));
        let look = lines.get(table.lines.start);
        for (row, cells) in table.rows.into_iter().enumerate() {
            let cells = cells
                .iter()
                .map(|cell| without_leaders(cell).replace('\u{2}', "-"))
                .collect();
            let kind = Kind::Row {
                first: row == 0,
                cells,
            };
            pieces.push(Piece {
                kind,
                page,
                size: look.map_or(0.0, |line| line.size),
                bold: false,
                lines: 1,
            });
        }
        place = table.lines.end;
    }
    pieces.extend(paragraphs(
        lines.get(place..).unwrap_or_default(),
        leading,
        page,
        words,
    ));
    pieces
}

/// The pieces of lines without tables.
fn paragraphs(lines: &[Line], leading: f32, page: usize, words: &Words) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: Vec<&Line> = Vec::new();
    let indents = Indents::of(lines);
    for line in lines {
        if open
            .last()
            .is_some_and(|before| starts_anew(&open, before, line, leading, indents))
        {
            pieces.extend(piece(&open, page, words));
            open.clear();
        }
        open.push(line);
    }
    pieces.extend(piece(&open, page, words));
    pieces
}

/// The usual distance from one base line to the next, in font sizes.
fn leading(lines: &[Line]) -> f32 {
    let steps = lines.windows(2).filter_map(|pair| match pair {
        [above, below] => {
            Some((above.y0 - below.y0) / above.size).filter(|step| (0.8..2.5).contains(step))
        }
        _ => None,
    });
    let mut steps: Vec<f32> = steps.collect();
    steps.sort_by(f32::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(1.2)
}

/// Whether `line` starts a new piece after `open`, whose last line is `before`.
fn starts_anew(open: &[&Line], before: &Line, line: &Line, leading: f32, indents: Indents) -> bool {
    let size = before.size.max(line.size);
    let other_look = (before.size - line.size).abs() > 0.12 * size
        || before.bold != line.bold
        || before.mono != line.mono;
    let step = (before.y0 - line.y0) / size;
    if before.mono && line.mono && (0.3..2.6).contains(&step) {
        return false;
    }
    let far = step > (leading * 1.35).max(leading + 0.25) || step < 0.3;
    let beside = line.x0() > before.x1() || line.x1() < before.x0();
    if step < 0.0 && !beside_is_break(before, line) {
        return other_look;
    }
    other_look
        || far
        || beside
        || marker(&line.text()).is_some() && is_new_item(open, before, line)
        || indents.starts_anew(open, before, line)
}

/// Whether a line in the next column starts anew: the one before is complete.
fn beside_is_break(before: &Line, line: &Line) -> bool {
    let text = before.text();
    ends_sentence(&text)
        || !line.text().chars().next().is_some_and(char::is_lowercase)
            && !text.ends_with(['-', ',', '\u{2}'])
}

/// Whether a line that looks like an item is one: a bullet always, a number only where the line before is complete or an item.
fn is_new_item(open: &[&Line], before: &Line, line: &Line) -> bool {
    let starts_with_mark = line
        .text()
        .chars()
        .next()
        .is_some_and(|c| !c.is_alphanumeric() && c != '(');
    let in_list = open
        .first()
        .is_some_and(|first| marker(&first.text()).is_some());
    starts_with_mark || in_list || ends_sentence(&before.text())
}

/// Whether a text ends as sentences do.
pub(crate) fn ends_sentence(text: &str) -> bool {
    text.trim_end_matches(['"', '”', '’', ')', ']', '»', '」', '』'])
        .ends_with(['.', '!', '?', ':', '。', '！', '？', '：', ';', '；'])
}

/// One piece from its lines.
fn piece(lines: &[&Line], page: usize, words: &Words) -> Option<Piece> {
    let first = lines.first()?;
    // An entry of a table of contents repeats a heading, and is none.
    let is_entry = lines
        .iter()
        .any(|line| line.text().contains("....") || line.text().contains(". . . ."));
    let piece = |kind| Piece {
        kind,
        page,
        size: first.size,
        bold: first.bold && !is_entry,
        lines: lines.len(),
    };
    if lines.len() > 1 && lines.iter().all(|line| line.mono) {
        return Some(piece(Kind::Code(listing(lines))));
    }
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        let own = without_leaders(&line.text());
        let before = place.checked_sub(1).and_then(|before| lines.get(before));
        if before.is_some_and(|before| is_broken_on_purpose(lines, before, line)) {
            text.push('\n');
            text.push_str(own.trim_start());
        } else {
            words.join(&mut text, &own);
        }
    }
    let text = text.replace('\u{2}', "-");
    Some(piece(match marker(&text) {
        Some((marker, rest)) => Kind::Item(marker.to_owned(), rest.to_owned()),
        None => Kind::Text(text),
    }))
}

/// Whether the line end after `before` is meant: the first word of `line` would have found room.
fn is_broken_on_purpose(lines: &[&Line], before: &Line, line: &Line) -> bool {
    let same_column = |other: &&&Line| (other.x0() - before.x0()).abs() < 6.0 * before.size;
    let mut ends: Vec<f32> = lines
        .iter()
        .filter(same_column)
        .map(|line| line.x1())
        .collect();
    ends.sort_by(f32::total_cmp);
    // One line that reaches further than the others does not make the column wider.
    let right = ends
        .get(ends.len() * 4 / 5)
        .or(ends.last())
        .copied()
        .unwrap_or_default();
    let text = line.text();
    let numbered = |line: &Line| line.text().starts_with(|c: char| c.is_ascii_digit());
    let entry = before.text();
    if entry.contains("....") || entry.contains(". . . .") {
        return true;
    }
    if lines.len() > 2
        && lines.iter().filter(|line| numbered(line)).count() * 2 > lines.len()
        && numbered(line)
    {
        return true;
    }
    let letters = text.chars().count().max(1);
    let first_word = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    #[expect(
        clippy::cast_precision_loss,
        reason = "the number of letters of a line is small"
    )]
    let width = (line.x1() - line.x0()) * first_word as f32 / letters as f32;
    let rtl = text.chars().any(is_right_to_left);
    !rtl && right - before.x1() > width + 3.0 * line.size
        && !before.text().ends_with(['-', '\u{2}', ','])
}

/// `text` without the dots that lead the eye from an entry to its page.
fn without_leaders(text: &str) -> String {
    if !text.contains("....") && !text.contains(". . .") {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut dots = String::new();
    for c in text.chars() {
        if c == '.' || (c == ' ' && !dots.is_empty()) {
            dots.push(c);
            continue;
        }
        if dots.matches('.').count() > 3 {
            out.truncate(out.trim_end().len());
            dots = " ".to_owned();
        }
        out.push_str(&dots);
        dots.clear();
        out.push(c);
    }
    out.push_str(if dots.matches('.').count() > 3 {
        ""
    } else {
        &dots
    });
    out
}

/// Lines of one-width characters with their indents.
fn listing(lines: &[&Line]) -> String {
    let left = lines
        .iter()
        .map(|line| line.x0())
        .fold(f32::INFINITY, f32::min);
    let mut out = String::new();
    for line in lines {
        let text = line.text();
        #[expect(
            clippy::cast_precision_loss,
            reason = "the number of letters of a line is small"
        )]
        let width = ((line.x1() - line.x0()) / text.chars().count().max(1) as f32).max(0.5);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded right there"
        )]
        let indent = ((line.x0() - left) / width).round().clamp(0.0, 80.0) as usize;
        out.push_str(&" ".repeat(indent));
        out.push_str(&text);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_go_and_ellipses_stay() {
        assert_eq!(without_leaders("Scope ........ 5"), "Scope 5");
        assert_eq!(without_leaders("Wait... what. . ."), "Wait... what. . .");
    }
}
