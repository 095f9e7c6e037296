use super::cache::LayerCache;
use crate::error::Result;
use crate::kernels::{Heads, Queries, Query, attend_few, attend_many, cpu_values, visible};
use candle_core::{Device, Tensor};
use std::ops::Range;

/// From this many tokens on, matrix products beat a loop over single queries.
const TILES_FROM_TOKENS: usize = 8;

/// New tokens of one sequence: their rows among all queries, and the cache that holds `offset + rows` positions.
pub(crate) struct Cached {
    pub(crate) rows: Range<usize>,
    pub(crate) cache: LayerCache,
    pub(crate) offset: usize,
}

/// Attention of new tokens against their caches, without a graph.
///
/// # Shapes
/// `queries` (rows, heads · width) of all sequences, in the order of `sequences` and without gaps. Result: as `queries`.
pub(crate) fn attend_cached(
    heads: &Heads,
    queries: &Tensor,
    sequences: &[Cached],
) -> Result<Tensor> {
    let queries = queries.contiguous()?;
    let few = |sequence: &Cached| sequence.rows.len() < TILES_FROM_TOKENS;
    if queries.device().is_cpu() && sequences.iter().all(few) {
        return attend_single(heads, &queries, sequences);
    }
    let one = |sequence: &Cached| {
        let own = queries.narrow(0, sequence.rows.start, sequence.rows.len())?;
        #[cfg(feature = "cuda")]
        if crate::cuda::computes(&own) {
            let (keys, values) = (&sequence.cache.keys, &sequence.cache.values);
            let positions = sequence.offset + sequence.rows.len();
            return crate::cuda::cached_attention(heads, &own, keys, values, positions);
        }
        if !queries.device().is_cpu() {
            attend_masked(heads, &own, &sequence.cache, sequence.offset)
        } else if few(sequence) {
            let rows = 0..sequence.rows.len();
            let cache = sequence.cache.clone();
            let offset = sequence.offset;
            attend_single(
                heads,
                &own,
                &[Cached {
                    rows,
                    cache,
                    offset,
                }],
            )
        } else {
            attend_tiles(heads, &own, sequence)
        }
    };
    let mut parts = sequences.iter().map(one).collect::<Result<Vec<_>>>()?;
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    Ok(Tensor::cat(&parts, 0)?)
}

fn attend_single(heads: &Heads, queries: &Tensor, sequences: &[Cached]) -> Result<Tensor> {
    let width = heads.queries * heads.width;
    let mut out = vec![0f32; queries.elem_count()];
    let own = cpu_values(queries);
    let values = own.get()?;
    let caches = sequences
        .iter()
        .map(|sequence| {
            let cache = &sequence.cache;
            (cpu_values(&cache.keys), cpu_values(&cache.values))
        })
        .collect::<Vec<_>>();
    let mut tokens = Vec::with_capacity(queries.dim(0)?);
    for (sequence, (keys, cached)) in sequences.iter().zip(&caches) {
        let (keys, cached) = (keys.get()?, cached.get()?);
        tokens.extend(sequence.rows.clone().enumerate().map(|(index, row)| Query {
            values: &values[row * width..(row + 1) * width],
            keys,
            cached,
            position: sequence.offset + index,
        }));
    }
    attend_few(heads, &tokens, &mut out);
    Ok(Tensor::from_vec(out, queries.dims(), &Device::Cpu)?)
}

fn attend_tiles(heads: &Heads, queries: &Tensor, sequence: &Cached) -> Result<Tensor> {
    let mut out = vec![0f32; queries.elem_count()];
    let (keys, cached) = (&sequence.cache.keys, &sequence.cache.values);
    let queries = cpu_values(queries);
    let (keys, cached) = (cpu_values(keys), cpu_values(cached));
    let own = Queries {
        values: queries.get()?,
        keys: keys.get()?,
        cached: cached.get()?,
        offset: sequence.offset,
    };
    attend_many(heads, own, &mut out);
    Ok(Tensor::from_vec(
        out,
        (sequence.rows.len(), heads.queries * heads.width),
        &Device::Cpu,
    )?)
}

/// Queries as (key heads, tokens · group, width).
fn grouped(heads: &Heads, queries: &Tensor) -> Result<Tensor> {
    let tokens = queries.dim(0)?;
    let group = heads.queries / heads.keys;
    let split = queries
        .reshape((tokens, heads.keys, group, heads.width))?
        .transpose(0, 1)?
        .contiguous()?;
    Ok(split.reshape((heads.keys, tokens * group, heads.width))?)
}

/// The reverse of [`grouped`], with heads side by side again.
fn ungrouped(heads: &Heads, x: &Tensor, tokens: usize) -> Result<Tensor> {
    let group = heads.queries / heads.keys;
    let split = x
        .reshape((heads.keys, tokens, group, heads.width))?
        .transpose(0, 1)?
        .contiguous()?;
    Ok(split.reshape((tokens, heads.queries * heads.width))?)
}

/// Keys and values as (key heads, positions, width).
fn cached_heads(heads: &Heads, cache: &LayerCache, positions: usize) -> Result<(Tensor, Tensor)> {
    let split = |rows: &Tensor| -> Result<Tensor> {
        let rows = rows
            .narrow(0, 0, positions)?
            .reshape((positions, heads.keys, heads.width))?;
        Ok(rows.transpose(0, 1)?)
    };
    Ok((split(&cache.keys)?, split(&cache.values)?))
}

/// The same with an additive mask, for devices without the kernels of this crate.
fn attend_masked(
    heads: &Heads,
    queries: &Tensor,
    cache: &LayerCache,
    offset: usize,
) -> Result<Tensor> {
    let tokens = queries.dim(0)?;
    let (keys, values) = cached_heads(heads, cache, offset + tokens)?;
    let scores = grouped(heads, queries)?.matmul(&keys.transpose(1, 2)?.contiguous()?)?;
    let mask = mask(heads, tokens, offset, queries.device())?;
    let scores = (scores * f64::from(heads.scale))?.broadcast_add(&mask)?;
    let probabilities = candle_nn::ops::softmax_last_dim(&scores)?;
    ungrouped(heads, &probabilities.matmul(&values.contiguous()?)?, tokens)
}

/// 0 where a row may look and -∞ elsewhere: (1, tokens · group, positions).
pub(crate) fn mask(heads: &Heads, tokens: usize, offset: usize, device: &Device) -> Result<Tensor> {
    let (group, positions) = (heads.queries / heads.keys, offset + tokens);
    let mut values = vec![f32::NEG_INFINITY; tokens * group * positions];
    for (row, values) in values.chunks_mut(positions).enumerate() {
        values[visible(offset + row / group, heads.window)].fill(0.0);
    }
    Ok(Tensor::from_vec(
        values,
        (1, tokens * group, positions),
        device,
    )?)
}
