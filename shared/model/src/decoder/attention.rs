use super::cache::LayerCache;
use crate::error::Result;
use crate::kernels::{Heads, MaskedSoftmax, Query, attend, visible, with_values};
use candle_core::{Device, Tensor};

/// From this many tokens on, matrix products beat a loop over single queries.
const PRODUCTS_FROM_TOKENS: usize = 8;

/// Attention of new tokens against a cache, without a graph.
///
/// # Shapes
/// `queries` (tokens, heads · width) contiguous; the cache holds `offset + tokens` rows. Result: as `queries`.
pub(crate) fn attend_cached(
    heads: &Heads,
    queries: &Tensor,
    cache: &LayerCache,
    offset: usize,
) -> Result<Tensor> {
    let tokens = queries.dim(0)?;
    #[cfg(feature = "cuda")]
    if crate::cuda::computes(queries) {
        let (keys, values) = (&cache.keys, &cache.values);
        return crate::cuda::cached_attention(
            heads,
            &queries.contiguous()?,
            keys,
            values,
            offset + tokens,
        );
    }
    if !queries.device().is_cpu() {
        return attend_masked(heads, queries, cache, offset);
    }
    if tokens >= PRODUCTS_FROM_TOKENS {
        return attend_products(heads, queries, cache, offset);
    }
    attend_single(heads, queries, cache, offset)
}

fn attend_single(
    heads: &Heads,
    queries: &Tensor,
    cache: &LayerCache,
    offset: usize,
) -> Result<Tensor> {
    let width = heads.queries * heads.width;
    let mut out = vec![0f32; queries.elem_count()];
    with_values(queries, |queries| {
        with_values(&cache.keys, |keys| {
            with_values(&cache.values, |cached| {
                for (index, (out, values)) in
                    out.chunks_mut(width).zip(queries.chunks(width)).enumerate()
                {
                    attend(
                        heads,
                        Query {
                            values,
                            keys,
                            cached,
                            position: offset + index,
                        },
                        out,
                    );
                }
                Ok(())
            })
        })
    })?;
    Ok(Tensor::from_vec(out, queries.dims(), &Device::Cpu)?)
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

fn attend_products(
    heads: &Heads,
    queries: &Tensor,
    cache: &LayerCache,
    offset: usize,
) -> Result<Tensor> {
    let tokens = queries.dim(0)?;
    let group = heads.queries / heads.keys;
    let (keys, values) = cached_heads(heads, cache, offset + tokens)?;
    let scores = grouped(heads, queries)?.matmul(&keys.transpose(1, 2)?)?; // (key heads, tokens · group, positions)
    scores.inplace_op1(&MaskedSoftmax {
        group,
        rows: tokens * group,
        offset,
        window: heads.window,
        scale: heads.scale,
    })?;
    ungrouped(heads, &scores.matmul(&values)?, tokens)
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
