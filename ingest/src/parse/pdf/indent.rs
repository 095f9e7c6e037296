//! What an indented line means: the first of a paragraph, or a further one of an entry that hangs.

use super::line::{Line, is_right_to_left};
use super::marker::marker;
use super::paragraph::ends_sentence;

/// Indented lines that it takes to tell the habit of a page.
const ENOUGH: usize = 4;

/// The habit of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indents {
    /// Whether further lines of an entry are indented, as in a bibliography.
    hanging: bool,
}

impl Indents {
    /// The habit of a page with these lines: where most lines before an indented one are full, the indent goes on with them.
    pub(crate) fn of(lines: &[Line]) -> Self {
        let mut full = 0;
        let mut count = 0;
        for (place, pair) in lines.windows(2).enumerate() {
            let [before, line] = pair else { continue };
            let step = (before.y0 - line.y0) / line.size;
            if !is_indent(before, line)
                || !(0.5..2.0).contains(&step)
                || marker(&before.text()).is_some()
            {
                continue;
            }
            let near = lines
                .get(place.saturating_sub(4)..(place + 6).min(lines.len()))
                .unwrap_or_default();
            let overlaps = |other: &&Line| other.x0() < line.x1() && other.x1() > line.x0();
            let right = near
                .iter()
                .filter(overlaps)
                .map(Line::x1)
                .fold(f32::NEG_INFINITY, f32::max);
            count += 1;
            full += usize::from(before.x1() > right - 5.0 * line.size);
        }
        Self {
            hanging: count >= ENOUGH && full * 10 > count * 7,
        }
    }

    /// Whether `line` starts anew after `open`, whose last line is `before`.
    pub(crate) fn starts_anew(self, open: &[&Line], before: &Line, line: &Line) -> bool {
        if self.hanging {
            return is_indent(line, before);
        }
        let is_item = open
            .first()
            .is_some_and(|first| marker(&first.text()).is_some());
        is_indent(before, line) && !is_item && (open.len() > 1 || ends_sentence(&before.text()))
    }
}

/// Whether `line` starts further in than `before`.
fn is_indent(before: &Line, line: &Line) -> bool {
    let rtl = line.text().chars().any(is_right_to_left);
    let indent = if rtl {
        before.x1() - line.x1()
    } else {
        line.x0() - before.x0()
    };
    (0.8 * line.size..6.0 * line.size).contains(&indent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::pdf::line::{Cell, Word};

    fn line(row: usize, x0: f32, x1: f32) -> Line {
        let cells = vec![Cell {
            words: vec![Word {
                text: "Word".to_owned(),
                x0,
                x1,
            }],
        }];
        let y0 = 700.0 - 12.0 * row as f32;
        Line {
            cells,
            y0,
            y1: y0 + 10.0,
            size: 10.0,
            bold: false,
            mono: false,
        }
    }

    #[test]
    fn hanging_entries_and_indented_paragraphs_are_told_apart() {
        let hanging: Vec<Line> = (0..12)
            .map(|row| {
                if row % 2 == 0 {
                    line(row, 0.0, 400.0)
                } else {
                    line(row, 30.0, 150.0)
                }
            })
            .collect();
        let habit = Indents::of(&hanging);
        assert!(!habit.starts_anew(&[&hanging[0]], &hanging[0], &hanging[1]));
        assert!(habit.starts_anew(&[&hanging[0], &hanging[1]], &hanging[1], &hanging[2]));
        let first_lines: Vec<Line> = (0..12)
            .map(|row| {
                if row % 2 == 0 {
                    line(row, 30.0, 400.0)
                } else {
                    line(row, 0.0, 150.0)
                }
            })
            .collect();
        let habit = Indents::of(&first_lines);
        assert!(!habit.starts_anew(&[&first_lines[0]], &first_lines[0], &first_lines[1]));
        assert!(habit.starts_anew(
            &[&first_lines[0], &first_lines[1]],
            &first_lines[1],
            &first_lines[2]
        ));
    }
}
