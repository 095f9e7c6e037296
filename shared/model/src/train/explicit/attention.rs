//! Causal attention that keeps no (tokens × tokens) matrix: scores live for one tile of queries at a time, and are computed
//! again on the way back.
//!
//! # Source
//! Dao et al., `FlashAttention`, 2022: the same two passes. A tile here holds all keys that its queries see, so that each
//! row is softened as a whole, and on the way back to the same bits. Rows' sums Σ P ∘ dP are taken from these, not from the
//! output's gradient as there: where all dP are nearly equal, the small differences that q and k learn from would be lost.

use super::heads::{Head, pieces};
use crate::kernels::product::{Out, View, product_alone};
use crate::kernels::{Heads, dispatch, math, softmax_within, visible};
use rayon::prelude::*;
use std::ops::Range;

/// Queries whose scores are alive at once, on each thread.
const TILE: usize = 64;

/// One key head of one example with the query heads that share it: (group · tokens, width) and (tokens, width).
#[derive(Clone, Copy)]
struct Group<'a> {
    heads: &'a Heads,
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    tokens: usize,
}

/// A tile of queries of one query head, and the keys that any of them sees.
struct Tile {
    /// Rows of the group.
    rows: Range<usize>,
    /// Position of the first query.
    first: usize,
    seen: Range<usize>,
}

/// Queries, keys and values of a micro-batch, by heads.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) heads: &'a Heads,
    pub(super) segments: &'a [Range<usize>],
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

impl<'a> Attention<'a> {
    fn group(&self, segment: usize, head: usize) -> Group<'a> {
        let (heads, rows) = (self.heads, &self.segments[segment]);
        let of = |values: &'a [f32], row: usize, together: usize| {
            let start = rows.start * row + head * together * rows.len();
            &values[start..start + rows.len() * together]
        };
        let (query_row, key_row) = (heads.queries * heads.width, heads.keys * heads.width);
        Group {
            heads,
            queries: of(self.queries, query_row, query_row / heads.keys),
            keys: of(self.keys, key_row, heads.width),
            values: of(self.values, key_row, heads.width),
            tokens: rows.len(),
        }
    }

    /// Fills `out` by heads, as the queries are.
    pub(super) fn forward(&self, out: &mut [f32]) {
        let row = self.heads.queries * self.heads.width;
        pieces(out, self.segments, row, row / self.heads.keys)
            .into_par_iter()
            .for_each(|out| self.group(out.segment, out.head).forward(out.values));
    }

    /// Fills the gradients of queries, keys and values from that of the output, all by heads.
    pub(super) fn backward(&self, gradient: &[f32], [dq, dk, dv]: [&mut [f32]; 3]) {
        let heads = self.heads;
        let (row, key_row) = (heads.queries * heads.width, heads.keys * heads.width);
        let together = row / heads.keys;
        let dq = pieces(dq, self.segments, row, together);
        let dk = pieces(dk, self.segments, key_row, heads.width);
        let dv = pieces(dv, self.segments, key_row, heads.width);
        dq.into_par_iter()
            .zip(dk)
            .zip(dv)
            .for_each(|((dq, dk), dv)| {
                let Head { segment, head, .. } = dq;
                let rows = &self.segments[segment];
                let start = rows.start * row + head * together * rows.len();
                let gradient = &gradient[start..start + together * rows.len()];
                let outs = [dq.values, dk.values, dv.values];
                self.group(segment, head).backward(gradient, outs);
            });
    }
}

impl Group<'_> {
    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let (tokens, window) = (self.tokens, self.heads.window);
        let group = self.heads.queries / self.heads.keys;
        (0..group).flat_map(move |head| {
            (0..tokens).step_by(TILE).map(move |first| {
                let end = (first + TILE).min(tokens);
                Tile {
                    rows: head * tokens + first..head * tokens + end,
                    first,
                    seen: visible(first, window).start..end,
                }
            })
        })
    }

    /// Some rows of a matrix as wide as a head.
    fn rows<'b>(&self, values: &'b [f32], rows: &Range<usize>) -> View<'b> {
        let width = self.heads.width;
        View::new(&values[rows.start * width..rows.end * width], width)
    }

    fn out<'b>(&self, values: &'b mut [f32], rows: &Range<usize>) -> Out<'b> {
        let width = self.heads.width;
        Out::new(&mut values[rows.start * width..rows.end * width], width)
    }

    /// A matrix as wide as a head, turned: (width, tokens). Products with it need not rearrange it for every tile.
    fn turned(&self, values: &[f32]) -> Vec<f32> {
        let mut out = vec![0f32; values.len()];
        for (token, row) in values.chunks(self.heads.width).enumerate() {
            for (value, out) in row.iter().zip(out.chunks_mut(self.tokens)) {
                out[token] = *value;
            }
        }
        out
    }

    /// Some columns of what [`Group::turned`] gave.
    fn columns<'b>(&self, turned: &'b [f32], columns: &Range<usize>) -> View<'b> {
        View::new(turned, self.tokens).columns(columns.clone())
    }

    fn scores<'b>(&self, scratch: &'b mut [f32], tile: &Tile, keys: &[f32]) -> &'b mut [f32] {
        let scores = &mut scratch[..tile.rows.len() * tile.seen.len()];
        product_alone(
            Out::new(scores, tile.seen.len()),
            self.rows(self.queries, &tile.rows),
            self.columns(keys, &tile.seen),
        );
        scores
    }

    /// What a query of the tile sees, counted from the first key that any of them sees.
    fn seen(&self, tile: &Tile, row: usize) -> Range<usize> {
        let seen = visible(tile.first + row, self.heads.window);
        seen.start - tile.seen.start..seen.end - tile.seen.start
    }

    fn forward(&self, out: &mut [f32]) {
        let mut scratch = vec![0f32; TILE * self.tokens];
        let keys = self.turned(self.keys);
        for tile in self.tiles() {
            let scores = self.scores(&mut scratch, &tile, &keys);
            for (row, scores) in scores.chunks_mut(tile.seen.len()).enumerate() {
                softmax_within(scores, self.seen(&tile, row), self.heads.scale);
            }
            product_alone(
                self.out(out, &tile.rows),
                View::new(scores, tile.seen.len()),
                self.rows(self.values, &tile.seen),
            );
        }
    }

    /// dV = Pᵀ dO; dS = scale · P ∘ (dP - Σ P ∘ dP) with dP = dO Vᵀ; dQ = dS K; dK = dSᵀ Q.
    fn backward(&self, gradient: &[f32], [dq, dk, dv]: [&mut [f32]; 3]) {
        let (mut scratch, mut slopes) = (
            vec![0f32; TILE * self.tokens],
            vec![0f32; TILE * self.tokens],
        );
        let (turned_keys, turned_values) = (self.turned(self.keys), self.turned(self.values));
        dk.fill(0.0);
        dv.fill(0.0);
        for tile in self.tiles() {
            let keys = tile.seen.len();
            let p = self.scores(&mut scratch, &tile, &turned_keys);
            let gradient = self.rows(gradient, &tile.rows);
            let slopes = &mut slopes[..tile.rows.len() * keys];
            let values = self.columns(&turned_values, &tile.seen);
            product_alone(Out::new(slopes, keys), gradient, values);
            let rows = p.chunks_mut(keys).zip(slopes.chunks_mut(keys));
            for (row, (p, slopes)) in rows.enumerate() {
                let seen = self.seen(&tile, row);
                softmax_within(p, seen.clone(), self.heads.scale);
                slope(p, slopes, seen, self.heads.scale);
            }
            let (p, slopes) = (View::new(p, keys), View::new(slopes, keys));
            product_alone(self.out(dv, &tile.seen).adding(true), p.t(), gradient);
            let keys = self.rows(self.keys, &tile.seen);
            product_alone(self.out(dq, &tile.rows), slopes, keys);
            let queries = self.rows(self.queries, &tile.rows);
            product_alone(self.out(dk, &tile.seen).adding(true), slopes.t(), queries);
        }
    }
}

/// dP to dS, in place.
#[inline(always)]
fn slope_body<const FUSED: bool>(p: &[f32], slopes: &mut [f32], seen: Range<usize>, scale: f32) {
    let end = seen.end.min(p.len()).min(slopes.len());
    let start = seen.start.min(end);
    slopes[..start].fill(0.0);
    slopes[end..].fill(0.0);
    let (p, slopes) = (&p[start..end], &mut slopes[start..end]);
    let dot = math::dot::<FUSED>(p, slopes);
    for (p, slope) in p.iter().zip(slopes) {
        *slope = scale * p * (*slope - dot);
    }
}
dispatch!(slope, slope_body, (p: &[f32], slopes: &mut [f32], seen: Range<usize>, scale: f32));
