//! Which lines are rows of a table.

use super::line::Line;

/// Font sizes between two lines of one table.
const NEAR: f32 = 2.5;

/// For each line, whether it is a row of a table: it has several cells, and so has the line above or below it, and some cells of
/// both stand in one column.
pub(crate) fn rows(lines: &[Line]) -> Vec<bool> {
    let pairs: Vec<bool> = lines.windows(2).map(|pair| matches!(pair, [above, below] if is_pair(above, below))).collect();
    let pair = |place: Option<usize>| place.and_then(|place| pairs.get(place)).copied().unwrap_or_default();
    (0..lines.len()).map(|place| pair(place.checked_sub(1)) || pair(Some(place))).collect()
}

fn is_pair(above: &Line, below: &Line) -> bool {
    let near = above.y0 - below.y1 < NEAR * above.size.max(below.size) && above.y0 > below.y0;
    let both = above.cells.len() > 1 && below.cells.len() > 1;
    both && near && shared_columns(above, below) >= 2
}

/// Columns in which both lines have a cell.
fn shared_columns(above: &Line, below: &Line) -> usize {
    let tolerance = 0.6 * above.size.max(below.size);
    let aligned = |a: f32, b: f32| (a - b).abs() < tolerance;
    let shares = |cell: &&super::line::Cell| {
        below.cells.iter().any(|other| {
            aligned(cell.x0, other.x0) || aligned(cell.x1, other.x1) || aligned(f32::midpoint(cell.x0, cell.x1), f32::midpoint(other.x0, other.x1))
        })
    };
    above.cells.iter().filter(shares).count()
}
