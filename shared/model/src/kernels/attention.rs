use super::{dispatch, math, visible};
use rayon::prelude::*;
use std::ops::Range;

/// Positions that are looked at in one go.
const PIECE: usize = 256;
/// Positions · query heads above which the pieces are spread over threads.
const PARALLEL_FROM: usize = 2048;

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

/// What a query sees of one piece: of each head the largest score, the sum of e^(score - largest), and the values weighted
/// with these (heads, width).
pub(crate) struct Seen {
    largest: Vec<f32>,
    weights: Vec<f32>,
    sums: Vec<f32>,
}

/// Attention of single tokens, each with a cache of its own, exact (no approximation, float32): writes (tokens, heads · width)
/// to `out`. A token gets the same bits whatever other tokens are computed with it.
pub(crate) fn attend_few(heads: &Heads, queries: &[Query<'_>], out: &mut [f32]) {
    let tasks: Vec<(Query<'_>, Range<usize>)> = queries
        .iter()
        .flat_map(|query| pieces(heads, query).map(|piece| (*query, piece)))
        .collect();
    let work: usize = tasks.iter().map(|(_, piece)| piece.len()).sum();
    let look = |(query, piece): (Query<'_>, Range<usize>)| look(heads, query, piece);
    let seen: Vec<Seen> = if tasks.len() > 1 && work * heads.queries >= PARALLEL_FROM {
        tasks.into_par_iter().map(look).collect()
    } else {
        tasks.into_iter().map(look).collect()
    };
    let mut seen = seen.into_iter();
    for (query, out) in queries
        .iter()
        .zip(out.chunks_mut(heads.queries * heads.width))
    {
        let pieces = pieces(heads, query).count();
        join(heads, seen.by_ref().take(pieces), out);
    }
}

/// The positions that a query sees, cut at multiples of [`PIECE`].
fn pieces(heads: &Heads, query: &Query<'_>) -> impl Iterator<Item = Range<usize>> + use<> {
    let seen = visible(query.position, heads.window);
    let first = seen.start / PIECE * PIECE;
    let end = seen.end;
    let starts = (first..end).step_by(PIECE);
    starts.map(move |start| start.max(seen.start)..(start + PIECE).min(end))
}

fn look(heads: &Heads, query: Query<'_>, piece: Range<usize>) -> Seen {
    let mut seen = Seen {
        largest: vec![f32::NEG_INFINITY; heads.queries],
        weights: vec![0.0; heads.queries],
        sums: vec![0.0; heads.queries * heads.width],
    };
    look_at(heads, query, piece, &mut seen);
    seen
}

/// Position by position, so that keys and values are read from front to back.
#[inline(always)]
fn look_at_body<const FUSED: bool>(
    heads: &Heads,
    query: Query<'_>,
    piece: Range<usize>,
    seen: &mut Seen,
) {
    let (width, stride, count) = (heads.width, heads.keys * heads.width, piece.len());
    let group = heads.queries / heads.keys;
    let rows = piece.start * stride..piece.end * stride;
    let mut scores = vec![0f32; heads.queries * count];
    for (index, keys) in query.keys[rows.clone()].chunks_exact(stride).enumerate() {
        let members = query.values.chunks_exact(group * width);
        for (key_head, (key, members)) in keys.chunks_exact(width).zip(members).enumerate() {
            for (member, query) in members.chunks_exact(width).enumerate() {
                scores[(key_head * group + member) * count + index] =
                    math::dot::<FUSED>(query, key) * heads.scale;
            }
        }
    }
    for (head, scores) in scores.chunks_exact_mut(count).enumerate() {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in scores.iter_mut() {
            *score = math::exp::<FUSED>(*score - largest);
        }
        seen.largest[head] = largest;
        seen.weights[head] = math::sum(scores);
    }
    for (index, values) in query.cached[rows].chunks_exact(stride).enumerate() {
        let members = seen.sums.chunks_exact_mut(group * width);
        for (key_head, (value, members)) in values.chunks_exact(width).zip(members).enumerate() {
            for (member, sums) in members.chunks_exact_mut(width).enumerate() {
                let weight = scores[(key_head * group + member) * count + index];
                math::add_scaled::<FUSED, f32>(sums, weight, value);
            }
        }
    }
}

dispatch!(look_at, look_at_body, (heads: &Heads, query: Query<'_>, piece: Range<usize>, seen: &mut Seen));

/// Puts together what was seen piece by piece.
fn join(heads: &Heads, pieces: impl Iterator<Item = Seen>, out: &mut [f32]) {
    let mut all: Option<Seen> = None;
    for piece in pieces {
        let Some(all) = all.as_mut() else {
            all = Some(piece);
            continue;
        };
        for head in 0..heads.queries {
            let largest = all.largest[head].max(piece.largest[head]);
            let keep = math::exp::<false>(all.largest[head] - largest);
            let add = math::exp::<false>(piece.largest[head] - largest);
            all.largest[head] = largest;
            all.weights[head] = all.weights[head] * keep + piece.weights[head] * add;
            let range = head * heads.width..(head + 1) * heads.width;
            let sums = all.sums[range.clone()].iter_mut().zip(&piece.sums[range]);
            sums.for_each(|(sum, more)| *sum = *sum * keep + more * add);
        }
    }
    let Some(all) = all else { return };
    for (head, (out, sums)) in out
        .chunks_exact_mut(heads.width)
        .zip(all.sums.chunks_exact(heads.width))
        .enumerate()
    {
        let places = out.iter_mut().zip(sums);
        places.for_each(|(out, sum)| *out = sum / all.weights[head]);
    }
}
