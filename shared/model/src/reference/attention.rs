use super::Real;
use crate::kernels::{Heads, visible};
use std::ops::Range;

/// Queries and the keys that they may look at; the queries belong to the last of these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Rows of the packed queries.
    pub(crate) queries: Range<usize>,
    /// Rows of the packed keys and values.
    pub(crate) keys: Range<usize>,
}

impl Span {
    /// A sequence that attends to itself, as in training.
    pub(crate) fn of(rows: Range<usize>) -> Self {
        Self {
            queries: rows.clone(),
            keys: rows,
        }
    }
}

/// Causal attention with grouped heads and a sliding window over packed sequences.
///
/// # Shapes
/// Queries and results (rows, heads · width), keys and values (rows, key heads · width), log-sums (heads, rows).
pub(crate) struct Attention<'a> {
    pub(crate) heads: Heads,
    pub(crate) spans: &'a [Span],
}

/// One query head and one query: where it stands, what it sees.
struct Place {
    head: usize,
    row: usize,
    query: Range<usize>,
    /// First element and row of each key that is seen.
    keys: Vec<Range<usize>>,
}

impl Attention<'_> {
    fn places(&self) -> impl Iterator<Item = Place> {
        let Heads {
            queries,
            keys,
            width,
            window,
            ..
        } = self.heads;
        let place = move |span: &Span, head: usize, index: usize| {
            let row = span.queries.start + index;
            let position = span.keys.len() - span.queries.len() + index;
            let at = (row * queries + head) * width;
            let key = |key: usize| {
                let at = ((span.keys.start + key) * keys + head * keys / queries) * width;
                at..at + width
            };
            Place {
                head,
                row,
                query: at..at + width,
                keys: visible(position, window).map(key).collect(),
            }
        };
        self.spans.iter().flat_map(move |span| {
            (0..queries).flat_map(move |head| {
                (0..span.queries.len()).map(move |index| place(span, head, index))
            })
        })
    }

    fn rows(&self) -> usize {
        self.spans
            .iter()
            .map(|span| span.queries.end)
            .max()
            .unwrap_or(0)
    }

    /// Results, and log Σ exp(scale · q · k) of each head and row.
    pub(crate) fn forward<R: Real>(&self, q: &[R], k: &[R], v: &[R]) -> (Vec<R>, Vec<R>) {
        let rows = self.rows();
        let mut out = vec![R::of(0.0); q.len()];
        let mut log_sums = vec![R::of(0.0); self.heads.queries * rows];
        for place in self.places() {
            let scores = self.scores(&place, q, k);
            let largest = scores
                .iter()
                .fold(scores[0], |most, x| if *x > most { *x } else { most });
            let sum: R = scores.iter().map(|score| (*score - largest).exp()).sum();
            let log_sum = largest + sum.ln();
            log_sums[place.head * rows + place.row] = log_sum;
            let out = &mut out[place.query.clone()];
            for (score, key) in scores.iter().zip(&place.keys) {
                let probability = (*score - log_sum).exp();
                add_scaled(out, probability, &v[key.clone()]);
            }
        }
        (out, log_sums)
    }

    fn scores<R: Real>(&self, place: &Place, q: &[R], k: &[R]) -> Vec<R> {
        let scale = R::of(f64::from(self.heads.scale));
        let score = |key: &Range<usize>| dot(&q[place.query.clone()], &k[key.clone()]) * scale;
        place.keys.iter().map(score).collect()
    }

    /// The gradients of queries, keys and values, from those of the results.
    ///
    /// # Source
    /// Dao, `FlashAttention-2`, 2023, algorithm 2: dS = P (dO Vᵀ - rowsum(dO · O)).
    pub(crate) fn backward<R: Real>(
        &self,
        [q, k, v]: [&[R]; 3],
        out: &[R],
        log_sums: &[R],
        gradient: &[R],
    ) -> [Vec<R>; 3] {
        let (rows, scale) = (self.rows(), R::of(f64::from(self.heads.scale)));
        let zeros = |of: &[R]| vec![R::of(0.0); of.len()];
        let (mut to_q, mut to_k, mut to_v) = (zeros(q), zeros(k), zeros(v));
        for place in self.places() {
            let (query, own) = (&q[place.query.clone()], &gradient[place.query.clone()]);
            let inner = dot(own, &out[place.query.clone()]);
            let log_sum = log_sums[place.head * rows + place.row];
            for (score, key) in self.scores(&place, q, k).into_iter().zip(&place.keys) {
                let probability = (score - log_sum).exp();
                let slope = probability * (dot(own, &v[key.clone()]) - inner) * scale;
                add_scaled(&mut to_v[key.clone()], probability, own);
                add_scaled(&mut to_k[key.clone()], slope, query);
                add_scaled(&mut to_q[place.query.clone()], slope, &k[key.clone()]);
            }
        }
        [to_q, to_k, to_v]
    }
}

fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    a.iter().zip(b).map(|(a, b)| *a * *b).sum()
}

fn add_scaled<R: Real>(out: &mut [R], factor: R, values: &[R]) {
    out.iter_mut()
        .zip(values)
        .for_each(|(out, value)| *out += factor * *value);
}
