//! Rows (tokens, heads · width) as heads (segment, head, tokens, width), in which attention finds each head in one piece, and back.

use super::batch::Angled;
use rayon::prelude::*;
use std::ops::Range;

/// One head of one segment.
pub(super) struct Head<'a> {
    pub(super) segment: usize,
    pub(super) head: usize,
    /// (tokens, width).
    pub(super) values: &'a mut [f32],
}

/// Cuts a buffer of heads into pieces of `together` heads of one segment.
pub(super) fn pieces<'a>(
    mut values: &'a mut [f32],
    segments: &[Range<usize>],
    row: usize,
    together: usize,
) -> Vec<Head<'a>> {
    let mut pieces = Vec::new();
    for (segment, rows) in segments.iter().enumerate() {
        for head in 0..row / together.max(1) {
            let (piece, rest) = values.split_at_mut(rows.len() * together);
            values = rest;
            pieces.push(Head {
                segment,
                head,
                values: piece,
            });
        }
    }
    pieces
}

/// Rows to heads, turned by the angles where there are any.
pub(super) fn split(
    out: &mut [f32],
    rows: &[f32],
    segments: &[Range<usize>],
    row: usize,
    width: usize,
    angles: Option<Angled<'_>>,
) {
    pieces(out, segments, row, width)
        .into_par_iter()
        .for_each(|piece| {
            let first = segments[piece.segment].start;
            for (token, out) in piece.values.chunks_mut(width).enumerate() {
                let start = (first + token) * row + piece.head * width;
                out.copy_from_slice(&rows[start..start + width]);
                if let Some(angles) = angles {
                    angles.turn(out, first + token, 1.0);
                }
            }
        });
}

/// Heads to rows, turned back by the angles where there are any.
pub(super) fn join(
    out: &mut [f32],
    heads: &[f32],
    segments: &[Range<usize>],
    row: usize,
    width: usize,
    angles: Option<Angled<'_>>,
) {
    pieces(out, segments, row, row)
        .into_par_iter()
        .for_each(|piece| {
            let Range { start, end } = segments[piece.segment].clone();
            let tokens = end - start;
            piece
                .values
                .par_chunks_mut(row)
                .enumerate()
                .for_each(|(token, out)| {
                    for (head, out) in out.chunks_mut(width).enumerate() {
                        let from = start * row + (head * tokens + token) * width;
                        out.copy_from_slice(&heads[from..from + width]);
                        if let Some(angles) = angles {
                            angles.turn(out, start + token, -1.0);
                        }
                    }
                });
        });
}
