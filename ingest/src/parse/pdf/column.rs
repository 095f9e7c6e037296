//! The order of lines: the page's own where it makes sense, else columns from left to right.

use super::line::{Line, is_wide};

/// Lines beyond which a page keeps its own order: sorting takes time quadratic in their number.
const MAX_SORTED: usize = 2000;
/// Lines that two columns must share to be taken for columns.
const MIN_ROWS: usize = 5;

/// The lines in reading order.
pub(crate) fn ordered(lines: Vec<Line>) -> Vec<Line> {
    if lines.len() <= MAX_SORTED && is_disordered(&lines) {
        return parted(cut(lines));
    }
    parted(lines)
}

/// Whether the order jumps up within one column again and again.
fn is_disordered(lines: &[Line]) -> bool {
    let jumps = lines
        .windows(2)
        .filter(|pair| matches!(pair, [before, next] if is_jump(before, next)))
        .count();
    jumps >= 3 && jumps * 7 > lines.len()
}

/// Whether `next` stands above `before`, over or under it.
fn is_jump(before: &Line, next: &Line) -> bool {
    let shared = before.x1().min(next.x1()) - before.x0().max(next.x0());
    next.y0 > before.y1 + 0.2 * before.size && shared > 0.0
}

/// Cuts the lines at the gutters between columns and at the gaps between rows of columns, in turn.
fn cut(mut lines: Vec<Line>) -> Vec<Line> {
    if lines.len() <= 2 {
        lines.sort_by(|a, b| b.y1.total_cmp(&a.y1));
        return lines;
    }
    if let Some(at) = gutter(&lines) {
        let (left, right): (Vec<Line>, Vec<Line>) =
            lines.into_iter().partition(|line| line.x1() <= at);
        return [cut(left), cut(right)].concat();
    }
    lines.sort_by(|a, b| b.y1.total_cmp(&a.y1));
    match gap(&lines) {
        Some(at) => {
            let below = lines.split_off(at);
            [cut(lines), cut(below)].concat()
        }
        None => lines,
    }
}

/// The widest gutter that no line crosses, with several lines on both sides.
fn gutter(lines: &[Line]) -> Option<f32> {
    let size = lines
        .iter()
        .map(|line| line.size)
        .fold(f32::INFINITY, f32::min);
    let mut by_start: Vec<&Line> = lines.iter().collect();
    by_start.sort_by(|a, b| a.x0().total_cmp(&b.x0()));
    let mut reach = f32::NEG_INFINITY;
    let mut best: Option<(f32, f32)> = None;
    for (place, line) in by_start.iter().enumerate() {
        let width = line.x0() - reach;
        let both = place >= 2 && by_start.len() - place >= 2;
        if both && width > 0.8 * size && best.is_none_or(|(widest, _)| width > widest) {
            best = Some((width, f32::midpoint(reach, line.x0())));
        }
        reach = reach.max(line.x1());
    }
    best.map(|(_, at)| at)
}

/// The place of the widest gap between lines (sorted downwards), where there is any.
fn gap(lines: &[Line]) -> Option<usize> {
    let mut lowest = f32::INFINITY;
    let mut best: Option<(f32, usize)> = None;
    for (place, line) in lines.iter().enumerate() {
        let width = lowest - line.y1;
        if place > 0 && width > 0.0 && best.is_none_or(|(widest, _)| width > widest) {
            best = Some((width, place));
        }
        lowest = lowest.min(line.y0);
    }
    best.map(|(_, place)| place)
}

/// Parts lines that run over two columns of prose: first the left halves, then the right ones.
fn parted(lines: Vec<Line>) -> Vec<Line> {
    let mut out = Vec::with_capacity(lines.len());
    let mut rest = lines.as_slice();
    while let Some(line) = rest.first() {
        let run = two_columns(rest);
        if run >= MIN_ROWS {
            let (rows, after) = rest.split_at(run);
            out.extend(rows.iter().filter_map(|row| half(row, 0)));
            out.extend(rows.iter().filter_map(|row| half(row, 1)));
            rest = after;
        } else {
            out.push(line.clone());
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    out
}

/// How many lines from the first on are halves of the same two columns of prose.
fn two_columns(lines: &[Line]) -> usize {
    let (mut left_end, mut right_start) = (f32::NEG_INFINITY, f32::INFINITY);
    let mut long = 0;
    let mut count = 0;
    for line in lines {
        let [left, right] = line.cells.as_slice() else {
            break;
        };
        left_end = left_end.max(left.x1());
        right_start = right_start.min(right.x0());
        if left_end >= right_start {
            break;
        }
        count += 1;
        long += usize::from(is_long(&left.text()) && is_long(&right.text()));
    }
    if long * 3 >= count * 2 { count } else { 0 }
}

/// Whether a cell reads like a line of prose rather than a value.
fn is_long(text: &str) -> bool {
    let wide = text.chars().filter(|c| is_wide(*c)).count();
    text.chars().count() + wide >= 28
}

fn half(row: &Line, place: usize) -> Option<Line> {
    let cell = row.cells.get(place)?.clone();
    Some(Line {
        cells: vec![cell],
        ..row.clone()
    })
}
