use super::output::{Output, paint};
use crate::exit::Failure;
use console::measure_text_width;

/// Rows under a heading, in columns as wide as their widest cell. Chinese characters count as two columns.
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|cell| (*cell).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has as many cells as the heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it, or `empty` where it has no rows.
    pub fn print(&self, output: Output, empty: &str) -> Result<(), Failure> {
        if self.rows.is_empty() {
            output.note(empty);
            return Ok(());
        }
        let widths = self.widths();
        output.line(paint(line(&self.heading, &widths)).dim())?;
        self.rows
            .iter()
            .try_for_each(|row| output.line(line(row, &widths)))
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| {
            let cells = std::iter::once(&self.heading)
                .chain(&self.rows)
                .filter_map(|row| row.get(column));
            cells
                .map(|cell| measure_text_width(cell))
                .max()
                .unwrap_or(0)
        };
        (0..self.heading.len()).map(widest).collect()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        let gap = width.saturating_sub(measure_text_width(cell)) + 2;
        text.extend(std::iter::repeat_n(' ', gap));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_for_wide_characters() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["年假.md".to_owned(), "1".to_owned()]);
        table.row(["a".to_owned(), "22".to_owned()]);
        let widths = table.widths();
        assert_eq!(widths, [7, 2]);
        assert_eq!(line(&table.rows[0], &widths), "年假.md  1");
        assert_eq!(line(&table.rows[1], &widths), "a        22");
    }
}
