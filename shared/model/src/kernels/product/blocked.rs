//! Matrix products in blocks that fit the caches, from several terms at once: y = x Wᵀ + h Bᵀ goes over y once, and so does
//! the gradient by an input that several layers share.
//!
//! The right factors are rearranged, some columns at a time, so that a tile of the result finds each row of its columns in
//! one piece; the left factors are read where they stand. Where the result has few rows that would cost more than the
//! product: there the right factor is read where it stands, too.
//!
//! # Source
//! Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008; without packing the left factor, whose
//! rows fit the first caches here.

use super::tile::{self, COLUMNS, Left, ROWS, Right};
use super::{Out, View};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// Depth that is worked off in one go: the rows of a tile stay in the second-level cache.
const DEPTH: usize = 1664;
/// Rearranged values that are alive at once: 4 MiB, a part of the third-level cache.
const PACKED: usize = 1 << 20;
/// Values of the left factor that a thread works on while a piece of the right one stays in its cache.
const LEFT: usize = 96 << 10;
/// Up to so many rows the right factor is read where it stands.
const FEW: usize = 64;
/// Depth of a piece of it: its lines stay in the first-level cache.
const THIN: usize = 64;
/// Values in a page of memory: lines so far apart share their place in the first-level cache.
const PAGE: usize = 1024;
/// Values between copied rows, so that they share no place again.
const GAP: usize = 16;

thread_local! {
    /// Room for rearranged values, kept from product to product. A product that begins while another one of this thread
    /// waits takes new room.
    static ROOM: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

type Term<'a> = (View<'a>, View<'a>);

pub(super) fn multiply(mut out: Out<'_>, terms: &[Term<'_>], threads: usize) {
    if out.rows == 0 || out.columns == 0 {
        return;
    }
    let direct = |(_, b): &Term<'_>| b.column_step == 1 && b.row_step >= COLUMNS;
    if out.rows <= FEW && terms.iter().all(direct) {
        return few_rows(&mut out, terms, threads);
    }
    for group in groups(terms) {
        many_rows(&mut out, &group, threads);
        out.add = true;
    }
}

/// The terms cut into groups of at most [`DEPTH`].
fn groups<'a>(terms: &[Term<'a>]) -> Vec<Vec<Term<'a>>> {
    let mut groups: Vec<Vec<Term<'a>>> = vec![Vec::new()];
    let mut room = DEPTH;
    for (a, b) in terms {
        let mut start = 0;
        while start < a.columns {
            if room == 0 {
                groups.push(Vec::new());
                room = DEPTH;
            }
            let end = (start + room).min(a.columns);
            room -= end - start;
            if let Some(group) = groups.last_mut() {
                group.push((a.columns(start..end), b.t().columns(start..end).t()));
            }
            start = end;
        }
    }
    groups
}

/// Rows of each task: so few that the left factor stays in a core's cache, and that every thread has as many tasks.
fn rows_a_task(rows: usize, depth: usize, threads: usize) -> usize {
    let most = (LEFT / depth.max(1)).max(ROWS);
    let tasks = rows.div_ceil(most).next_multiple_of(threads);
    rows.div_ceil(tasks).next_multiple_of(ROWS)
}

fn many_rows(out: &mut Out<'_>, terms: &[Term<'_>], threads: usize) {
    let depth: usize = terms.iter().map(|(a, _)| a.columns).sum();
    if depth == 0 {
        return clear(out);
    }
    let together = (PACKED / depth / COLUMNS).max(1) * COLUMNS;
    let mut room = ROOM.take();
    for first in (0..out.columns).step_by(together) {
        let columns = first..(first + together).min(out.columns);
        let length = columns.len().div_ceil(COLUMNS) * COLUMNS * depth;
        if room.len() < length {
            room.resize(length, 0.0);
        }
        let packed = &mut room[..length];
        pack(packed, terms, &columns, depth, threads);
        let step = out.row_step;
        let rows = rows_a_task(out.rows, depth, threads);
        let task = |(index, values): (usize, &mut [f32])| {
            let first = index * rows;
            let block = Block {
                rows: first..(first + rows).min(out.rows),
                columns: columns.clone(),
                row_step: step,
                add: out.add,
            };
            block.multiply(values, terms, packed, depth);
        };
        let used = (out.rows - 1) * step + out.columns;
        each(&mut out.values[..used], rows * step, threads, task);
    }
    ROOM.set(room);
}

fn clear(out: &mut Out<'_>) {
    if !out.add {
        for row in out.values.chunks_mut(out.row_step).take(out.rows) {
            row[..out.columns].fill(0.0);
        }
    }
}

/// Runs tasks over chunks of values, on several threads where wanted.
fn each(
    values: &mut [f32],
    size: usize,
    threads: usize,
    task: impl Fn((usize, &mut [f32])) + Send + Sync,
) {
    if threads > 1 {
        values.par_chunks_mut(size).enumerate().for_each(task);
    } else {
        values.chunks_mut(size).enumerate().for_each(task);
    }
}

/// Rearranges some columns of the right factors: for each [`COLUMNS`] columns the rows of all terms, one after the other.
fn pack(
    packed: &mut [f32],
    terms: &[Term<'_>],
    columns: &Range<usize>,
    depth: usize,
    threads: usize,
) {
    each(packed, depth * COLUMNS, threads, |(panel, mut out)| {
        let first = columns.start + panel * COLUMNS;
        let width = COLUMNS.min(columns.end - first);
        for (_, b) in terms {
            let (own, rest) = out.split_at_mut(b.rows * COLUMNS);
            if b.column_step == 1 {
                copy_rows(own, *b, first, width);
            } else {
                turn(own, *b, first, width);
            }
            out = rest;
        }
    });
}

/// Rows of `width` columns from `first` on, filled up with zeros.
fn copy_rows(out: &mut [f32], b: View<'_>, first: usize, width: usize) {
    for (row, out) in out.chunks_exact_mut(COLUMNS).enumerate() {
        let start = row * b.row_step + first;
        let (own, rest) = out.split_at_mut(width);
        own.copy_from_slice(&b.values[start..start + width]);
        rest.fill(0.0);
    }
}

/// The same where columns stand in one piece each (`row_step` is 1): in small squares, so that lines are used while they
/// are at hand.
fn turn(out: &mut [f32], b: View<'_>, first: usize, width: usize) {
    // Four lines of each column at a time: with one, the processor does not fetch ahead.
    const SQUARE: usize = 64;
    for (square, out) in out.chunks_mut(SQUARE * COLUMNS).enumerate() {
        let depth = out.len() / COLUMNS;
        for column in 0..COLUMNS {
            if column >= width {
                out.chunks_exact_mut(COLUMNS)
                    .for_each(|row| row[column] = 0.0);
                continue;
            }
            let start = (first + column) * b.column_step + square * SQUARE;
            let from = &b.values[start..start + depth];
            for (row, value) in out.chunks_exact_mut(COLUMNS).zip(from) {
                row[column] = *value;
            }
        }
    }
}

/// Some rows and columns of the result.
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
    row_step: usize,
    add: bool,
}

impl Block {
    /// Fills `out`, which begins at the block's first row.
    fn multiply(&self, out: &mut [f32], terms: &[Term<'_>], packed: &[f32], depth: usize) {
        let moved: Vec<Option<Vec<f32>>> =
            terms.iter().map(|(a, _)| apart(a, &self.rows)).collect();
        let panels = self.columns.clone().step_by(COLUMNS);
        for (first, panel) in panels.zip(packed.chunks(depth * COLUMNS)) {
            let width = COLUMNS.min(self.columns.end - first);
            for row in self.rows.clone().step_by(ROWS) {
                let rows = ROWS.min(self.rows.end - row);
                let out = &mut out[(row - self.rows.start) * self.row_step + first..];
                let (mut add, mut panel) = (self.add, panel);
                for ((a, b), moved) in terms.iter().zip(&moved) {
                    let (own, rest) = panel.split_at(b.rows * COLUMNS);
                    let left = match moved {
                        Some(moved) => moved_left(moved, a.columns, row - self.rows.start),
                        None => left(a, row, 0),
                    };
                    let right = Right {
                        values: own,
                        step: COLUMNS,
                    };
                    let size = (rows, width, b.rows);
                    tile::multiply((out, self.row_step), size, left, right, add);
                    (add, panel) = (true, rest);
                }
            }
        }
    }
}

/// Some rows of a left factor that stand whole pages apart: all would fall into the same few lines of the first cache, and
/// push one another out. A copy stands closer.
fn apart(a: &View<'_>, rows: &Range<usize>) -> Option<Vec<f32>> {
    if a.column_step != 1 || !a.row_step.is_multiple_of(PAGE) || rows.len() < ROWS {
        return None;
    }
    let step = a.columns + GAP;
    let mut copy = vec![0f32; rows.len() * step];
    for (row, out) in rows.clone().zip(copy.chunks_exact_mut(step)) {
        let start = row * a.row_step;
        out[..a.columns].copy_from_slice(&a.values[start..start + a.columns]);
    }
    Some(copy)
}

fn moved_left(moved: &[f32], columns: usize, row: usize) -> Left<'_> {
    Left {
        values: &moved[row * (columns + GAP)..],
        row_step: columns + GAP,
        step: 1,
    }
}

/// A left factor from a row and a column on.
fn left<'a>(a: &View<'a>, row: usize, column: usize) -> Left<'a> {
    Left {
        values: &a.values[row * a.row_step + column * a.column_step..],
        row_step: a.row_step,
        step: a.column_step,
    }
}

/// Products with few rows, over right factors as they are.
fn few_rows(out: &mut Out<'_>, terms: &[Term<'_>], threads: usize) {
    clear(out);
    let (rows, columns, step) = (out.rows, out.columns, out.row_step);
    let rows_a_task = rows.div_ceil(threads).min(rows);
    let used = (rows - 1) * step + columns;
    each(
        &mut out.values[..used],
        rows_a_task * step,
        threads,
        |(index, out)| {
            let own = index * rows_a_task..((index + 1) * rows_a_task).min(rows);
            for (a, b) in terms {
                for depth in (0..b.rows).step_by(THIN) {
                    thin(out, step, &own, (a, b), depth..(depth + THIN).min(b.rows));
                }
            }
        },
    );
}

/// Adds a piece of the depth to some rows of the result.
fn thin(
    out: &mut [f32],
    step: usize,
    rows: &Range<usize>,
    (a, b): (&View<'_>, &View<'_>),
    depth: Range<usize>,
) {
    for first in (0..b.columns).step_by(COLUMNS) {
        let width = COLUMNS.min(b.columns - first);
        let right = Right {
            values: &b.values[depth.start * b.row_step + first..],
            step: b.row_step,
        };
        for row in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - row);
            let out = &mut out[(row - rows.start) * step + first..];
            let left = left(a, row, depth.start);
            tile::multiply((out, step), (count, width, depth.len()), left, right, true);
        }
    }
}
