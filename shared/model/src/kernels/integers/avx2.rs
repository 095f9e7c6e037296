//! The layouts of GGUF's quantised blocks, read into vector registers.

use super::{IntegerRow, TOGETHER};
use bytemuck::pod_read_unaligned as read;
use candle_core::quantized::GgmlDType;
use std::arch::x86_64::{
    __m128, __m128i, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_and_si128, _mm_cvtph_ps,
    _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_movehl_ps, _mm_set1_epi8, _mm_set1_ps, _mm_shuffle_ps,
    _mm_srli_epi16, _mm256_add_epi8, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256,
    _mm256_castps256_ps128, _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_or_si256,
    _mm256_set_m128, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi64x, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sign_epi8, _mm256_slli_epi16,
    _mm256_srl_epi16, _mm256_sub_epi8,
};

/// Whether the processor has what this module is compiled for.
pub(super) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

/// One row of weights times up to four rows of activations; `out` says how many. To be called where [`available`].
pub(super) fn dot(
    dtype: GgmlDType,
    weights: &[u8],
    rows: &[IntegerRow<'_>; TOGETHER],
    out: &mut [f32],
) {
    #[expect(
        unsafe_code,
        reason = "the caller has checked that the processor has AVX2, FMA and F16C"
    )]
    // SAFETY: see the reason above.
    unsafe {
        match out.len() {
            1 => dot_rows::<1>(dtype, weights, rows, out),
            2 => dot_rows::<2>(dtype, weights, rows, out),
            _ => dot_rows::<TOGETHER>(dtype, weights, rows, out),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_rows<const ROWS: usize>(
    dtype: GgmlDType,
    weights: &[u8],
    rows: &[IntegerRow<'_>; TOGETHER],
    out: &mut [f32],
) {
    let sums = match dtype {
        GgmlDType::Q4_0 => q4_0::<ROWS>(weights, rows),
        GgmlDType::Q4_1 => q4_1::<ROWS>(weights, rows),
        GgmlDType::Q5_0 => q5_0::<ROWS>(weights, rows),
        GgmlDType::Q5_1 => q5_1::<ROWS>(weights, rows),
        GgmlDType::Q8_0 => q8_0::<ROWS>(weights, rows),
        GgmlDType::Q4K => q4_k::<ROWS>(weights, rows),
        GgmlDType::Q5K => q5_k::<ROWS>(weights, rows),
        _ => q6_k::<ROWS>(weights, rows),
    };
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum;
    }
}

/// 32 weights: value = scale · integer + minimum.
struct Block {
    integers: __m256i,
    scale: __m256,
    minimum: f32,
}

/// The loop of one format: `$bytes` bytes hold `$blocks` blocks of 32 weights, which `$unpack` reads one by one.
macro_rules! kernel {
    ($name:ident, $bytes:literal, $blocks:literal, $unpack:ident) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $name<const ROWS: usize>(
            weights: &[u8],
            rows: &[IntegerRow<'_>; TOGETHER],
        ) -> [f32; ROWS] {
            let mut sums = [_mm256_setzero_ps(); ROWS];
            let mut minima = [0f32; ROWS];
            for (outer, bytes) in weights.as_chunks::<$bytes>().0.iter().enumerate() {
                for inner in 0..$blocks {
                    let block = $unpack(bytes, inner);
                    let index = outer * $blocks + inner;
                    for row in 0..ROWS {
                        let at = index * 32..index * 32 + 32;
                        let values = read(bytemuck::cast_slice(&rows[row].values[at.clone()]));
                        let rests = read(bytemuck::cast_slice(&rows[row].rests[at]));
                        let scale =
                            _mm256_mul_ps(block.scale, _mm256_set1_ps(rows[row].scales[index]));
                        sums[row] = _mm256_fmadd_ps(
                            multiply(block.integers, values, rests),
                            scale,
                            sums[row],
                        );
                        minima[row] += block.minimum * rows[row].sums[index];
                    }
                }
            }
            let mut out = minima;
            for row in 0..ROWS {
                out[row] += sum(sums[row]);
            }
            out
        }
    };
}

kernel!(q4_0, 18, 1, unpack_q4_0);
kernel!(q4_1, 20, 1, unpack_q4_1);
kernel!(q5_0, 22, 1, unpack_q5_0);
kernel!(q5_1, 24, 1, unpack_q5_1);
kernel!(q8_0, 34, 1, unpack_q8_0);
kernel!(q4_k, 144, 8, unpack_q4_k);
kernel!(q5_k, 176, 8, unpack_q5_k);
kernel!(q6_k, 210, 8, unpack_q6_k);

/// Eight sums of four products each, as float32. The signs move to the right factor, since the instruction takes an
/// unsigned left one. A pair is at most 2 · 128 · 127, so that neither it nor 256 times it overflows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn multiply(weights: __m256i, values: __m256i, rests: __m256i) -> __m256 {
    let unsigned = _mm256_sign_epi8(weights, weights);
    let high = _mm256_maddubs_epi16(unsigned, _mm256_sign_epi8(values, weights));
    let low = _mm256_maddubs_epi16(unsigned, _mm256_sign_epi8(rests, weights));
    _mm256_cvtepi32_ps(_mm256_add_epi32(
        _mm256_madd_epi16(high, _mm256_set1_epi16(256)),
        _mm256_madd_epi16(low, _mm256_set1_epi16(1)),
    ))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sum(x: __m256) -> f32 {
    let four: __m128 = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn half(bytes: &[u8]) -> f32 {
    let bits: u16 = read(&bytes[..2]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

/// 16 bytes as 32 integers of 4 bits: the low halves first, then the high ones.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn nibbles(bytes: &[u8]) -> __m256i {
    let both: __m128i = read(&bytes[..16]);
    let mask = _mm_set1_epi8(15);
    _mm256_set_m128i(
        _mm_and_si128(_mm_srli_epi16(both, 4), mask),
        _mm_and_si128(both, mask),
    )
}

/// 4 bytes as 32 integers, 16 where the bit is set and 0 elsewhere.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fifth_bits(bytes: &[u8]) -> __m256i {
    let bits: i32 = read(&bytes[..4]);
    let spread = _mm256_setr_epi64x(
        0,
        0x0101_0101_0101_0101,
        0x0202_0202_0202_0202,
        0x0303_0303_0303_0303,
    );
    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), spread);
    let unset = _mm256_set1_epi64x(0x7FBF_DFEF_F7FB_FDFE);
    let set = _mm256_cmpeq_epi8(_mm256_or_si256(bytes, unset), _mm256_set1_epi8(-1));
    _mm256_and_si256(set, _mm256_set1_epi8(16))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn block(integers: __m256i, scale: f32, minimum: f32) -> Block {
    Block {
        integers,
        scale: _mm256_set1_ps(scale),
        minimum,
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q4_0(bytes: &[u8; 18], _: usize) -> Block {
    block(
        _mm256_sub_epi8(nibbles(&bytes[2..]), _mm256_set1_epi8(8)),
        half(bytes),
        0.0,
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q4_1(bytes: &[u8; 20], _: usize) -> Block {
    block(nibbles(&bytes[4..]), half(bytes), half(&bytes[2..]))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q5_0(bytes: &[u8; 22], _: usize) -> Block {
    let integers = _mm256_add_epi8(nibbles(&bytes[6..]), fifth_bits(&bytes[2..]));
    block(
        _mm256_sub_epi8(integers, _mm256_set1_epi8(16)),
        half(bytes),
        0.0,
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q5_1(bytes: &[u8; 24], _: usize) -> Block {
    block(
        _mm256_add_epi8(nibbles(&bytes[8..]), fifth_bits(&bytes[4..])),
        half(bytes),
        half(&bytes[2..]),
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q8_0(bytes: &[u8; 34], _: usize) -> Block {
    block(read(&bytes[2..]), half(bytes), 0.0)
}

/// Scale and minimum of block `index` from the 12 bytes in which Q4_K and Q5_K pack eight pairs of 6 bits.
#[inline(always)]
fn pair_of_six(packed: &[u8], index: usize) -> (f32, f32) {
    let (scale, minimum) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        (
            (packed[index + 4] & 15) | ((packed[index - 4] >> 6) << 4),
            (packed[index + 4] >> 4) | ((packed[index] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(minimum))
}

/// The nibbles of block `index` of a Q4_K or Q5_K superblock: two blocks share 32 bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn shared_nibbles(bytes: &[u8], index: usize) -> __m256i {
    let both: __m256i = read(&bytes[index / 2 * 32..index / 2 * 32 + 32]);
    let shift = if index.is_multiple_of(2) { 0 } else { 4 };
    _mm256_and_si256(
        _mm256_srl_epi16(both, _mm_cvtsi32_si128(shift)),
        _mm256_set1_epi8(15),
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q4_k(bytes: &[u8; 144], index: usize) -> Block {
    let (scale, minimum) = pair_of_six(&bytes[4..16], index);
    block(
        shared_nibbles(&bytes[16..], index),
        half(bytes) * scale,
        -half(&bytes[2..]) * minimum,
    )
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q5_k(bytes: &[u8; 176], index: usize) -> Block {
    let (scale, minimum) = pair_of_six(&bytes[4..16], index);
    let high: __m256i = read(&bytes[16..48]);
    let bit = _mm256_set1_epi8((1u8 << index) as i8);
    let unset = _mm256_cmpeq_epi8(_mm256_and_si256(high, bit), _mm256_setzero_si256());
    let fifth = _mm256_andnot_si256(unset, _mm256_set1_epi8(16));
    block(
        _mm256_or_si256(shared_nibbles(&bytes[48..], index), fifth),
        half(bytes) * scale,
        -half(&bytes[2..]) * minimum,
    )
}

/// Q6_K: 128 bytes of low nibbles, 64 bytes of high pairs of bits, 16 scales of 16 weights, one scale of all.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_q6_k(bytes: &[u8; 210], index: usize) -> Block {
    let (part, quarter) = (index / 4, index % 4);
    let at = part * 64 + quarter % 2 * 32;
    let low: __m256i = read(&bytes[at..at + 32]);
    let low = _mm256_srl_epi16(low, _mm_cvtsi32_si128(if quarter < 2 { 0 } else { 4 }));
    let at = 128 + part * 32;
    let high: __m256i = read(&bytes[at..at + 32]);
    let high = _mm256_srl_epi16(high, _mm_cvtsi32_si128(2 * quarter as i32));
    let high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4);
    let integers = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), high);
    let all = half(&bytes[208..]);
    let scale = |half: usize| {
        _mm_set1_ps(all * f32::from(bytes[192 + part * 8 + quarter * 2 + half] as i8))
    };
    Block {
        integers: _mm256_sub_epi8(integers, _mm256_set1_epi8(32)),
        scale: _mm256_set_m128(scale(1), scale(0)),
        minimum: 0.0,
    }
}
