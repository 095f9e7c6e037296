use super::body::{Body, choice};
use super::xml::Element;
use crate::parse::blocks::Block;
use crate::parse::clean::one_line;
use crate::parse::grid::{Cell, Grid};

/// A cell with more bytes than this is a part of a page rather than a value.
const LONGEST_VALUE: usize = 2000;
/// Bytes of a vertically merged cell that are worth saying again in each row.
const MAX_REPEATED: usize = 200;

/// A cell with its blocks.
struct Content {
    blocks: Vec<Block>,
    columns: usize,
    /// Columns left out before it.
    skipped: usize,
    /// `Some(false)` where it goes on with the cell above, `Some(true)` where it starts such a run.
    merge: Option<bool>,
}

/// Adds a table: as rows where it holds data, as plain blocks where it only places parts of a page.
pub(crate) fn read(body: &mut Body, table: &Element, out: &mut Vec<Block>) {
    let rows: Vec<Vec<Content>> = children(table, "w:tr")
        .into_iter()
        .filter(|row| !is_deleted(row))
        .map(|row| cells(body, row))
        .collect();
    let count: usize = rows.iter().map(Vec::len).sum();
    let is_part = |content: &Content| {
        content
            .blocks
            .iter()
            .any(|block| matches!(block, Block::Heading { .. }))
            || line(&content.blocks).len() > LONGEST_VALUE
    };
    if count <= 1 || rows.iter().flatten().any(is_part) {
        out.extend(
            rows.into_iter()
                .flatten()
                .filter(|content| content.merge != Some(false))
                .flat_map(|content| content.blocks),
        );
    } else {
        out.extend(data(&rows));
    }
}

/// The rows of a table that holds data.
fn data(rows: &[Vec<Content>]) -> Vec<Block> {
    let mut grid = Grid::default();
    // By column: the text of the last cell that was merged downwards.
    let mut above: Vec<String> = Vec::new();
    for row in rows {
        let mut column = 0;
        let mut cells = Vec::new();
        for content in row {
            cells.extend((0..content.skipped).map(|_| Cell::default()));
            column += content.skipped;
            let mut text = line(&content.blocks);
            if content.merge == Some(false) {
                text = above.get(column).cloned().unwrap_or_default();
            }
            if above.len() <= column {
                above.resize(column + 1, String::new());
            }
            above[column] = if text.len() <= MAX_REPEATED {
                text.clone()
            } else {
                String::new()
            };
            column += content.columns;
            cells.push(Cell {
                text,
                columns: content.columns,
                rows: 1,
            });
        }
        grid.row(cells.into_iter());
    }
    grid.finish()
}

fn cells(body: &mut Body, row: &Element) -> Vec<Content> {
    let before = row
        .child("w:trPr")
        .and_then(|own| own.value("w:gridBefore"))
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    let mut skipped = std::cmp::min(before, 64);
    let mut found = Vec::new();
    for cell in children(row, "w:tc") {
        let properties = cell.child("w:tcPr");
        let columns = properties
            .and_then(|own| own.value("w:gridSpan"))
            .and_then(|span| span.parse().ok())
            .unwrap_or(1);
        let merge = properties
            .and_then(|own| own.child("w:vMerge"))
            .map(|merge| merge.attribute("val") == Some("restart"));
        let mut blocks = Vec::new();
        body.blocks(cell, &mut blocks);
        found.push(Content {
            blocks,
            columns: columns.clamp(1, 64),
            skipped: std::mem::take(&mut skipped),
            merge,
        });
    }
    found
}

/// The children called `name`, also those in content controls and tracked changes.
fn children<'a>(parent: &'a Element, name: &str) -> Vec<&'a Element> {
    let mut found = Vec::new();
    for element in parent.elements() {
        match element.name.as_str() {
            own if own == name => found.push(element),
            "w:sdt" | "w:sdtContent" | "w:customXml" | "w:smartTag" | "w:ins" => {
                found.extend(children(element, name))
            }
            "mc:AlternateContent" => found.extend(
                choice(element)
                    .into_iter()
                    .flat_map(|choice| children(choice, name)),
            ),
            _ => {}
        }
    }
    found
}

fn is_deleted(row: &Element) -> bool {
    row.child("w:trPr")
        .is_some_and(|properties| properties.child("w:del").is_some())
}

/// The blocks of a cell on one line.
fn line(blocks: &[Block]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for block in blocks {
        lines.push(match block {
            Block::Heading { text, .. } | Block::Paragraph(text) | Block::Verbatim(text) => {
                one_line(text)
            }
            Block::Item { marker, text, .. } => {
                format!("{marker} {}", one_line(text)).trim().to_owned()
            }
            Block::Row { cells, .. } => {
                cells
                    .iter()
                    .map(|cell| one_line(cell))
                    .filter(|cell| !cell.is_empty())
                    .collect::<Vec<_>>()
                    .join(", ")
                    + ";"
            }
        });
    }
    lines.join(" ")
}
