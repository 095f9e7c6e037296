use crate::error::Result;
use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights handled by one thread at a time: a multiple of every block size, small enough for the second-level cache.
const PIECE: usize = 16 * 1024;

/// Weights and bytes of one Q8_0 block: a half-precision scale and 32 signed bytes.
const BLOCK: usize = 32;
const Q8_0_BYTES: usize = 34;

/// Quantised bytes as float32, on all threads.
pub(super) fn dequantise(bytes: &[u8], dtype: GgmlDType, count: usize) -> Result<Vec<f32>> {
    let mut out = vec![0f32; count];
    let piece_bytes = PIECE / dtype.block_size() * dtype.type_size();
    out.par_chunks_mut(PIECE)
        .zip(bytes.par_chunks(piece_bytes))
        .try_for_each(|(out, bytes)| dequantise_piece(bytes, dtype, out))?;
    Ok(out)
}

fn dequantise_piece(bytes: &[u8], dtype: GgmlDType, out: &mut [f32]) -> Result<()> {
    if let CpuStorage::F32(values) = dtype
        .from_data(Cow::Borrowed(bytes))
        .dequantize(out.len())?
    {
        out.copy_from_slice(&values);
    }
    Ok(())
}

/// Values, a multiple of 32, as Q8_0.
pub(crate) fn quantise_q8_0(values: &[f32]) -> Vec<u8> {
    let mut out = vec![0u8; values.len() / BLOCK * Q8_0_BYTES];
    out.par_chunks_mut(PIECE / BLOCK * Q8_0_BYTES)
        .zip(values.par_chunks(PIECE))
        .for_each(|(out, values)| {
            out.chunks_exact_mut(Q8_0_BYTES)
                .zip(values.chunks_exact(BLOCK))
                .for_each(|(out, values)| round_block(values, out));
        });
    out
}

fn round_block(values: &[f32], out: &mut [u8]) {
    let largest = values
        .iter()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    let scale = f16::from_f32(largest / 127.0);
    let inverse = if scale.to_f32() > 0.0 {
        1.0 / scale.to_f32()
    } else {
        0.0
    };
    let (out_scale, out) = out.split_at_mut(2);
    out_scale.copy_from_slice(&scale.to_le_bytes());
    for (out, value) in out.iter_mut().zip(values) {
        *out = ((value * inverse).round().clamp(-127.0, 127.0) as i8).to_le_bytes()[0];
    }
}
