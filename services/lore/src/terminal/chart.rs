//! A small chart of losses, for a terminal.

/// Rows of the chart.
const ROWS: usize = 8;
/// Columns beside the chart: a number, a space and the axis.
const AXIS: usize = 9;

/// Steps with their loss.
pub type Points = [(u64, f64)];

/// Training losses as `·` (the mean of the steps of a column), losses on the held-out part as `o`, with the highest and the
/// lowest loss beside the axis and the last step below; nothing for fewer than two steps.
pub fn chart(train: &Points, held_out: &Points, width: usize) -> Vec<String> {
    let columns = width.saturating_sub(AXIS).min(72);
    let steps = train.iter().chain(held_out).map(|(step, _)| *step);
    let last = steps.max().unwrap_or(0);
    let train = means(train, last, columns);
    let held_out = means(held_out, last, columns);
    let values = || train.iter().chain(&held_out).flatten().copied();
    let highest = values().fold(f64::NEG_INFINITY, f64::max);
    let lowest = values().fold(f64::INFINITY, f64::min);
    if values().count() < 2 || columns < 8 {
        return Vec::new();
    }
    let mut rows = vec![vec![' '; columns]; ROWS];
    for (losses, sign) in [(&train, '·'), (&held_out, 'o')] {
        for (column, loss) in losses.iter().enumerate() {
            let Some(loss) = loss else { continue };
            let cell = rows
                .get_mut(row(*loss, lowest, highest))
                .and_then(|row| row.get_mut(column));
            if let Some(cell) = cell {
                *cell = sign;
            }
        }
    }
    lines(&rows, lowest, highest, last)
}

/// The mean of each column's finite losses.
fn means(points: &Points, last: u64, columns: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0u32); columns];
    for (step, loss) in points.iter().filter(|(_, loss)| loss.is_finite()) {
        let place = *step as f64 / last.max(1) as f64 * columns.saturating_sub(1) as f64;
        if let Some((sum, count)) = sums.get_mut(place.round() as usize) {
            *sum += loss;
            *count += 1;
        }
    }
    let mean = |(sum, count): (f64, u32)| (count > 0).then(|| sum / f64::from(count));
    sums.into_iter().map(mean).collect()
}

fn row(loss: f64, lowest: f64, highest: f64) -> usize {
    let share = if highest > lowest {
        (highest - loss) / (highest - lowest)
    } else {
        0.5
    };
    ((ROWS - 1) as f64 * share).round() as usize
}

fn lines(rows: &[Vec<char>], lowest: f64, highest: f64, last: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let label = match index {
            0 => format!("{highest:>7.3}"),
            index if index + 1 == rows.len() => format!("{lowest:>7.3}"),
            _ => " ".repeat(7),
        };
        let cells: String = row.iter().collect();
        lines.push(format!("{label} │{}", cells.trim_end()));
    }
    let columns = rows.first().map_or(0, Vec::len);
    let end = format!("step {last}");
    lines.push(format!("{} └{}", " ".repeat(7), "─".repeat(columns)));
    let gap = (AXIS + columns).saturating_sub(end.len());
    lines.push(format!("{}{end}", " ".repeat(gap)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss_goes_from_the_upper_left_to_the_lower_right() {
        let train: Vec<(u64, f64)> = (0..=20)
            .map(|step| (step, 3.0 - step as f64 * 0.1))
            .collect();
        let held_out = [(0, 3.0), (10, 2.2), (20, 1.5)];
        let lines = chart(&train, &held_out, 30);
        // The picture is rough: what counts is where the ends are.
        assert_eq!(lines.len(), 10);
        assert!(lines[0].starts_with("  3.000 │o"), "{lines:#?}");
        assert!(
            lines[7].starts_with("  1.000 │  ") && lines[7].ends_with('·'),
            "{lines:#?}"
        );
        assert_eq!(lines[9].trim(), "step 20");
        assert!(lines.iter().all(|line| line.chars().count() <= 30));
    }

    #[test]
    fn nothing_is_drawn_of_too_little_and_nan_is_left_out() {
        assert!(chart(&[(1, 2.0)], &[], 60).is_empty());
        assert!(chart(&[(1, 2.0), (2, 1.0)], &[], 12).is_empty());
        let lines = chart(&[(0, 2.0), (1, f64::NAN), (2, 2.0)], &[], 40);
        assert!(lines[0].starts_with("  2.000"), "{lines:#?}");
    }
}
