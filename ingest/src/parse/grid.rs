use super::blocks::Block;

/// Columns that one table may have: a wider one is a mistake or an attack.
const MAX_COLUMNS: usize = 1000;
/// Rows that one cell may span.
const MAX_ROWS: usize = 1000;

/// Bytes of a merged cell that are worth saying again in each row and column.
const MAX_REPEATED: usize = 200;

/// A cell as its format gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// Columns that it spans, at least 1.
    pub(crate) columns: usize,
    /// Rows that it spans, at least 1.
    pub(crate) rows: usize,
}

/// Lays merged cells out, so that each row can be read by itself: a cell that spans several columns or rows stands in each.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    rows: Vec<Vec<String>>,
    /// By column: what a cell above puts here, and for how many more rows.
    carried: Vec<(usize, String)>,
}

impl Grid {
    /// Adds a row of cells, in order.
    pub(crate) fn row(&mut self, cells: impl Iterator<Item = Cell>) {
        let mut row = Vec::new();
        let mut count = 0;
        for cell in cells {
            count += 1;
            self.carry(&mut row);
            let columns = cell
                .columns
                .clamp(1, MAX_COLUMNS.saturating_sub(row.len()).max(1));
            let again = if cell.text.len() <= MAX_REPEATED {
                cell.text.as_str()
            } else {
                ""
            };
            for place in 0..columns {
                self.hold(row.len(), cell.rows.clamp(1, MAX_ROWS) - 1, again);
                row.push(if place == 0 {
                    cell.text.clone()
                } else {
                    again.to_owned()
                });
            }
        }
        self.carry(&mut row);
        // A title over the whole table is said once.
        if count == 1 && row.windows(2).all(|pair| pair.first() == pair.last()) {
            row.truncate(1);
        }
        self.rows.push(row);
    }

    /// The rows as blocks.
    pub(crate) fn finish(self) -> Vec<Block> {
        let rows = self
            .rows
            .into_iter()
            .filter(|row| row.iter().any(|cell| !cell.trim().is_empty()));
        rows.enumerate()
            .map(|(place, cells)| Block::Row {
                first: place == 0,
                cells,
            })
            .collect()
    }

    /// Fills the next columns of `row` with what cells above put there.
    fn carry(&mut self, row: &mut Vec<String>) {
        while let Some((left, text)) = self
            .carried
            .get_mut(row.len())
            .filter(|(left, _)| *left > 0)
        {
            *left -= 1;
            row.push(text.clone());
        }
    }

    /// Keeps `text` for `rows` more rows of `column`.
    fn hold(&mut self, column: usize, rows: usize, text: &str) {
        if rows == 0 || column >= MAX_COLUMNS {
            return;
        }
        if self.carried.len() <= column {
            self.carried.resize(column + 1, (0, String::new()));
        }
        if let Some(slot) = self.carried.get_mut(column) {
            *slot = (rows, text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str, columns: usize, rows: usize) -> Cell {
        Cell {
            text: text.to_owned(),
            columns,
            rows,
        }
    }

    fn rows(grid: Grid) -> Vec<String> {
        let cells = |block| {
            if let Block::Row { cells, .. } = block {
                cells.join("|")
            } else {
                String::new()
            }
        };
        grid.finish().into_iter().map(cells).collect()
    }

    #[test]
    fn merged_cells_stand_in_every_row_and_column_they_cover() {
        let mut grid = Grid::default();
        grid.row([cell("Report", 3, 1)].into_iter());
        grid.row([cell("Year", 1, 1), cell("Sales", 2, 1)].into_iter());
        grid.row([cell("2023", 1, 2), cell("a", 1, 1), cell("b", 1, 1)].into_iter());
        grid.row([cell("c", 1, 1), cell("d", 1, 1)].into_iter());
        assert_eq!(
            rows(grid),
            ["Report", "Year|Sales|Sales", "2023|a|b", "2023|c|d"]
        );
    }

    #[test]
    fn absurd_spans_are_bounded() {
        let mut grid = Grid::default();
        grid.row([cell("x", usize::MAX, usize::MAX), cell("y", 1, 1)].into_iter());
        assert!(rows(grid).concat().len() < 10_000);
    }
}
