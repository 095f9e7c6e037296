use super::BLOCK;
use super::blocks::{Codes, unpack};
use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;

/// Outputs side by side.
pub(super) const WIDTH: usize = 8;
/// Weights of a record: one block of each output.
pub(super) const RECORD: usize = WIDTH * BLOCK;

/// How a record is laid out: eight scales, eight minima where there are any, then the codes. Its bytes of step s (codes 4s
/// to 4s + 3 of each output) stand together, so that one instruction multiplies them with four broadcast activations.
///
/// weight = scale · (code - zero) + minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Bits of a code: 4, 5 or 6 without a sign, or 8 with one.
    pub(super) bits: usize,
    /// Scales and minima in half precision.
    pub(super) halves: bool,
    pub(super) minima: bool,
    /// Scales and minima for each 16 weights, not 32.
    pub(super) split: bool,
    pub(super) zero: i32,
}

impl Form {
    pub(super) fn of(dtype: GgmlDType) -> Option<Self> {
        let form = |bits, halves, minima, split, zero| {
            Some(Self {
                bits,
                halves,
                minima,
                split,
                zero,
            })
        };
        match dtype {
            GgmlDType::Q4_0 => form(4, true, false, false, 8),
            GgmlDType::Q4_1 => form(4, true, true, false, 0),
            GgmlDType::Q5_0 => form(5, true, false, false, 16),
            GgmlDType::Q5_1 => form(5, true, true, false, 0),
            GgmlDType::Q8_0 => form(8, true, false, false, 0),
            GgmlDType::Q2K => form(4, false, true, true, 0),
            GgmlDType::Q3K => form(4, false, false, true, 4),
            GgmlDType::Q4K => form(4, false, true, false, 0),
            GgmlDType::Q5K => form(5, false, true, false, 0),
            GgmlDType::Q6K => form(6, false, false, true, 32),
            _ => None,
        }
    }

    fn parts(self) -> usize {
        if self.split { 2 } else { 1 }
    }

    fn number(self) -> usize {
        if self.halves { 2 } else { 4 }
    }

    /// Where the codes begin.
    pub(super) fn codes(self) -> usize {
        let kinds = if self.minima { 2 } else { 1 };
        kinds * self.parts() * WIDTH * self.number()
    }

    /// Bytes of a record.
    pub(super) fn size(self) -> usize {
        self.codes() + RECORD / 8 * self.bits
    }

    #[inline(always)]
    fn put(self, record: &mut [u8], index: usize, value: f32) {
        let at = index * self.number();
        let place = record.get_mut(at..at + self.number());
        match (place, self.halves) {
            (Some(place), true) => place.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
            (Some(place), false) => place.copy_from_slice(&value.to_le_bytes()),
            (None, _) => {}
        }
    }
}

/// A quantised matrix (outputs, inputs), rearranged so that eight outputs are computed side by side.
pub(crate) struct Lanes {
    pub(super) form: Form,
    pub(super) bytes: Vec<u8>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

impl Lanes {
    /// Rearranges GGUF's blocks; `None` where this machine or this shape has no kernel for them.
    pub(crate) fn new(
        bytes: &[u8],
        dtype: GgmlDType,
        outputs: usize,
        inputs: usize,
    ) -> Option<Self> {
        let form = Form::of(dtype)?;
        let whole = outputs.is_multiple_of(WIDTH) && inputs.is_multiple_of(dtype.block_size());
        if !super::fast() || !whole || outputs == 0 || inputs == 0 {
            return None;
        }
        let blocks = inputs / BLOCK;
        let mut out = vec![0u8; outputs / WIDTH * blocks * form.size()];
        let row = inputs / dtype.block_size() * dtype.type_size();
        out.par_chunks_mut(blocks * form.size())
            .zip(bytes.par_chunks(WIDTH * row))
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

    /// Bytes of a group of eight outputs.
    pub(super) fn group(&self) -> usize {
        self.inputs / BLOCK * self.form.size()
    }

    /// Some rows of the matrix in float32, from `first` on, a multiple of eight.
    pub(crate) fn dense(&self, first: usize, count: usize) -> Vec<f32> {
        let mut out = vec![0f32; count.min(self.outputs - first) * self.inputs];
        let bytes = &self.bytes[first / WIDTH * self.group()..];
        out.par_chunks_mut(WIDTH * self.inputs)
            .zip(bytes.par_chunks(self.group()))
            .for_each(|(out, group)| widen(self.form, group, self.inputs, out));
        out
    }

    /// One row in float32.
    pub(crate) fn row(&self, index: usize) -> Option<Vec<f32>> {
        let group = self.bytes.chunks(self.group()).nth(index / WIDTH)?;
        let mut out = vec![0f32; WIDTH * self.inputs];
        widen(self.form, group, self.inputs, &mut out);
        let row = out.chunks(self.inputs).nth(index % WIDTH)?;
        Some(row.to_vec())
    }
}

/// Eight rows of GGUF's blocks as records.
#[inline(always)]
fn rearrange_body<const FUSED: bool>(form: Form, dtype: GgmlDType, rows: &[u8], out: &mut [u8]) {
    let row = rows.len() / WIDTH;
    let super_block = dtype.block_size() / BLOCK;
    for (index, record) in out.chunks_exact_mut(form.size()).enumerate() {
        let mut steps = [[0u8; BLOCK]; 8];
        for output in 0..WIDTH {
            let at = output * row + index / super_block * dtype.type_size();
            let codes = unpack(
                dtype,
                &rows[at..at + dtype.type_size()],
                index % super_block,
            );
            for part in 0..form.parts() {
                let place = part * WIDTH + output;
                form.put(record, place, codes.scales[part]);
                if form.minima {
                    form.put(record, form.parts() * WIDTH + place, codes.minima[part]);
                }
            }
            for (step, codes) in steps.iter_mut().zip(codes.codes.chunks_exact(4)) {
                step[output * 4..output * 4 + 4].copy_from_slice(codes);
            }
        }
        pack(form.bits, &steps, &mut record[form.codes()..]);
    }
}

crate::kernels::dispatch!(rearrange, rearrange_body, (form: Form, dtype: GgmlDType, rows: &[u8], out: &mut [u8]));

/// Codes by steps: whole bytes; or the low four bits of steps s and s + 4 in one byte, then the higher bits of all steps.
#[inline(always)]
fn pack(bits: usize, steps: &[[u8; BLOCK]; 8], out: &mut [u8]) {
    if bits == 8 {
        out.chunks_exact_mut(BLOCK)
            .zip(steps)
            .for_each(|(out, step)| out.copy_from_slice(step));
        return;
    }
    let (low, high) = out.split_at_mut(RECORD / 2);
    for (index, low) in low.chunks_exact_mut(BLOCK).enumerate() {
        for (at, low) in low.iter_mut().enumerate() {
            *low = (steps[index][at] & 15) | (steps[index + 4][at] << 4);
        }
    }
    let width = bits - 4; // 1: all steps in one byte; 2: four steps in each of two
    for (index, high) in high.chunks_exact_mut(BLOCK).enumerate() {
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
    super::avx2::widen(form, group, inputs, out);
}

/// Never called: without a kernel no matrix is rearranged.
#[cfg(not(target_arch = "x86_64"))]
fn widen(_: Form, _: &[u8], _: usize, _: &mut [f32]) {}

impl Codes {
    /// Nothing yet.
    #[inline(always)]
    pub(super) fn empty() -> Self {
        Self {
            codes: [0; BLOCK],
            scales: [0.0; 2],
            minima: [0.0; 2],
        }
    }
}
