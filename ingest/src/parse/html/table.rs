//! Tables: which hold data, and their rows.

use super::element::{Keep, Role, role};
use super::walk::inline_text;
use crate::parse::blocks::Block;
use crate::parse::grid::{Cell, Grid};
use ego_tree::NodeRef;
use scraper::Node;
use scraper::node::Element;

/// A cell with more bytes than this, in a table without header cells, is a part of a page rather than a value.
const LONGEST_VALUE: usize = 2000;

/// Whether the table holds data; the others only place parts of a page, and are read as if they were not there.
pub(crate) fn is_data(table: NodeRef<'_, Node>, keep: Keep) -> bool {
    let Some(element) = table.value().as_element() else {
        return false;
    };
    if matches!(element.attr("role"), Some("presentation" | "none")) {
        return false;
    }
    let rows = rows_of(table);
    let has_header = table
        .descendants()
        .any(|node| is(node, "th") || is(node, "thead"));
    let has_parts = table
        .descendants()
        .skip(1)
        .any(|node| is(node, "table") || is(node, "h1") || is(node, "h2"));
    let single = rows.iter().map(|row| cells_of(*row).len()).sum::<usize>() <= 1;
    let long = || {
        rows.iter()
            .flat_map(|row| cells_of(*row))
            .any(|cell| inline_text(cell, keep).len() > LONGEST_VALUE)
    };
    !single && (has_header || (!has_parts && !long()))
}

/// The caption and the rows.
pub(crate) fn rows(table: NodeRef<'_, Node>, keep: Keep) -> Vec<Block> {
    let captions = table.children().filter(|node| is(*node, "caption"));
    let mut blocks: Vec<Block> = captions
        .map(|caption| Block::Paragraph(inline_text(caption, keep)))
        .collect();
    let mut grid = Grid::default();
    for row in rows_of(table)
        .into_iter()
        .filter(|row| is_shown(*row, keep))
    {
        let cells = cells_of(row)
            .into_iter()
            .filter(|cell| is_shown(*cell, keep));
        grid.row(cells.map(|cell| Cell {
            text: inline_text(cell, keep),
            columns: span(cell, "colspan"),
            rows: span(cell, "rowspan"),
        }));
    }
    blocks.extend(grid.finish());
    blocks
}

/// The rows of `table` itself, not those of tables in it.
fn rows_of<'a>(table: NodeRef<'a, Node>) -> Vec<NodeRef<'a, Node>> {
    let parts = table.children().flat_map(|part| {
        let inner: Vec<_> = if is(part, "tr") {
            vec![part]
        } else {
            part.children().filter(|row| is(*row, "tr")).collect()
        };
        inner
    });
    parts.collect()
}

fn cells_of<'a>(row: NodeRef<'a, Node>) -> Vec<NodeRef<'a, Node>> {
    row.children()
        .filter(|cell| is(*cell, "td") || is(*cell, "th"))
        .collect()
}

fn is_shown(node: NodeRef<'_, Node>, keep: Keep) -> bool {
    node.value()
        .as_element()
        .is_some_and(|element| role(element, keep) != Role::Dropped)
}

/// The value of `colspan` or `rowspan`.
fn span(cell: NodeRef<'_, Node>, name: &str) -> usize {
    let value = cell
        .value()
        .as_element()
        .and_then(|element: &Element| element.attr(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(1)
}

fn is(node: NodeRef<'_, Node>, name: &str) -> bool {
    node.value()
        .as_element()
        .is_some_and(|element| element.name() == name)
}
