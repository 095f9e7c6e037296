//! Records of eight outputs times rows of activations, in vector registers.

use super::lanes::{Form, MOST_WIDTH, Sums};
use super::round::{Panel, SCALE, SUM, SUM_OF_HALF, WORDS};
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_cvtsi32_si128, _mm256_abs_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_sign_epi8, _mm256_sll_epi16, _mm256_srl_epi16, _mm256_srli_epi16,
    _mm256_sub_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64,
};

/// Outputs side by side.
pub(super) const WIDTH: usize = 8;
/// Whether the processor has what these kernels are compiled for.
pub(super) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

/// One group of eight outputs times the rows of a panel. To be called where [`available`].
pub(super) fn dot(form: Form, group: &[u8], panel: &Panel, out: &mut Sums) {
    #[expect(
        unsafe_code,
        reason = "the caller has checked that the processor has AVX2, FMA and F16C"
    )]
    // SAFETY: see the reason above.
    unsafe {
        let words = &panel.words;
        match panel.rows {
            1 => dot_rows::<1, 1>(form, group, words, out),
            2 => dot_rows::<2, 2>(form, group, words, out),
            4 => dot_rows::<4, 4>(form, group, words, out),
            // There are registers for four rows.
            _ => {
                dot_rows::<4, 8>(form, group, words, out);
                dot_rows::<4, 8>(
                    form,
                    group,
                    words.get(4..).unwrap_or_default(),
                    &mut out[4..],
                );
            }
        }
    }
}

/// Which of the kernels below a form needs: bytes of a head with its records, bits, records, minima, split.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_rows<const ROWS: usize, const STRIDE: usize>(
    form: Form,
    group: &[u8],
    words: &[i32],
    out: &mut [[f32; MOST_WIDTH]],
) {
    let zero = -form.zero as f32;
    let sums = match (form.bits, form.together, form.minima, form.split) {
        (4, 1, false, _) => kernel::<144, 4, 1, false, false, ROWS, STRIDE>(group, words, zero),
        (4, 1, true, _) => kernel::<160, 4, 1, true, false, ROWS, STRIDE>(group, words, zero),
        (5, 1, false, _) => kernel::<176, 5, 1, false, false, ROWS, STRIDE>(group, words, zero),
        (5, 1, true, _) => kernel::<192, 5, 1, true, false, ROWS, STRIDE>(group, words, zero),
        (8, ..) => kernel::<272, 8, 1, false, false, ROWS, STRIDE>(group, words, zero),
        (4, _, true, true) => kernel::<1312, 4, 8, true, true, ROWS, STRIDE>(group, words, zero),
        (4, _, false, _) => kernel::<1168, 4, 8, false, true, ROWS, STRIDE>(group, words, zero),
        (4, _, true, false) => kernel::<1184, 4, 8, true, false, ROWS, STRIDE>(group, words, zero),
        (5, ..) => kernel::<1440, 5, 8, true, false, ROWS, STRIDE>(group, words, zero),
        _ => kernel::<1680, 6, 8, false, true, ROWS, STRIDE>(group, words, zero),
    };
    for (out, sums) in out.iter_mut().zip(sums) {
        out[..WIDTH].copy_from_slice(&bytemuck::cast::<__m256, [f32; WIDTH]>(sums));
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

/// Adds code · activation of 16 weights of each output to `$totals`, as 256 · value + rest. (A function that is not
/// inlined would keep all of its registers in memory.)
macro_rules! half_block {
    ($bits:ident, $half:ident, $rows:ident, $stride:ident, $record:ident, $words:ident, $totals:ident) => {
        let mut high = [_mm256_setzero_si256(); $rows];
        let mut low = [_mm256_setzero_si256(); $rows];
        repeat!(STEP in [0, 1, 2, 3] {
            let codes = codes::<$bits, $half, STEP>($record);
            for row in 0..$rows {
                let value = _mm256_set1_epi32($words[($half * 4 + STEP) * $stride + row]);
                let rest = _mm256_set1_epi32($words[(8 + $half * 4 + STEP) * $stride + row]);
                high[row] = _mm256_add_epi16(high[row], products::<$bits>(codes, value));
                low[row] = _mm256_add_epi16(low[row], products::<$bits>(codes, rest));
            }
            // Sums of 16 bits that cannot overflow: 2 · 127 · 31 · 4, 2 · 127 · 63 · 2, 2 · 127 · 128.
            let together = match $bits {
                8 => 1,
                6 => 2,
                _ => 4,
            };
            if (STEP + 1) % together == 0 {
                for row in 0..$rows {
                    let sum = _mm256_add_epi32(
                        _mm256_madd_epi16(high[row], _mm256_set1_epi16(256)),
                        _mm256_madd_epi16(low[row], _mm256_set1_epi16(1)),
                    );
                    $totals[row] = _mm256_add_epi32($totals[row], sum);
                    high[row] = _mm256_setzero_si256();
                    low[row] = _mm256_setzero_si256();
                }
            }
        });
    };
}

/// The loop over the records of a group, for `ROWS` rows of a panel of `STRIDE`. `zero` is negated.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn kernel<
    const SIZE: usize,
    const BITS: usize,
    const TOGETHER: usize,
    const MINIMA: bool,
    const SPLIT: bool,
    const ROWS: usize,
    const STRIDE: usize,
>(
    group: &[u8],
    words: &[i32],
    zero: f32,
) -> [__m256; ROWS] {
    let mut sums = [_mm256_setzero_ps(); ROWS];
    let zero = _mm256_set1_ps(zero);
    let parts = if SPLIT { 2 } else { 1 };
    let kinds = if MINIMA { 2 } else { 1 };
    let levels = if TOGETHER == 1 {
        0
    } else {
        kinds * parts * WIDTH
    };
    let size = levels + WIDTH * 4 * BITS;
    let mut blocks = words.chunks(WORDS * STRIDE);
    for bytes in group.as_chunks::<SIZE>().0 {
        let (head, records) = bytes.split_at(kinds * WIDTH * 2);
        let d = halves(head, 0);
        let m = if MINIMA { halves(head, 1) } else { zero };
        for (record, words) in records.chunks_exact(size).zip(&mut blocks) {
            let (levels, record) = record.split_at(levels);
            let record = record.as_chunks::<32>().0;
            let mut totals = [_mm256_setzero_si256(); ROWS];
            repeat!(HALF in [0, 1] {
                half_block!(BITS, HALF, ROWS, STRIDE, record, words, totals);
                if SPLIT || HALF == 1 {
                    let part = if SPLIT { HALF } else { 0 };
                    let scale = match TOGETHER {
                        1 => d,
                        _ => _mm256_mul_ps(d, signed(levels, part)),
                    };
                    // What all weights of an output have in common is multiplied with the sum of the activations.
                    let common = match (MINIMA, TOGETHER) {
                        (true, 1) => m,
                        (true, _) => _mm256_mul_ps(m, signed(levels, parts + part)),
                        (false, _) => _mm256_mul_ps(scale, zero),
                    };
                    for row in 0..ROWS {
                        let number = |index: usize| f32::from_bits(words[index * STRIDE + row] as u32);
                        let row_scale = _mm256_set1_ps(number(SCALE));
                        let product = _mm256_cvtepi32_ps(totals[row]);
                        let scale = _mm256_mul_ps(scale, row_scale);
                        sums[row] = _mm256_fmadd_ps(product, scale, sums[row]);
                        if BITS != 8 {
                            let sum = match (SPLIT, HALF) {
                                (false, _) => number(SUM),
                                (true, half) => number(SUM_OF_HALF + half),
                            };
                            sums[row] = _mm256_fmadd_ps(common, _mm256_set1_ps(sum), sums[row]);
                        }
                        totals[row] = _mm256_setzero_si256();
                    }
                }
            });
        }
    }
    sums
}

/// Pairs of code · activation. Codes with a sign give it to the right factor, since the instruction takes an unsigned left
/// one.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn products<const BITS: usize>(codes: __m256i, activations: __m256i) -> __m256i {
    if BITS == 8 {
        return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(activations, codes));
    }
    _mm256_maddubs_epi16(codes, activations)
}

/// Numbers of eight outputs in half precision.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn halves(head: &[u8], index: usize) -> __m256 {
    _mm256_cvtph_ps(bytemuck::cast(head.as_chunks::<16>().0[index]))
}

/// Levels or lows of eight outputs.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn signed(levels: &[u8], index: usize) -> __m256 {
    let bytes: __m128i = bytemuck::cast([levels.as_chunks::<8>().0[index], [0; 8]]);
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
}

/// The codes of one step: four of each output.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn codes<const BITS: usize, const HALF: usize, const STEP: usize>(record: &[[u8; 32]]) -> __m256i {
    if BITS == 8 {
        return bytemuck::cast(record[HALF * 4 + STEP]);
    }
    let both: __m256i = bytemuck::cast(record[STEP]);
    let nibble = if HALF == 0 {
        both
    } else {
        _mm256_srli_epi16(both, 4)
    };
    let nibble = _mm256_and_si256(nibble, _mm256_set1_epi8(15));
    match BITS {
        5 => {
            let high = shift(bytemuck::cast(record[4]), 4 - (HALF * 4 + STEP) as i32);
            _mm256_or_si256(nibble, _mm256_and_si256(high, _mm256_set1_epi8(16)))
        }
        6 => {
            let high = shift(bytemuck::cast(record[4 + HALF]), 4 - 2 * STEP as i32);
            _mm256_or_si256(nibble, _mm256_and_si256(high, _mm256_set1_epi8(48)))
        }
        _ => nibble,
    }
}

/// To the left, or to the right when negative.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn shift(x: __m256i, left: i32) -> __m256i {
    if left >= 0 {
        _mm256_sll_epi16(x, _mm_cvtsi32_si128(left))
    } else {
        _mm256_srl_epi16(x, _mm_cvtsi32_si128(-left))
    }
}

/// Rows of a group in float32: (outputs, inputs). To be called where [`available`].
pub(super) fn widen(form: Form, group: &[u8], inputs: usize, out: &mut [f32]) {
    #[expect(
        unsafe_code,
        reason = "the caller has checked that the processor has AVX2, FMA and F16C"
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

#[target_feature(enable = "avx2,fma,f16c")]
fn widen_group<const BITS: usize>(form: Form, group: &[u8], inputs: usize, out: &mut [f32]) {
    for (block, bytes) in group.chunks_exact(form.size()).enumerate() {
        let (head, records) = bytes.split_at(form.head());
        for (place, record) in records.chunks_exact(form.record()).enumerate() {
            let index = block * form.together + place;
            let (levels, record) = record.split_at(form.levels());
            let (scales, minima) = numbers(form, head, levels);
            let rows = turned::<BITS>(record.as_chunks::<32>().0);
            for (output, row) in rows.iter().enumerate() {
                let at = output * inputs + index * 32;
                let codes: [[u8; 8]; 4] = bytemuck::cast(*row);
                for (quarter, (out, codes)) in
                    out[at..at + 32].chunks_exact_mut(8).zip(codes).enumerate()
                {
                    let codes: __m128i = bytemuck::cast([codes, [0; 8]]);
                    let whole = if BITS == 8 {
                        _mm256_cvtepi8_epi32(codes)
                    } else {
                        _mm256_sub_epi32(_mm256_cvtepu8_epi32(codes), _mm256_set1_epi32(form.zero))
                    };
                    let scale = _mm256_set1_ps(scales[quarter / 2][output]);
                    let minimum = _mm256_set1_ps(minima[quarter / 2][output]);
                    // No fused product: so these are the numbers of GGUF's own rule.
                    let values =
                        _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(whole), scale), minimum);
                    out.copy_from_slice(&bytemuck::cast::<__m256, [f32; 8]>(values));
                }
            }
        }
    }
}

/// Scales and minima of both halves of a record.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn numbers(form: Form, head: &[u8], levels: &[u8]) -> ([[f32; WIDTH]; 2], [[f32; WIDTH]; 2]) {
    let (mut scales, mut minima) = ([[0f32; WIDTH]; 2], [[0f32; WIDTH]; 2]);
    for half in 0..2 {
        let part = half.min(form.parts() - 1);
        let number = |kind: usize| match form.together {
            1 => halves(head, kind),
            _ => _mm256_mul_ps(
                halves(head, kind),
                signed(levels, kind * form.parts() + part),
            ),
        };
        scales[half] = bytemuck::cast(number(0));
        if form.minima {
            minima[half] = bytemuck::cast(number(1));
        }
    }
    (scales, minima)
}

/// The codes of a record, output by output.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn turned<const BITS: usize>(record: &[[u8; 32]]) -> [__m256i; 8] {
    let s = [
        codes::<BITS, 0, 0>(record),
        codes::<BITS, 0, 1>(record),
        codes::<BITS, 0, 2>(record),
        codes::<BITS, 0, 3>(record),
        codes::<BITS, 1, 0>(record),
        codes::<BITS, 1, 1>(record),
        codes::<BITS, 1, 2>(record),
        codes::<BITS, 1, 3>(record),
    ];
    // Eight rows of eight numbers of 32 bits, turned round: pairs, fours, then halves of registers.
    let pair = |a: usize, b: usize| {
        (
            _mm256_unpacklo_epi32(s[a], s[b]),
            _mm256_unpackhi_epi32(s[a], s[b]),
        )
    };
    let [(a, b), (c, d), (e, f), (g, h)] = [pair(0, 1), pair(2, 3), pair(4, 5), pair(6, 7)];
    let four = |a, c| (_mm256_unpacklo_epi64(a, c), _mm256_unpackhi_epi64(a, c));
    let [(p, q), (r, t), (u, v), (w, x)] = [four(a, c), four(b, d), four(e, g), four(f, h)];
    let low = |a, b| _mm256_permute2x128_si256(a, b, 0x20);
    let high = |a, b| _mm256_permute2x128_si256(a, b, 0x31);
    [
        low(p, u),
        low(q, v),
        low(r, w),
        low(t, x),
        high(p, u),
        high(q, v),
        high(r, w),
        high(t, x),
    ]
}
