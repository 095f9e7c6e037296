//! Parts of one line that the page's content has apart.

use super::line::{CELL_GAP, Line, is_right_to_left};

/// Joins lines that stand beside each other: parts of one line that the page's content has apart.
pub(crate) fn joined(lines: Vec<Line>) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    for line in lines {
        match out.last_mut() {
            Some(before) if is_beside(before, &line) => join(before, line),
            Some(before) if is_within(before, &line) => insert(before, &line),
            _ => out.push(line),
        }
    }
    out
}

fn is_beside(before: &Line, next: &Line) -> bool {
    let apart =
        next.x0() >= before.x1() - 0.3 * next.size || next.x1() <= before.x0() + 0.3 * next.size;
    // Small raised and lowered letters of formulas reach further up or down.
    let small = next.size < 0.85 * before.size && (next.x0() - before.x1()).abs() < before.size;
    apart && before.level_with(next) > if small { 0.3 } else { 0.6 }
}

fn join(before: &mut Line, next: Line) {
    let rtl = before
        .cells
        .iter()
        .chain(&next.cells)
        .any(|cell| cell.text().chars().any(is_right_to_left));
    let near = next.x0() - before.x1();
    let (size, y0, y1) = (next.size, next.y0, next.y1);
    if (-0.3 * size..CELL_GAP * size).contains(&near) && !rtl {
        let mut cells = next.cells.into_iter();
        if let (Some(last), Some(first)) = (before.cells.last_mut(), cells.next()) {
            let mut words = first.words.into_iter();
            let glued = last.words.last_mut().filter(|_| near <= 0.15 * size);
            if let Some((word, more)) = glued.and_then(|word| Some((word, words.next()?))) {
                let raised = size < 0.85 * before.size && y0 > before.y0 + before.size * 0.15;
                let is_digit = |c: char| c.is_ascii_digit();
                if raised && word.text.ends_with(is_digit) && more.text.starts_with(is_digit) {
                    word.text.push('^');
                }
                word.text.push_str(&more.text);
                word.x1 = more.x1;
            }
            last.words.extend(words);
        }
        before.cells.extend(cells);
    } else {
        before.cells.extend(next.cells);
        before.cells.sort_by(|a, b| {
            if rtl {
                b.x0().total_cmp(&a.x0())
            } else {
                a.x0().total_cmp(&b.x0())
            }
        });
    }
    if size > 0.85 * before.size {
        before.y0 = before.y0.min(y0);
        before.y1 = before.y1.max(y1);
    }
}

/// Whether `next` is made of small raised or lowered words that stand in the gaps of `before`, such as the `th` of 18th.
fn is_within(before: &Line, next: &Line) -> bool {
    let small = next.size < 0.85 * before.size && before.level_with(next) > 0.15;
    let inside = next.x0() > before.x0() && next.x1() < before.x1();
    let words = || next.cells.iter().flat_map(|cell| &cell.words);
    let others = || before.cells.iter().flat_map(|cell| &cell.words);
    let is_free = |x0: f32, x1: f32| {
        !others().any(|other| x1.min(other.x1) - x0.max(other.x0) > 0.3 * (x1 - x0))
    };
    small && inside && words().all(|word| is_free(word.x0, word.x1))
}

/// Puts the words of `next` into the gaps of `before`.
fn insert(before: &mut Line, next: &Line) {
    for word in next.cells.iter().flat_map(|cell| &cell.words) {
        if let Some(cell) = before
            .cells
            .iter_mut()
            .rev()
            .find(|cell| cell.x0() < word.x0)
        {
            cell.place(word.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::pdf::line::{Cell, Word};

    fn line(size: f32, y0: f32, words: &[(f32, f32, &str)]) -> Line {
        let word = |(x0, x1, text): &(f32, f32, &str)| Word {
            text: (*text).to_owned(),
            x0: *x0,
            x1: *x1,
        };
        let cells = vec![Cell {
            words: words.iter().map(word).collect(),
        }];
        Line {
            cells,
            y0,
            y1: y0 + size,
            size,
            bold: false,
            mono: false,
        }
    }

    #[test]
    fn raised_endings_of_numbers_go_where_they_stand() {
        let main = line(
            10.0,
            0.0,
            &[
                (0.0, 10.0, "the"),
                (13.0, 23.0, "18"),
                (32.0, 60.0, "century"),
            ],
        );
        let raised = line(6.0, 6.0, &[(23.0, 29.0, "th")]);
        let texts: Vec<String> = joined(vec![main, raised]).iter().map(Line::text).collect();
        assert_eq!(texts, ["the 18th century"]);
    }
}
