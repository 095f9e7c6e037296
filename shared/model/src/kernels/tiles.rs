use super::attention::Heads;
use super::product::{Out, View, product_alone};
use super::{dispatch, math, visible};
use rayon::prelude::*;
use std::ops::Range;

/// Tokens whose queries are handled together, and keys that they meet at a time.
const TOKENS: usize = 32;
const KEYS: usize = 128;

/// Queries (tokens, heads · width) of consecutive tokens with the keys and values (positions, key heads · width) that they
/// look at; the first token stands at position `offset`.
#[derive(Clone, Copy)]
pub(crate) struct Queries<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) keys: &'a [f32],
    pub(crate) cached: &'a [f32],
    pub(crate) offset: usize,
}

/// Causal attention of many tokens in float32, tile by tile, so that the scores of all tokens with all positions never stand
/// in memory: writes (tokens, heads · width) to `out`.
///
/// # Guarantees
/// Tiles of keys begin at multiples of 128 positions, so that a token gets the same numbers however the tokens before it
/// were cut into calls.
///
/// # Source
/// The running softmax of Milakov and Gimelshein (2018), as in FlashAttention.
pub(crate) fn attend_many(heads: &Heads, queries: Queries<'_>, out: &mut [f32]) {
    let width = heads.queries * heads.width;
    let tokens = out.len() / width;
    let share = tokens.div_ceil(2 * rayon::current_num_threads());
    let together = share.clamp(1, TOKENS);
    out.par_chunks_mut(together * width)
        .enumerate()
        .for_each(|(index, out)| {
            for head in 0..heads.keys {
                Tile::new(heads, queries, index * together, out.len() / width, head).attend(out);
            }
        });
}

/// The query heads of some tokens that share one key head. Row r is head member r % group of token r / group.
struct Tile<'a> {
    heads: &'a Heads,
    queries: Queries<'a>,
    first: usize,
    head: usize,
    rows: usize,
    /// (rows, width), scaled.
    scaled: Vec<f32>,
    /// (rows, keys): scores, then e^(score - largest).
    scores: Vec<f32>,
    /// (rows, width): sums of values weighted so far.
    sums: Vec<f32>,
    /// Of each row: the largest score so far, and the sum of the weights.
    largest: Vec<f32>,
    weights: Vec<f32>,
}

impl<'a> Tile<'a> {
    fn new(
        heads: &'a Heads,
        queries: Queries<'a>,
        first: usize,
        tokens: usize,
        head: usize,
    ) -> Self {
        let group = heads.queries / heads.keys;
        let rows = tokens * group;
        let member = group * heads.width;
        let scaled = (first..first + tokens).flat_map(|token| {
            let at = token * heads.queries * heads.width + head * member;
            &queries.values[at..at + member]
        });
        Self {
            heads,
            queries,
            first,
            head,
            rows,
            scaled: scaled.map(|value| value * heads.scale).collect(),
            scores: vec![0.0; rows * KEYS],
            sums: vec![0.0; rows * heads.width],
            largest: vec![f32::NEG_INFINITY; rows],
            weights: vec![0.0; rows],
        }
    }

    fn group(&self) -> usize {
        self.heads.queries / self.heads.keys
    }

    /// The positions that row `row` sees.
    fn seen(&self, row: usize) -> Range<usize> {
        let position = self.queries.offset + self.first + row / self.group();
        visible(position, self.heads.window)
    }

    fn attend(mut self, out: &mut [f32]) {
        let (start, end) = (self.seen(0).start, self.seen(self.rows - 1).end);
        for keys in (start / KEYS * KEYS..end).step_by(KEYS) {
            self.add(keys..(keys + KEYS).min(end));
        }
        self.write(out);
    }

    /// Lets every row look at the keys at these positions.
    fn add(&mut self, keys: Range<usize>) {
        let (width, stride) = (self.heads.width, self.heads.keys * self.heads.width);
        let at = keys.start * stride + self.head * width;
        let view = |values: &'a [f32]| View {
            values: &values[at..],
            rows: keys.len(),
            columns: width,
            row_step: stride,
            column_step: 1,
        };
        let scores = &mut self.scores[..self.rows * keys.len()];
        product_alone(
            Out::new(scores, keys.len()),
            View::new(&self.scaled, width),
            view(self.queries.keys).t(),
        );
        for row in 0..self.rows {
            let seen = self.seen(row);
            let seen = seen.start.max(keys.start)..seen.end.min(keys.end);
            let scores = &mut self.scores[row * keys.len()..(row + 1) * keys.len()];
            if seen.is_empty() {
                scores.fill(0.0);
                continue;
            }
            weigh(
                scores,
                seen.start - keys.start..seen.end - keys.start,
                &mut self.largest[row],
                &mut self.weights[row],
                &mut self.sums[row * width..(row + 1) * width],
            );
        }
        let scores = &self.scores[..self.rows * keys.len()];
        product_alone(
            Out::new(&mut self.sums, width).adding(true),
            View::new(scores, keys.len()),
            view(self.queries.cached),
        );
    }

    fn write(&self, out: &mut [f32]) {
        let (width, group) = (self.heads.width, self.group());
        for (row, (sums, weights)) in self.sums.chunks(width).zip(&self.weights).enumerate() {
            let head = self.head * group + row % group;
            let at = (row / group * self.heads.queries + head) * width;
            let places = out[at..at + width].iter_mut().zip(sums);
            places.for_each(|(out, sum)| *out = sum / weights);
        }
    }
}

/// Turns the scores of one row into weights, and rescales what was summed before where a larger score appears.
#[inline(always)]
fn weigh_body<const FUSED: bool>(
    scores: &mut [f32],
    seen: Range<usize>,
    largest: &mut f32,
    weights: &mut f32,
    sums: &mut [f32],
) {
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let scores = &mut scores[seen];
    let mut lanes = [f32::NEG_INFINITY; math::LANES];
    let parts = scores.chunks_exact(math::LANES);
    let rest = parts.remainder().iter().copied().fold(*largest, f32::max);
    for part in parts {
        for lane in 0..math::LANES {
            lanes[lane] = lanes[lane].max(part[lane]);
        }
    }
    let new = lanes.iter().copied().fold(rest, f32::max);
    let shrink = math::exp::<FUSED>(*largest - new);
    if shrink != 1.0 {
        sums.iter_mut().for_each(|sum| *sum *= shrink);
    }
    for score in scores.iter_mut() {
        *score = math::exp::<FUSED>(*score - new);
    }
    *weights = *weights * shrink + math::sum(scores);
    *largest = new;
}

dispatch!(weigh, weigh_body, (scores: &mut [f32], seen: Range<usize>, largest: &mut f32, weights: &mut f32, sums: &mut [f32]));
