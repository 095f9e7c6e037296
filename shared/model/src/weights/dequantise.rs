use crate::error::Result;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{CpuStorage, Device, Tensor};
use half::f16;
use rayon::prelude::*;
use std::borrow::Cow;

/// Weights handled by one thread at a time: a multiple of every block size, small enough for the second-level cache.
const PIECE: usize = 16 * 1024;

/// Bytes and weights of one Q5_0 block: scale, 32 high bits, 32 low nibbles.
const Q5_0_BYTES: usize = 22;
const Q8_0_BYTES: usize = 34;
const BLOCK: usize = 32;

/// Quantised bytes as float32, on all threads.
pub(super) fn dequantise(bytes: &[u8], dtype: GgmlDType, count: usize) -> Result<Vec<f32>> {
    let mut out = vec![0f32; count];
    let piece_bytes = PIECE / dtype.block_size() * dtype.type_size();
    out.par_chunks_mut(PIECE).zip(bytes.par_chunks(piece_bytes)).try_for_each(|(out, bytes)| dequantise_piece(bytes, dtype, out))?;
    Ok(out)
}

fn dequantise_piece(bytes: &[u8], dtype: GgmlDType, out: &mut [f32]) -> Result<()> {
    if let CpuStorage::F32(values) = dtype.from_data(Cow::Borrowed(bytes)).dequantize(out.len())? {
        out.copy_from_slice(&values);
    }
    Ok(())
}

/// The formats that candle multiplies with vector instructions stay; the others become Q8_0 (1 byte and a bit a weight).
///
/// Q5_0 is carried over without any change of value: its 5-bit integers and scales are valid Q8_0 as they are.
pub(super) fn for_products(bytes: &[u8], dtype: GgmlDType, count: usize) -> Result<(Vec<u8>, GgmlDType)> {
    match dtype {
        GgmlDType::Q5_0 => Ok((widen_q5_0(bytes), GgmlDType::Q8_0)),
        GgmlDType::Q4_1 | GgmlDType::Q5_1 | GgmlDType::Q8_1 => Ok((requantise(bytes, dtype, count)?, GgmlDType::Q8_0)),
        _ => Ok((bytes.to_vec(), dtype)),
    }
}

fn widen_q5_0(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0u8; bytes.len() / Q5_0_BYTES * Q8_0_BYTES];
    out.par_chunks_mut(Q8_0_BYTES * 512)
        .zip(bytes.par_chunks(Q5_0_BYTES * 512))
        .for_each(|(out, bytes)| out.chunks_exact_mut(Q8_0_BYTES).zip(bytes.chunks_exact(Q5_0_BYTES)).for_each(|(out, block)| widen_block(block, out)));
    out
}

fn widen_block(block: &[u8], out: &mut [u8]) {
    let (scale, rest) = block.split_at(2);
    let (high, low) = rest.split_at(4);
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    let (out_scale, out) = out.split_at_mut(2);
    out_scale.copy_from_slice(scale);
    for (index, byte) in low.iter().enumerate() {
        let first = i32::from(byte & 15) | ((high >> index & 1) << 4) as i32;
        let second = i32::from(byte >> 4) | ((high >> (index + BLOCK / 2) & 1) << 4) as i32;
        out[index] = (first - 16).to_le_bytes()[0];
        out[index + BLOCK / 2] = (second - 16).to_le_bytes()[0];
    }
}

fn requantise(bytes: &[u8], dtype: GgmlDType, count: usize) -> Result<Vec<u8>> {
    let mut out = vec![0u8; count / BLOCK * Q8_0_BYTES];
    let piece_bytes = PIECE / dtype.block_size() * dtype.type_size();
    out.par_chunks_mut(PIECE / BLOCK * Q8_0_BYTES).zip(bytes.par_chunks(piece_bytes)).try_for_each(|(out, bytes)| -> Result<()> {
        let mut values = vec![0f32; out.len() / Q8_0_BYTES * BLOCK];
        dequantise_piece(bytes, dtype, &mut values)?;
        out.chunks_exact_mut(Q8_0_BYTES).zip(values.chunks_exact(BLOCK)).for_each(|(out, values)| quantise_block(values, out));
        Ok(())
    })?;
    Ok(out)
}

/// Q8_0: a half-precision scale and 32 signed bytes, the largest of which is ±127.
fn quantise_block(values: &[f32], out: &mut [u8]) {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let scale = f16::from_f32(largest / 127.0);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    let (out_scale, out) = out.split_at_mut(2);
    out_scale.copy_from_slice(&scale.to_le_bytes());
    for (out, value) in out.iter_mut().zip(values) {
        *out = ((value * inverse).round().clamp(-127.0, 127.0) as i8).to_le_bytes()[0];
    }
}

/// A quantised matrix from its bytes.
pub(super) fn quantised(bytes: &[u8], dtype: GgmlDType, shape: [usize; 2], device: &Device) -> Result<QTensor> {
    Ok(QTensor::new(QStorage::from_data(Cow::Borrowed(bytes), device, dtype)?, (shape[0], shape[1]))?)
}

/// The whole of a quantised matrix as float32, on its own device.
pub(super) fn dense(matrix: &QTensor) -> Result<Tensor> {
    if !matrix.device().is_cpu() {
        return Ok(matrix.dequantize(&matrix.device())?);
    }
    let values = dequantise(&matrix.data()?, matrix.dtype(), matrix.shape().elem_count())?;
    Ok(Tensor::from_vec(values, matrix.shape(), &Device::Cpu)?)
}
