use super::{dispatch, math, visible};
use rayon::prelude::*;

/// Keys · heads above which the heads of a token are spread over threads.
const PARALLEL_FROM: usize = 1024;

/// The shape of attention: how heads lie in rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// Query heads.
    pub(crate) queries: usize,
    /// Key and value heads.
    pub(crate) keys: usize,
    /// Width of each.
    pub(crate) width: usize,
    /// Sliding window.
    pub(crate) window: Option<usize>,
    /// Multiplies query · key.
    pub(crate) scale: f32,
}

/// One token's query (heads · width) with the keys and values (positions, key heads · width) that it looks at.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) keys: &'a [f32],
    pub(crate) cached: &'a [f32],
    pub(crate) position: usize,
}

/// Attention of one token, exact (no approximation, float32): writes (heads · width) to `out`.
pub(crate) fn attend(heads: &Heads, query: Query<'_>, out: &mut [f32]) {
    let group = heads.queries / heads.keys * heads.width;
    let one = |(head, out): (usize, &mut [f32])| attend_group(heads, query, head, out);
    if (query.position + 1) * heads.queries >= PARALLEL_FROM {
        out.par_chunks_mut(group).enumerate().for_each(one);
    } else {
        out.chunks_mut(group).enumerate().for_each(one);
    }
}

/// All query heads that share key head `head`, so that keys and values are read once.
#[inline(always)]
fn attend_group_body<const FUSED: bool>(
    heads: &Heads,
    query: Query<'_>,
    head: usize,
    out: &mut [f32],
) {
    let (width, stride) = (heads.width, heads.keys * heads.width);
    let seen = visible(query.position, heads.window);
    let group = heads.queries / heads.keys;
    let queries = &query.values[head * group * width..(head + 1) * group * width];
    let count = seen.len();
    let mut scores = vec![0f32; group * count];
    for (index, position) in seen.clone().enumerate() {
        let at = position * stride + head * width;
        let key = &query.keys[at..at + width];
        for (member, query) in queries.chunks_exact(width).enumerate() {
            scores[member * count + index] = math::dot::<FUSED>(query, key) * heads.scale;
        }
    }
    for scores in scores.chunks_exact_mut(count) {
        normalise::<FUSED>(scores);
    }
    out.fill(0.0);
    for (index, position) in seen.enumerate() {
        let at = position * stride + head * width;
        let value = &query.cached[at..at + width];
        for (member, out) in out.chunks_exact_mut(width).enumerate() {
            math::add_scaled::<FUSED>(out, scores[member * count + index], value);
        }
    }
}

dispatch!(attend_group, attend_group_body, (heads: &Heads, query: Query<'_>, head: usize, out: &mut [f32]));

#[inline(always)]
fn normalise<const FUSED: bool>(scores: &mut [f32]) {
    let largest = scores
        .iter()
        .fold(f32::NEG_INFINITY, |largest, score| largest.max(*score));
    for score in scores.iter_mut() {
        *score = math::exp::<FUSED>(*score - largest);
    }
    let sum: f32 = scores.iter().sum();
    for score in scores {
        *score /= sum;
    }
}
