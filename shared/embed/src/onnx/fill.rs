//! How the bytes of a constant come about.

use super::{Weights, e5s1::BLOCK};
use crate::{EmbedError, runtime::adds_exactly};

/// Elements that are read at a time.
const PIECE: usize = 1 << 20;

/// The source of one constant's bytes.
#[derive(Debug)]
pub(crate) enum Fill {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The first `len` elements of a tensor, as float32.
    Copy { tensor: String, len: usize },
    /// A matrix (rows, columns) turned into (columns, rows), as float32.
    Transposed {
        tensor: String,
        rows: usize,
        columns: usize,
    },
    /// The same in 8 bits: each of the `rows` divided by its scale.
    TransposedInt8 {
        tensor: String,
        rows: usize,
        columns: usize,
    },
    /// The scale of each row: its largest absolute value / that of an 8-bit weight.
    RowScales {
        tensor: String,
        rows: usize,
        columns: usize,
    },
    /// A matrix in 8 bits: each row divided by its scale.
    RowsInt8 {
        tensor: String,
        rows: usize,
        columns: usize,
    },
    /// The integers of a quantised tensor of `E5S1`.
    BlockValues { tensor: String, len: usize },
    /// Its scales.
    BlockScales { tensor: String, len: usize },
}

/// The largest 8-bit weight on processors that add products of 8 bits in 32 ([`adds_exactly`]).
const WHOLE: f32 = 127.0;
/// The largest 8-bit weight on others. Seven bits are used: with eight, the sum of two products overflows the 16 bits that they
/// add in, and the lowest cosine to the known vectors fell from 0.987 to 0.979 (all-MiniLM-L6-v2).
const HALF: f32 = 63.0;

/// Takes the next bytes of a constant.
type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), EmbedError> + 's;

impl Fill {
    /// Hands all bytes to `sink`, in order, little endian.
    pub(crate) fn stream(&self, weights: &Weights, sink: &mut Sink<'_>) -> Result<(), EmbedError> {
        match self {
            Self::Bytes(bytes) => sink(bytes),
            Self::Copy { tensor, len } => copy(weights, tensor, *len, sink),
            Self::Transposed {
                tensor,
                rows,
                columns,
            } => {
                let matrix = weights.read(tensor, 0..rows * columns)?;
                sink(&floats(transposed(&matrix, *rows, *columns)))
            }
            Self::TransposedInt8 {
                tensor,
                rows,
                columns,
            } => {
                let mut matrix = weights.read(tensor, 0..rows * columns)?;
                matrix.chunks_mut(*columns).for_each(divide_by_scale);
                sink(&bytes_of(transposed(&matrix, *rows, *columns)))
            }
            Self::RowScales {
                tensor,
                rows,
                columns,
            } => by_rows(weights, tensor, *rows, *columns, &mut |piece| {
                sink(&floats(piece.chunks(*columns).map(scale_of)))
            }),
            Self::RowsInt8 {
                tensor,
                rows,
                columns,
            } => by_rows(weights, tensor, *rows, *columns, &mut |piece| {
                piece.chunks_mut(*columns).for_each(divide_by_scale);
                sink(&bytes_of(piece.iter().copied()))
            }),
            Self::BlockValues { tensor, len } => {
                let bytes_of = |values: Vec<i8>| {
                    values
                        .into_iter()
                        .map(i8::cast_unsigned)
                        .collect::<Vec<_>>()
                };
                by_blocks(*len, |blocks| {
                    sink(&bytes_of(e5s1(weights)?.values(tensor, blocks)?))
                })
            }
            Self::BlockScales { tensor, len } => by_blocks(*len, |blocks| {
                sink(&floats(e5s1(weights)?.scales(tensor, blocks)?.into_iter()))
            }),
        }
    }

    /// These integers.
    pub(crate) fn integers(values: &[i64]) -> Self {
        Self::Bytes(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// These floats.
    pub(crate) fn floats(values: impl Iterator<Item = f32>) -> Self {
        Self::Bytes(floats(values))
    }
}

fn copy(
    weights: &Weights,
    tensor: &str,
    len: usize,
    sink: &mut Sink<'_>,
) -> Result<(), EmbedError> {
    for start in (0..len).step_by(PIECE) {
        sink(&floats(
            weights
                .read(tensor, start..len.min(start + PIECE))?
                .into_iter(),
        ))?;
    }
    Ok(())
}

/// Hands a matrix over in pieces of whole rows.
fn by_rows(
    weights: &Weights,
    tensor: &str,
    rows: usize,
    columns: usize,
    sink: &mut dyn FnMut(&mut [f32]) -> Result<(), EmbedError>,
) -> Result<(), EmbedError> {
    let step = (PIECE / columns.max(1)).max(1);
    for row in (0..rows).step_by(step) {
        sink(&mut weights.read(tensor, row * columns..rows.min(row + step) * columns)?)?;
    }
    Ok(())
}

/// Calls `sink` with ranges of blocks that cover `len` elements.
fn by_blocks(
    len: usize,
    mut sink: impl FnMut(std::ops::Range<usize>) -> Result<(), EmbedError>,
) -> Result<(), EmbedError> {
    let blocks = len / BLOCK;
    (0..blocks)
        .step_by(PIECE / BLOCK)
        .try_for_each(|first| sink(first..blocks.min(first + PIECE / BLOCK)))
}

fn e5s1(weights: &Weights) -> Result<&super::E5s1, EmbedError> {
    match weights {
        Weights::E5s1(file) => Ok(file),
        Weights::SafeTensors(files) => Err(EmbedError::invalid(
            files.path(),
            "safetensors have no 4-bit blocks",
        )),
    }
}

fn transposed(matrix: &[f32], rows: usize, columns: usize) -> impl Iterator<Item = f32> {
    (0..columns).flat_map(move |column| {
        (0..rows).filter_map(move |row| matrix.get(row * columns + column).copied())
    })
}

/// What a row of weights is divided by to fit into 8 bits; 1 for a row of zeros.
fn scale_of(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0f32, |max, w| max.max(w.abs()));
    let limit = if adds_exactly() { WHOLE } else { HALF };
    if largest > 0.0 { largest / limit } else { 1.0 }
}

fn divide_by_scale(row: &mut [f32]) {
    let scale = scale_of(row);
    row.iter_mut().for_each(|w| *w = (*w / scale).round());
}

/// Small whole numbers as bytes.
fn bytes_of(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.map(|v| (v as i8).cast_unsigned()).collect()
}

fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}
