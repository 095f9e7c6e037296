use super::BLOCK;
use super::blocks::{Codes, unpack};
use super::round::Panel;
use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// The widest group of outputs that any kernel computes side by side.
pub(super) const MOST_WIDTH: usize = 16;
/// The most rows of a panel.
pub(super) const MOST_ROWS: usize = 8;

/// Outputs of one group for some rows: as many of each as the kernel has.
pub(super) type Sums = [[f32; MOST_WIDTH]; MOST_ROWS];

/// How the blocks of a group of outputs are laid out. A record is one block of 32 weights of each output; `together` records
/// stand behind one head:
///
/// - head: d of each output in half precision, then m where there are minima;
/// - record: a level for each output and part, then the lows, as bytes, where `together` > 1; then the codes. Their bytes
///   of step s (codes 4s to 4s + 3 of each output) stand together, so that one instruction multiplies them with four
///   broadcast activations.
///
/// weight = d · level · (code - zero) + m · low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Outputs side by side: 8 (AVX2) or 16 (AVX-512).
    pub(super) width: usize,
    /// Bits of a code: 4, 5, 6 or 8.
    pub(super) bits: usize,
    /// Records of a head: 8 in formats with superblocks, else 1.
    pub(super) together: usize,
    pub(super) minima: bool,
    /// Levels for each 16 weights, not 32.
    pub(super) split: bool,
    pub(super) zero: i32,
}

impl Form {
    pub(super) fn of(dtype: GgmlDType, width: usize) -> Option<Self> {
        let form = |bits, together, minima, split, zero| {
            Some(Self {
                width,
                bits,
                together,
                minima,
                split,
                zero,
            })
        };
        match dtype {
            GgmlDType::Q4_0 => form(4, 1, false, false, 8),
            GgmlDType::Q4_1 => form(4, 1, true, false, 0),
            GgmlDType::Q5_0 => form(5, 1, false, false, 16),
            GgmlDType::Q5_1 => form(5, 1, true, false, 0),
            // The instruction of AVX-512 takes codes without a sign, that of AVX2 is given the sign apart.
            GgmlDType::Q8_0 if width == MOST_WIDTH => form(8, 1, false, false, 128),
            GgmlDType::Q8_0 => form(8, 1, false, false, 0),
            GgmlDType::Q2K => form(4, 8, true, true, 0),
            GgmlDType::Q3K => form(4, 8, false, true, 4),
            GgmlDType::Q4K => form(4, 8, true, false, 0),
            GgmlDType::Q5K => form(5, 8, true, false, 0),
            GgmlDType::Q6K => form(6, 8, false, true, 32),
            _ => None,
        }
    }

    /// Parts of a record with a level of their own.
    pub(super) fn parts(self) -> usize {
        if self.split { 2 } else { 1 }
    }

    fn kinds(self) -> usize {
        if self.minima { 2 } else { 1 }
    }

    /// Bytes of a head.
    pub(super) fn head(self) -> usize {
        self.kinds() * self.width * 2
    }

    /// Bytes of a record's levels and lows.
    pub(super) fn levels(self) -> usize {
        match self.together {
            1 => 0,
            _ => self.kinds() * self.parts() * self.width,
        }
    }

    /// Bytes of a record.
    pub(super) fn record(self) -> usize {
        self.levels() + self.width * BLOCK / 8 * self.bits
    }

    /// Bytes of a head with its records.
    pub(super) fn size(self) -> usize {
        self.head() + self.together * self.record()
    }
}

/// A quantised matrix (outputs, inputs), rearranged so that a group of outputs is computed side by side.
pub(crate) struct Lanes {
    form: Form,
    bytes: Vec<u8>,
    pub(super) outputs: usize,
    inputs: usize,
}

/// Widths of groups that this processor has kernels for, the fastest first.
pub(super) fn widths() -> Vec<usize> {
    #[cfg(target_arch = "x86_64")]
    return [
        (super::avx512::available(), super::avx512::WIDTH),
        (super::avx2::available(), super::avx2::WIDTH),
    ]
    .into_iter()
    .filter_map(|(available, width)| available.then_some(width))
    .collect();
    #[cfg(not(target_arch = "x86_64"))]
    return Vec::new();
}

impl Lanes {
    /// Rearranges GGUF's blocks; `None` where this machine or this shape has no kernel for them.
    pub(crate) fn new(
        bytes: &[u8],
        dtype: GgmlDType,
        outputs: usize,
        inputs: usize,
    ) -> Option<Self> {
        let width = widths()
            .into_iter()
            .find(|width| outputs.is_multiple_of(*width))?;
        Self::of_width(width, bytes, dtype, outputs, inputs)
    }

    /// As [`Lanes::new`], with groups of one of [`widths`], of which `outputs` is a multiple.
    pub(super) fn of_width(
        width: usize,
        bytes: &[u8],
        dtype: GgmlDType,
        outputs: usize,
        inputs: usize,
    ) -> Option<Self> {
        let form = Form::of(dtype, width)?;
        if !inputs.is_multiple_of(dtype.block_size()) || outputs == 0 || inputs == 0 {
            return None;
        }
        let blocks = inputs / BLOCK / form.together;
        let mut out = vec![0u8; outputs / width * blocks * form.size()];
        let row = inputs / dtype.block_size() * dtype.type_size();
        out.par_chunks_mut(blocks * form.size())
            .zip(bytes.par_chunks(width * row))
            .for_each(|(out, rows)| rearrange(form, dtype, rows, out));
        Some(Self {
            form,
            bytes: out,
            outputs,
            inputs,
        })
    }

    /// Bytes in memory.
    pub(crate) fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of a group of outputs.
    fn group(&self) -> usize {
        self.inputs / BLOCK / self.form.together * self.form.size()
    }

    /// Multiplies rows with some outputs, a multiple of 16, on this thread; `take` gets the first output, the row and the
    /// sums of each group.
    pub(super) fn multiply(
        &self,
        panels: &[Panel],
        outputs: Range<usize>,
        mut take: impl FnMut(usize, usize, &[f32]),
    ) {
        let (width, size) = (self.form.width, self.group());
        let groups = self.bytes[outputs.start / width * size..].chunks_exact(size);
        for (index, group) in groups.take(outputs.len() / width).enumerate() {
            for panel in panels {
                let mut sums = [[0f32; MOST_WIDTH]; MOST_ROWS];
                dot(self.form, group, panel, &mut sums);
                for (row, sums) in sums.iter().take(panel.rows).enumerate() {
                    take(
                        outputs.start + index * width,
                        panel.first + row,
                        &sums[..width],
                    );
                }
            }
        }
    }

    /// Some rows of the matrix in float32, from `first` on, a multiple of 16.
    pub(crate) fn dense(&self, first: usize, count: usize) -> Vec<f32> {
        let mut out = vec![0f32; count.min(self.outputs - first) * self.inputs];
        let bytes = &self.bytes[first / self.form.width * self.group()..];
        out.par_chunks_mut(self.form.width * self.inputs)
            .zip(bytes.par_chunks(self.group()))
            .for_each(|(out, group)| widen(self.form, group, self.inputs, out));
        out
    }

    /// One row in float32.
    pub(crate) fn row(&self, index: usize) -> Option<Vec<f32>> {
        let width = self.form.width;
        let group = self.bytes.chunks(self.group()).nth(index / width)?;
        let mut out = vec![0f32; width * self.inputs];
        widen(self.form, group, self.inputs, &mut out);
        let row = out.chunks(self.inputs).nth(index % width)?;
        Some(row.to_vec())
    }
}

#[cfg(target_arch = "x86_64")]
fn dot(form: Form, group: &[u8], panel: &Panel, out: &mut Sums) {
    if form.width == MOST_WIDTH {
        super::avx512::dot(form, group, panel, out);
    } else {
        super::avx2::dot(form, group, panel, out);
    }
}

/// Never called: without a kernel no matrix is rearranged.
#[cfg(not(target_arch = "x86_64"))]
fn dot(_: Form, _: &[u8], _: &Panel, _: &mut Sums) {}

/// The rows of a group, in GGUF's blocks, as heads and records.
#[inline(always)]
fn rearrange_body<const FUSED: bool>(form: Form, dtype: GgmlDType, rows: &[u8], out: &mut [u8]) {
    let (row, size) = (rows.len() / form.width, dtype.type_size());
    for (index, out) in out.chunks_exact_mut(form.size()).enumerate() {
        let (head, records) = out.split_at_mut(form.head());
        for (place, record) in records.chunks_exact_mut(form.record()).enumerate() {
            let mut steps = [[0u8; 4 * MOST_WIDTH]; 8];
            for output in 0..form.width {
                let at = output * row + index * size;
                let codes = unpack(dtype, &rows[at..at + size], place);
                form.put_numbers(head, record, output, &codes);
                for (step, codes) in steps.iter_mut().zip(codes.codes.chunks_exact(4)) {
                    step[output * 4..output * 4 + 4].copy_from_slice(codes);
                }
            }
            if form.bits == 8 && form.zero == 128 {
                let codes = steps.as_flattened_mut().iter_mut();
                codes.for_each(|code| *code ^= 128);
            }
            let codes = &mut record[form.levels()..];
            pack(form.bits, 4 * form.width, &steps, codes);
        }
    }
}

impl Form {
    #[inline(always)]
    fn put_numbers(self, head: &mut [u8], record: &mut [u8], output: usize, codes: &Codes) {
        for (kind, half) in [codes.d, codes.m]
            .into_iter()
            .enumerate()
            .take(self.kinds())
        {
            let at = (kind * self.width + output) * 2;
            head[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
        if self.together == 1 {
            return;
        }
        for part in 0..self.parts() {
            record[part * self.width + output] = codes.levels[part] as u8;
            if self.minima {
                record[(self.parts() + part) * self.width + output] = codes.lows[part] as u8;
            }
        }
    }
}

crate::kernels::dispatch!(rearrange, rearrange_body, (form: Form, dtype: GgmlDType, rows: &[u8], out: &mut [u8]));

/// GGUF's blocks in float32, on this thread: for a row or a few. `false` where the format is none of [`Form`].
pub(crate) fn widen_blocks(dtype: GgmlDType, bytes: &[u8], out: &mut [f32]) -> bool {
    let Some(form) = Form::of(dtype, MOST_WIDTH) else {
        return false;
    };
    let blocks = bytes.chunks_exact(dtype.type_size());
    for (bytes, out) in blocks.zip(out.chunks_exact_mut(dtype.block_size())) {
        for (index, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let codes = unpack(dtype, bytes, index);
            let (d, m) = (
                f16::from_bits(codes.d).to_f32(),
                f16::from_bits(codes.m).to_f32(),
            );
            for (at, (out, code)) in out.iter_mut().zip(codes.codes).enumerate() {
                let (level, low) = (codes.levels[at / 16], codes.lows[at / 16]);
                let code = if form.bits == 8 { code ^ 128 } else { code };
                let whole = (i32::from(code) - form.zero) as f32;
                *out = whole * (d * f32::from(level)) + m * f32::from(low);
            }
        }
    }
    true
}

/// Codes by steps of `size` bytes: whole bytes; or the low four bits of steps s and s + 4 in one byte, then the higher bits
/// of all steps.
#[inline(always)]
fn pack(bits: usize, size: usize, steps: &[[u8; 4 * MOST_WIDTH]; 8], out: &mut [u8]) {
    if bits == 8 {
        out.chunks_exact_mut(size)
            .zip(steps)
            .for_each(|(out, step)| out.copy_from_slice(&step[..size]));
        return;
    }
    let (low, high) = out.split_at_mut(size * 4);
    for (index, low) in low.chunks_exact_mut(size).enumerate() {
        for (at, low) in low.iter_mut().enumerate() {
            *low = (steps[index][at] & 15) | (steps[index + 4][at] << 4);
        }
    }
    let width = bits - 4; // 1: all steps in one byte; 2: four steps in each of two
    for (index, high) in high.chunks_exact_mut(size).enumerate() {
        let together = 8 / width;
        for (at, high) in high.iter_mut().enumerate() {
            let part = &steps[index * together..(index + 1) * together];
            let bits = part.iter().enumerate();
            *high = bits.fold(0, |all, (place, step)| {
                all | (step[at] >> 4) << (place * width)
            });
        }
    }
}

/// Rows of a group in float32: (outputs, inputs).
#[cfg(target_arch = "x86_64")]
fn widen(form: Form, group: &[u8], inputs: usize, out: &mut [f32]) {
    if form.width == MOST_WIDTH {
        super::avx512::widen(form, group, inputs, out);
    } else {
        super::avx2::widen(form, group, inputs, out);
    }
}

/// Never called: without a kernel no matrix is rearranged.
#[cfg(not(target_arch = "x86_64"))]
fn widen(_: Form, _: &[u8], _: usize, _: &mut [f32]) {}
