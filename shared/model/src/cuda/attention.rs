use super::compiler::Unit;
use super::kernel::{Argument, Launch, blocks, device_of, int, refused, tensor, unset};
use crate::error::Result;
use crate::kernels::Heads;
use crate::reference::Span;
use candle_core::{CudaDevice, DType, Device, Tensor};

/// Queries of one block, and keys of one block of the backward pass; the kernels' `ROWS`.
const ROWS: usize = 64;
/// Widths of heads that are compiled.
pub(super) const WIDTHS: [usize; 6] = [32, 64, 80, 96, 128, 256];
/// Up to this many tokens the keys are split over blocks, and no tensor cores are used.
const DECODE_TO_TOKENS: usize = 8;
/// Blocks that fill a large GPU.
const ENOUGH_BLOCKS: usize = 264;

/// Blocks of queries, or of keys, of packed sequences, on the device: one table for all layers of a pass.
pub(crate) struct Tiles {
    by_queries: Tensor,
    by_keys: Tensor,
    count: usize,
}

impl Tiles {
    /// The longest first, so that the last blocks to run are short.
    pub(crate) fn new(spans: &[Span], device: &Device) -> Result<Self> {
        let mut tiles: Vec<[usize; 5]> = Vec::new();
        for span in spans {
            let cached = span.keys.len() - span.queries.len();
            for first in (0..span.queries.len()).step_by(ROWS) {
                let count = ROWS.min(span.queries.len() - first);
                let row = span.queries.start + first;
                tiles.push([row, count, span.keys.start, span.keys.len(), cached + first]);
            }
        }
        let count = tiles.len();
        let table = |tiles: &[[usize; 5]]| -> Result<Tensor> {
            let flat = tiles
                .as_flattened()
                .iter()
                .map(|value| u32::try_from(*value));
            match flat.collect::<std::result::Result<Vec<u32>, _>>() {
                Ok(flat) => Ok(Tensor::from_vec(flat, count * 5, device)?),
                Err(_) => refused("too many rows for one CUDA pass".to_owned()),
            }
        };
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile[4]));
        let by_queries = table(&tiles)?;
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile[3] - tile[4]));
        let by_keys = table(&tiles)?;
        Ok(Self {
            by_queries,
            by_keys,
            count,
        })
    }
}

fn unit(name: &'static str, width: usize) -> Result<Unit> {
    if !WIDTHS.contains(&width) {
        return refused(format!(
            "attention on CUDA takes heads of {WIDTHS:?}, not {width}; use device = \"cpu\""
        ));
    }
    Ok(Unit {
        name,
        head: Some(width),
    })
}

/// Bytes of `rows` rows in shared memory, each 16 bytes longer than a head.
fn shared(rows: usize, width: usize) -> u32 {
    (rows * (width + 8) * 2) as u32
}

fn launch<'a>(
    device: &'a CudaDevice,
    (unit, name): (Unit, &'static str),
    grid: (usize, usize),
    threads: u32,
    shared: u32,
) -> Result<Launch<'a>> {
    Ok(Launch {
        device,
        unit,
        name,
        grid: (blocks(grid.0, 1)?, blocks(grid.1, 1)?, 1),
        block: (threads, 1, 1),
        shared,
    })
}

fn window(heads: &Heads) -> Result<Argument> {
    int(heads.window.unwrap_or(0))
}

/// Tensor-core attention over a table of tiles, or over one sequence that ends with the queries.
fn forward(
    heads: &Heads,
    [q, k, v]: [&Tensor; 3],
    tiles: Option<&Tiles>,
    keys: usize,
    with_log_sums: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let device = device_of(q)?;
    let rows = q.dim(0)?;
    let out = unset(q.shape(), DType::BF16, device)?;
    let log_sums = match with_log_sums {
        true => Some(unset((heads.queries, rows), DType::F32, device)?),
        false => None,
    };
    let step = if heads.width <= 128 { 64 } else { 32 };
    let count = tiles.map_or(rows.div_ceil(ROWS), |tiles| tiles.count);
    let unit = unit("attention", heads.width)?;
    launch(
        device,
        (unit, "attention"),
        (count, heads.queries),
        128,
        shared(ROWS + 4 * step, heads.width),
    )?
    .run(&[
        tensor(q, DType::BF16)?,
        tensor(k, DType::BF16)?,
        tensor(v, DType::BF16)?,
        tensor(&out, DType::BF16)?,
        log_sums
            .as_ref()
            .map_or(Ok(Argument::Pointer(0)), |sums| tensor(sums, DType::F32))?,
        tiles.map_or(Ok(Argument::Pointer(0)), |tiles| {
            tensor(&tiles.by_queries, DType::U32)
        })?,
        int(rows)?,
        int(keys)?,
        int(heads.queries / heads.keys)?,
        window(heads)?,
        Argument::Float(heads.scale),
    ])?;
    Ok((out, log_sums))
}

/// Causal attention of packed sequences to themselves, with the log-sums that the backward pass needs.
///
/// # Shapes
/// Queries and result (rows, heads · width), keys and values (rows, key heads · width), log-sums (heads, rows).
pub(crate) fn attention(
    heads: &Heads,
    qkv: [&Tensor; 3],
    tiles: &Tiles,
) -> Result<(Tensor, Tensor)> {
    match forward(heads, qkv, Some(tiles), qkv[1].dim(0)?, true)? {
        (out, Some(log_sums)) => Ok((out, log_sums)),
        (_, None) => refused("attention gave no log-sums".to_owned()),
    }
}

/// The same without a backward pass, of the last of `keys` positions of a cache.
pub(crate) fn cached_attention(
    heads: &Heads,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    keys: usize,
) -> Result<Tensor> {
    let tokens = q.dim(0)?;
    if tokens > DECODE_TO_TOKENS {
        return Ok(forward(heads, [q, k, v], None, keys, false)?.0);
    }
    let (device, width) = (device_of(q)?, heads.width);
    let splits = (ENOUGH_BLOCKS / (tokens * heads.queries)).clamp(1, keys.div_ceil(128));
    let parts = unset(
        tokens * heads.queries * splits * (width + 2),
        DType::F32,
        device,
    )?;
    let out = unset(q.shape(), DType::BF16, device)?;
    let unit = unit("decode", width)?;
    let mut split = launch(device, (unit, "decode"), (tokens, heads.queries), 128, 0)?;
    split.grid.2 = blocks(splits, 1)?;
    split.run(&[
        tensor(q, DType::BF16)?,
        tensor(k, DType::BF16)?,
        tensor(v, DType::BF16)?,
        tensor(&parts, DType::F32)?,
        int(keys)?,
        int(heads.queries / heads.keys)?,
        window(heads)?,
        Argument::Float(heads.scale),
    ])?;
    launch(
        device,
        (unit, "join_parts"),
        (tokens * heads.queries, 1),
        width as u32,
        0,
    )?
    .run(&[
        tensor(&parts, DType::F32)?,
        tensor(&out, DType::BF16)?,
        int(splits)?,
    ])?;
    Ok(out)
}

/// The gradients of queries, keys and values.
pub(crate) fn attention_backward(
    heads: &Heads,
    qkv: [&Tensor; 3],
    out: &Tensor,
    log_sums: &Tensor,
    gradient: &Tensor,
    tiles: &Tiles,
) -> Result<[Tensor; 3]> {
    let device = device_of(out)?;
    let unit = unit("attention_backward", heads.width)?;
    let (rows, width, group) = (out.dim(0)?, heads.width, heads.queries / heads.keys);
    let inner = unset((heads.queries, rows), DType::F32, device)?;
    launch(
        device,
        (unit, "attention_inner"),
        ((rows * heads.queries).div_ceil(4), 1),
        128,
        0,
    )?
    .run(&[
        tensor(out, DType::BF16)?,
        tensor(gradient, DType::BF16)?,
        tensor(&inner, DType::F32)?,
        int(rows)?,
        int(heads.queries)?,
    ])?;
    let mut common = Vec::with_capacity(6);
    for x in qkv.into_iter().chain([gradient]) {
        common.push(tensor(x, DType::BF16)?);
    }
    common.extend([tensor(log_sums, DType::F32)?, tensor(&inner, DType::F32)?]);
    let sizes = [
        int(rows)?,
        int(group)?,
        window(heads)?,
        Argument::Float(heads.scale),
    ];
    let grid = (tiles.count, heads.queries);
    let fill = |name, threads, rows, outs: &[&Tensor], table: &Tensor| -> Result<()> {
        let mut arguments = common.clone();
        for out in outs {
            arguments.push(tensor(out, DType::BF16)?);
        }
        arguments.push(tensor(table, DType::U32)?);
        arguments.extend(sizes);
        launch(device, (unit, name), grid, threads, shared(rows, width))?.run(&arguments)
    };
    let to_q = unset(out.shape(), DType::BF16, device)?;
    let step = if width <= 96 { 64 } else { 32 };
    fill(
        "attention_backward_queries",
        128,
        2 * ROWS + 4 * step,
        &[&to_q],
        &tiles.by_queries,
    )?;
    let to_k = unset(out.shape(), DType::BF16, device)?;
    let to_v = unset(out.shape(), DType::BF16, device)?;
    let threads = if width <= 128 { 128 } else { 256 };
    fill(
        "attention_backward_keys",
        threads,
        2 * ROWS + 4 * 32,
        &[&to_k, &to_v],
        &tiles.by_keys,
    )?;
    Ok([
        to_q,
        sum_groups(heads, to_k, unit)?,
        sum_groups(heads, to_v, unit)?,
    ])
}

/// Adds up what the query heads that share a key head gave: (rows, heads · width) → (rows, key heads · width).
fn sum_groups(heads: &Heads, parts: Tensor, unit: Unit) -> Result<Tensor> {
    let (rows, group) = (parts.dim(0)?, heads.queries / heads.keys);
    if group == 1 {
        return Ok(parts);
    }
    let device = device_of(&parts)?;
    let size = heads.keys * heads.width;
    let out = unset((rows, size), DType::BF16, device)?;
    launch(
        device,
        (unit, "sum_groups"),
        ((rows * size / 8).div_ceil(128), 1),
        128,
        0,
    )?
    .run(&[
        tensor(&parts, DType::BF16)?,
        tensor(&out, DType::BF16)?,
        int(rows)?,
        int(heads.keys)?,
        int(group)?,
    ])?;
    Ok(out)
}
