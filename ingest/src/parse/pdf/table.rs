//! Tables from lines whose parts stand in columns.

use super::line::{Cell, Line, Word, is_right_to_left};
use std::collections::BTreeSet;
use std::ops::Range;

/// Font sizes between two lines of one table.
const NEAR: f32 = 2.5;
/// Lines above the first two rows that stand one under the other that can belong to the table.
const LINES_ABOVE: usize = 12;

/// A table on a page.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// The lines of the page that it takes the place of.
    pub(crate) lines: Range<usize>,
    /// Its rows, each with a cell for every column.
    pub(crate) rows: Vec<Vec<String>>,
}

/// The tables among the lines of a page.
pub(crate) fn tables(lines: &[Line]) -> Vec<Table> {
    let pairs: Vec<bool> = lines
        .windows(2)
        .map(|pair| matches!(pair, [above, below] if is_pair(above, below)))
        .collect();
    let mut found: Vec<Table> = Vec::new();
    let mut place = 0;
    while place < pairs.len() {
        if !pairs.get(place).copied().unwrap_or_default() {
            place += 1;
            continue;
        }
        let start = place;
        let columns = columns(lines, start, &pairs);
        let end = end(lines, start, &pairs, &columns);
        let first = header(
            lines,
            start,
            &columns,
            found.last().map_or(0, |table| table.lines.end),
        );
        found.push(Table {
            lines: first..end,
            rows: rows(lines.get(first..end).unwrap_or_default(), &columns),
        });
        place = end;
    }
    found
}

/// Whether two lines are rows of one table: both have several cells, and some of these stand in one column.
fn is_pair(above: &Line, below: &Line) -> bool {
    let near = above.y0 - below.y1 < NEAR * above.size.max(below.size) && above.y0 > below.y0;
    above.cells.len() > 1 && below.cells.len() > 1 && near && shared_columns(above, below) >= 2
}

fn shared_columns(above: &Line, below: &Line) -> usize {
    let tolerance = 0.6 * above.size.max(below.size);
    let aligned = |a: f32, b: f32| (a - b).abs() < tolerance;
    let middle = |cell: &Cell| f32::midpoint(cell.x0(), cell.x1());
    let shares = |cell: &&Cell| {
        below.cells.iter().any(|other| {
            aligned(cell.x0(), other.x0())
                || aligned(cell.x1(), other.x1())
                || aligned(middle(cell), middle(other))
        })
    };
    above.cells.iter().filter(shares).count()
}

/// The columns of the table that starts at `start`: the stretches that the cells of its usual rows take, from left to right.
fn columns(lines: &[Line], start: usize, pairs: &[bool]) -> Vec<(f32, f32)> {
    let count = pairs.iter().skip(start).take_while(|pair| **pair).count() + 1;
    let rows = lines.get(start..start + count).unwrap_or_default();
    let mut frequency: Vec<usize> =
        vec![0; rows.iter().map(|row| row.cells.len()).max().unwrap_or(0) + 1];
    rows.iter().for_each(|row| frequency[row.cells.len()] += 1);
    let usual = frequency
        .iter()
        .enumerate()
        .max_by_key(|(cells, count)| (**count, *cells))
        .map_or(0, |(cells, _)| cells);
    let mut stretches: Vec<(f32, f32)> = rows
        .iter()
        .filter(|row| row.cells.len() == usual)
        .flat_map(|row| row.cells.iter().map(|cell| (cell.x0(), cell.x1())))
        .collect();
    stretches.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut columns: Vec<(f32, f32)> = Vec::new();
    for (x0, x1) in stretches {
        match columns.last_mut().filter(|last| x0 < last.1) {
            Some(last) => last.1 = last.1.max(x1),
            None => columns.push((x0, x1)),
        }
    }
    // Cells that do not keep to columns cannot be laid out by them.
    if columns.len() == usual {
        columns
    } else {
        Vec::new()
    }
}

/// The line after the last one of the table: rows, and lines between and after them that go on within their cells.
fn end(lines: &[Line], start: usize, pairs: &[bool], columns: &[(f32, f32)]) -> usize {
    let mut end = start + 1;
    while let (Some(above), Some(line)) = (lines.get(end - 1), lines.get(end)) {
        let is_row = pairs.get(end - 1).copied().unwrap_or_default();
        let starts_row = pairs.get(end).copied().unwrap_or_default()
            && !columns.is_empty()
            && fits(line, columns)
            && is_near(above, line);
        if !is_row && !starts_row && !goes_on(above, line, columns) {
            break;
        }
        end += 1;
    }
    end
}

/// Whether `line` goes on within cells of the row above: it is near, and it leaves the first column empty.
fn goes_on(above: &Line, line: &Line, columns: &[(f32, f32)]) -> bool {
    let leaves_first = columns.len() > 1
        && line
            .cells
            .iter()
            .all(|cell| column_of(cell.x0(), cell.x1(), columns) > 0);
    let step = above.y0 - line.y0;
    leaves_first
        && fits(line, columns)
        && (0.0..1.6 * line.size).contains(&step)
        && (above.size - line.size).abs() < 0.1 * line.size
}

/// The first line of the table: a header above it, and rows whose cells go on over several lines.
fn header(lines: &[Line], start: usize, columns: &[(f32, f32)], free: usize) -> usize {
    let mut first = start;
    for place in (free.max(start.saturating_sub(LINES_ABOVE))..start).rev() {
        let (Some(line), Some(below)) = (lines.get(place), lines.get(place + 1)) else {
            break;
        };
        let used: BTreeSet<usize> = line
            .cells
            .iter()
            .flat_map(|cell| &cell.words)
            .map(|word| column_of(word.x0, word.x1, columns))
            .collect();
        let similar = (line.size - below.size).abs() < 0.25 * below.size;
        if columns.len() < 2 || !similar || !is_near(line, below) || !fits(line, columns) {
            break;
        }
        let above = place.checked_sub(1).and_then(|above| lines.get(above));
        if used.len() > 1 {
            first = place;
        } else if !above.is_some_and(|above| goes_on(above, line, columns)) {
            break;
        }
    }
    first
}

fn is_near(above: &Line, below: &Line) -> bool {
    (0.0..NEAR * above.size.max(below.size)).contains(&(above.y0 - below.y1).max(0.0))
        && above.y0 > below.y0
}

/// Whether the words of a line keep to the columns: none stands in two, and words of different columns stand apart.
fn fits(line: &Line, columns: &[(f32, f32)]) -> bool {
    let words: Vec<&Word> = line.cells.iter().flat_map(|cell| &cell.words).collect();
    let straddles = |word: &&&Word| {
        columns
            .iter()
            .filter(|(x0, x1)| word.x1 > *x0 && word.x0 < *x1)
            .count()
            > 1
    };
    let runs_on = |pair: &&[&Word]| {
        let [first, second] = pair else { return false };
        column_of(first.x0, first.x1, columns) != column_of(second.x0, second.x1, columns)
            && (second.x0 - first.x1).abs() < 0.5 * line.size
    };
    !words.iter().any(|word| straddles(&word)) && !words.windows(2).any(|pair| runs_on(&pair))
}

/// The column that a stretch stands in, or the nearest one.
fn column_of(x0: f32, x1: f32, columns: &[(f32, f32)]) -> usize {
    let shared = |column: &(f32, f32)| x1.min(column.1) - x0.max(column.0);
    let best = columns
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| shared(a).total_cmp(&shared(b)));
    best.map_or(0, |(place, _)| place)
}

/// The rows of a table, lines that go on within cells joined to the row that they belong to.
fn rows(lines: &[Line], columns: &[(f32, f32)]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut above: Option<&Line> = None;
    for line in lines {
        let cells = laid_out(line, columns);
        let joins = above.is_some_and(|above| {
            line.cells.len() < above.cells.len().max(2) && goes_on(above, line, columns)
        });
        match rows.last_mut().filter(|row| joins && fills_up(row, &cells)) {
            Some(row) => row
                .iter_mut()
                .zip(cells)
                .filter(|(_, more)| !more.is_empty())
                .for_each(|(cell, more)| {
                    cell.push(' ');
                    cell.push_str(&more);
                }),
            None => rows.push(cells),
        }
        above = Some(line);
    }
    rows
}

/// Whether each cell of `more` has one above it to go on with.
fn fills_up(row: &[String], more: &[String]) -> bool {
    row.len() == more.len()
        && row
            .iter()
            .zip(more)
            .all(|(cell, more)| more.is_empty() || !cell.is_empty())
}

/// The cells of a line by column; as they are where there are no columns.
fn laid_out(line: &Line, columns: &[(f32, f32)]) -> Vec<String> {
    if columns.is_empty() {
        return line.cells.iter().map(Cell::text).collect();
    }
    let mut cells: Vec<String> = vec![String::new(); columns.len()];
    let mut put = |text: &str, column: usize| {
        if let Some(cell) = cells.get_mut(column) {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(text);
        }
    };
    if fits(line, columns) {
        line.cells
            .iter()
            .flat_map(|cell| &cell.words)
            .for_each(|word| put(&word.text, column_of(word.x0, word.x1, columns)));
    } else {
        line.cells
            .iter()
            .for_each(|cell| put(&cell.text(), column_of(cell.x0(), cell.x1(), columns)));
    }
    if line.text().chars().filter(|c| is_right_to_left(*c)).count() > 2 {
        cells.reverse();
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of words given by their left edges; a character is 5 points wide.
    fn line(y: f32, words: &[(f32, &str)]) -> Line {
        let word = |(x0, text): &(f32, &str)| Word {
            text: (*text).to_owned(),
            x0: *x0,
            x1: x0 + 5.0 * text.len() as f32,
        };
        let mut cells: Vec<Cell> = Vec::new();
        for word in words.iter().map(word) {
            match cells.last_mut().filter(|cell| word.x0 - cell.x1() < 15.0) {
                Some(cell) => cell.words.push(word),
                None => cells.push(Cell { words: vec![word] }),
            }
        }
        Line {
            cells,
            y0: y,
            y1: y + 10.0,
            size: 10.0,
            bold: false,
            mono: false,
        }
    }

    #[test]
    fn narrow_headers_and_wrapped_cells_go_into_their_columns() {
        let lines = [
            line(
                140.0,
                &[
                    (0.0, "A"),
                    (8.0, "caption"),
                    (46.0, "over"),
                    (69.0, "all"),
                    (87.0, "of"),
                    (100.0, "it"),
                ],
            ),
            line(
                120.0,
                &[
                    (0.0, "Kind"),
                    (50.0, "Base"),
                    (72.0, "model"),
                    (110.0, "Note"),
                ],
            ),
            line(
                100.0,
                &[(0.0, "one"), (60.0, "F"), (110.0, "long"), (135.0, "text")],
            ),
            line(88.0, &[(110.0, "goes"), (135.0, "on")]),
            line(70.0, &[(0.0, "two"), (60.0, "M"), (110.0, "short")]),
            line(55.0, &[(0.0, "six"), (60.0, "N"), (110.0, "brief")]),
            line(20.0, &[(0.0, "Text")]),
        ];
        let tables = tables(&lines);
        let rows: Vec<String> = tables
            .iter()
            .flat_map(|table| table.rows.iter().map(|row| row.join("|")))
            .collect();
        assert_eq!(
            rows,
            [
                "Kind|Base model|Note",
                "one|F|long text goes on",
                "two|M|short",
                "six|N|brief"
            ]
        );
        assert_eq!(tables[0].lines, 1..6);
    }
}
