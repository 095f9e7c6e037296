//! Records of sixteen outputs times rows of activations, in the registers of AVX-512 with its integer dot products (VNNI).

use super::lanes::{Form, Sums};
use super::round::{Panel, SCALE, SUM, SUM_OF_HALF, WORDS};
use std::arch::asm;
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _MM_HINT_NTA, _mm_cvtsi32_si128, _mm_prefetch,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_loadu_si512, _mm512_mul_ps,
    _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_sll_epi16, _mm512_slli_epi32, _mm512_srl_epi16, _mm512_srli_epi16,
    _mm512_storeu_ps, _mm512_sub_epi32,
};

/// Outputs side by side.
pub(super) const WIDTH: usize = 16;
/// Bytes that weights are asked for before they are used.
const AHEAD: usize = 4096;

/// Whether the processor has what these kernels are compiled for.
pub(super) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// One group of sixteen outputs times the rows of a panel. To be called where [`available`].
pub(super) fn dot(form: Form, group: &[u8], panel: &Panel, out: &mut Sums) {
    #[expect(
        unsafe_code,
        reason = "the caller has checked that the processor has AVX-512 with VNNI"
    )]
    // SAFETY: see the reason above.
    unsafe {
        match panel.rows {
            1 => dot_rows::<1>(form, group, &panel.words, out),
            2 => dot_rows::<2>(form, group, &panel.words, out),
            4 => dot_rows::<4>(form, group, &panel.words, out),
            _ => dot_rows::<8>(form, group, &panel.words, out),
        }
    }
}

/// Which of the kernels below a form needs: bytes of a head with its records, bits, records, minima, split.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_rows<const ROWS: usize>(form: Form, group: &[u8], words: &[i32], out: &mut Sums) {
    let zero = -form.zero as f32;
    let sums = match (form.bits, form.together, form.minima, form.split) {
        (4, 1, false, _) => kernel::<288, 4, 1, false, false, ROWS>(group, words, zero),
        (4, 1, true, _) => kernel::<320, 4, 1, true, false, ROWS>(group, words, zero),
        (5, 1, false, _) => kernel::<352, 5, 1, false, false, ROWS>(group, words, zero),
        (5, 1, true, _) => kernel::<384, 5, 1, true, false, ROWS>(group, words, zero),
        (8, ..) => kernel::<544, 8, 1, false, false, ROWS>(group, words, zero),
        (4, _, true, true) => kernel::<2624, 4, 8, true, true, ROWS>(group, words, zero),
        (4, _, false, _) => kernel::<2336, 4, 8, false, true, ROWS>(group, words, zero),
        (4, _, true, false) => kernel::<2368, 4, 8, true, false, ROWS>(group, words, zero),
        (5, ..) => kernel::<2880, 5, 8, true, false, ROWS>(group, words, zero),
        _ => kernel::<3360, 6, 8, false, true, ROWS>(group, words, zero),
    };
    for (out, sums) in out.iter_mut().zip(sums) {
        *out = floats(sums);
    }
}

/// Writes a block once for each number, so that what depends on the number is decided by the compiler.
macro_rules! repeat {
    ($name:ident in [$($number:literal),*] $body:block) => {
        $({
            const $name: usize = $number;
            $body
        })*
    };
}

/// `$sum` += `$other` · number `$index` of each row's words, read by the instruction itself. Left to itself the compiler
/// reads the numbers of all steps first and then has no registers for them.
macro_rules! add_product {
    ($instruction:literal, $sum:expr, $other:expr, $words:expr, $index:expr) => {
        asm!(
            concat!($instruction, " {sum}, {other}, dword ptr [{words} + {offset}]{{1to16}}"),
            sum = inout(zmm_reg) $sum,
            other = in(zmm_reg) $other,
            words = in(reg) $words.as_ptr(),
            offset = const 4 * ($index),
            options(pure, readonly, nostack, preserves_flags),
        )
    };
}

/// The loop over the records of a group. `zero` is negated.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(
    unsafe_code,
    reason = "each instruction reads one of the WORDS · ROWS words that `chunks_exact` has made sure of"
)]
fn kernel<
    const SIZE: usize,
    const BITS: usize,
    const TOGETHER: usize,
    const MINIMA: bool,
    const SPLIT: bool,
    const ROWS: usize,
>(
    group: &[u8],
    words: &[i32],
    zero: f32,
) -> [__m512; ROWS] {
    let mut sums = [_mm512_setzero_ps(); ROWS];
    let zero = _mm512_set1_ps(zero);
    let parts = if SPLIT { 2 } else { 1 };
    let kinds = if MINIMA { 2 } else { 1 };
    let levels = if TOGETHER == 1 {
        0
    } else {
        kinds * parts * WIDTH
    };
    let size = levels + WIDTH * 4 * BITS;
    let mut blocks = words.chunks_exact(WORDS * ROWS);
    for bytes in group.as_chunks::<SIZE>().0 {
        let (head, records) = bytes.split_at(kinds * WIDTH * 2);
        for line in bytes.chunks(64) {
            // Weights are read once a pass: they are not to push out of the last cache what is read again.
            _mm_prefetch::<_MM_HINT_NTA>(line.as_ptr().wrapping_add(AHEAD).cast());
        }
        let d = halves(head, 0);
        let m = if MINIMA { halves(head, 1) } else { zero };
        for (record, words) in records.chunks_exact(size).zip(&mut blocks) {
            let (levels, record) = record.split_at(levels);
            let record = record.as_chunks::<64>().0;
            let mut high = [_mm512_setzero_si512(); ROWS];
            let mut low = [_mm512_setzero_si512(); ROWS];
            repeat!(HALF in [0, 1] {
                if SPLIT && HALF == 1 {
                    high = [_mm512_setzero_si512(); ROWS];
                    low = [_mm512_setzero_si512(); ROWS];
                }
                repeat!(STEP in [0, 1, 2, 3] {
                    let codes = codes::<BITS, HALF, STEP>(record);
                    repeat!(ROW in [0, 1, 2, 3, 4, 5, 6, 7] {
                        if ROW < ROWS {
                            // SAFETY: see the reason above.
                            unsafe {
                                add_product!("vpdpbusd", high[ROW], codes, words, (HALF * 4 + STEP) * ROWS + ROW);
                                add_product!("vpdpbusd", low[ROW], codes, words, (8 + HALF * 4 + STEP) * ROWS + ROW);
                            }
                        }
                    });
                });
                if SPLIT || HALF == 1 {
                    let part = if SPLIT { HALF } else { 0 };
                    let scale = match TOGETHER {
                        1 => d,
                        _ => _mm512_mul_ps(d, signed(levels, part)),
                    };
                    // What all weights of an output have in common is multiplied with the sum of the activations.
                    let common = match (MINIMA, TOGETHER) {
                        (true, 1) => m,
                        (true, _) => _mm512_mul_ps(m, signed(levels, parts + part)),
                        (false, _) => _mm512_mul_ps(scale, zero),
                    };
                    repeat!(ROW in [0, 1, 2, 3, 4, 5, 6, 7] {
                        if ROW < ROWS {
                            let total = _mm512_add_epi32(_mm512_slli_epi32::<8>(high[ROW]), low[ROW]);
                            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(total), scale);
                            // SAFETY: see the reason above.
                            unsafe {
                                add_product!("vfmadd231ps", sums[ROW], product, words, SCALE * ROWS + ROW);
                                add_product!("vfmadd231ps", sums[ROW], common, words, {
                                    let sum = if SPLIT { SUM_OF_HALF + HALF } else { SUM };
                                    sum * ROWS + ROW
                                });
                            }
                        }
                    });
                }
            });
        }
    }
    sums
}

/// Numbers of sixteen outputs in half precision.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn halves(head: &[u8], index: usize) -> __m512 {
    _mm512_cvtph_ps(bytemuck::cast::<_, __m256i>(
        head.as_chunks::<32>().0[index],
    ))
}

/// Levels or lows of sixteen outputs.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn signed(levels: &[u8], index: usize) -> __m512 {
    let bytes: __m128i = bytemuck::cast(levels.as_chunks::<16>().0[index]);
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
}

/// The codes of one step: four of each output, without a sign.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn codes<const BITS: usize, const HALF: usize, const STEP: usize>(record: &[[u8; 64]]) -> __m512i {
    if BITS == 8 {
        return register(&record[HALF * 4 + STEP]);
    }
    let both = register(&record[STEP]);
    let nibble = if HALF == 0 {
        both
    } else {
        _mm512_srli_epi16::<4>(both)
    };
    let nibble = _mm512_and_si512(nibble, _mm512_set1_epi8(15));
    match BITS {
        5 => {
            let high = shift(register(&record[4]), 4 - (HALF * 4 + STEP) as i32);
            _mm512_or_si512(nibble, _mm512_and_si512(high, _mm512_set1_epi8(16)))
        }
        6 => {
            let high = shift(register(&record[4 + HALF]), 4 - 2 * STEP as i32);
            _mm512_or_si512(nibble, _mm512_and_si512(high, _mm512_set1_epi8(48)))
        }
        _ => nibble,
    }
}

/// To the left, or to the right when negative.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn shift(x: __m512i, left: i32) -> __m512i {
    if left >= 0 {
        _mm512_sll_epi16(x, _mm_cvtsi32_si128(left))
    } else {
        _mm512_srl_epi16(x, _mm_cvtsi32_si128(-left))
    }
}

/// Rows of a group in float32: (outputs, inputs). To be called where [`available`].
pub(super) fn widen(form: Form, group: &[u8], inputs: usize, out: &mut [f32]) {
    #[expect(
        unsafe_code,
        reason = "the caller has checked that the processor has AVX-512 with VNNI"
    )]
    // SAFETY: see the reason above.
    unsafe {
        match form.bits {
            4 => widen_group::<4>(form, group, inputs, out),
            5 => widen_group::<5>(form, group, inputs, out),
            6 => widen_group::<6>(form, group, inputs, out),
            _ => widen_group::<8>(form, group, inputs, out),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn widen_group<const BITS: usize>(form: Form, group: &[u8], inputs: usize, out: &mut [f32]) {
    for (block, bytes) in group.chunks_exact(form.size()).enumerate() {
        let (head, records) = bytes.split_at(form.head());
        for (place, record) in records.chunks_exact(form.record()).enumerate() {
            let index = block * form.together + place;
            let (levels, record) = record.split_at(form.levels());
            let (scales, minima) = numbers(form, head, levels);
            let steps = unpacked::<BITS>(record.as_chunks::<64>().0);
            for output in 0..WIDTH {
                let at = output * inputs + index * 32;
                for (half, out) in out[at..at + 32].chunks_exact_mut(16).enumerate() {
                    let codes: [[u8; 4]; 4] =
                        std::array::from_fn(|step| steps[half * 4 + step].as_chunks().0[output]);
                    let codes: __m128i = bytemuck::cast(codes);
                    let whole =
                        _mm512_sub_epi32(_mm512_cvtepu8_epi32(codes), _mm512_set1_epi32(form.zero));
                    let scale = _mm512_set1_ps(scales[half][output]);
                    let minimum = _mm512_set1_ps(minima[half][output]);
                    // No fused product: so these are the numbers of GGUF's own rule.
                    let values =
                        _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(whole), scale), minimum);
                    out.copy_from_slice(&floats(values));
                }
            }
        }
    }
}

/// Scales and minima of both halves of a record.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn numbers(form: Form, head: &[u8], levels: &[u8]) -> ([[f32; WIDTH]; 2], [[f32; WIDTH]; 2]) {
    let (mut scales, mut minima) = ([[0f32; WIDTH]; 2], [[0f32; WIDTH]; 2]);
    for half in 0..2 {
        let part = half.min(form.parts() - 1);
        let number = |kind: usize| match form.together {
            1 => halves(head, kind),
            _ => _mm512_mul_ps(
                halves(head, kind),
                signed(levels, kind * form.parts() + part),
            ),
        };
        scales[half] = floats(number(0));
        if form.minima {
            minima[half] = floats(number(1));
        }
    }
    (scales, minima)
}

/// The codes of a record, step by step.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn unpacked<const BITS: usize>(record: &[[u8; 64]]) -> [[u8; 64]; 8] {
    let bytes = |codes| bytemuck::cast(floats(_mm512_castsi512_ps(codes)));
    [
        bytes(codes::<BITS, 0, 0>(record)),
        bytes(codes::<BITS, 0, 1>(record)),
        bytes(codes::<BITS, 0, 2>(record)),
        bytes(codes::<BITS, 0, 3>(record)),
        bytes(codes::<BITS, 1, 0>(record)),
        bytes(codes::<BITS, 1, 1>(record)),
        bytes(codes::<BITS, 1, 2>(record)),
        bytes(codes::<BITS, 1, 3>(record)),
    ]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn register(bytes: &[u8; 64]) -> __m512i {
    #[expect(
        unsafe_code,
        reason = "64 bytes are 64 bytes; bytemuck has this cast only with a feature that would build half of the dependencies anew"
    )]
    // SAFETY: see the reason above; the instruction takes any alignment.
    unsafe {
        _mm512_loadu_si512(bytes.as_ptr().cast())
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn floats(register: __m512) -> [f32; WIDTH] {
    let mut out = [0f32; WIDTH];
    #[expect(
        unsafe_code,
        reason = "sixteen numbers are written to sixteen places; see `register`"
    )]
    // SAFETY: see the reason above; the instruction takes any alignment.
    unsafe {
        _mm512_storeu_ps(out.as_mut_ptr(), register);
    }
    out
}
