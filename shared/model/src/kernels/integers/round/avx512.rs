//! Rounding in the registers of AVX-512: a block of 32 is two of them.

use super::super::avx512::register;
use super::{BLOCK, LARGEST, Rounded, WORDS};
use std::arch::x86_64::{
    __m128i, _mm512_abs_ps, _mm512_add_epi32, _mm512_castsi512_ps, _mm512_cvtepi32_epi8,
    _mm512_cvtps_epi32, _mm512_max_epi32, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_epi32,
    _mm512_reduce_max_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_srai_epi32,
    _mm512_sub_epi32,
};

/// Rounds one of `rows` rows. To be called where the processor has AVX-512 with VNNI.
pub(super) fn round_row(values: &[f32], row: usize, rows: usize, words: &mut [i32]) {
    #[expect(
        unsafe_code,
        reason = "the caller has checked that the processor has AVX-512 with VNNI"
    )]
    // SAFETY: see the reason above.
    unsafe {
        round_blocks(values, row, rows, words);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn round_blocks(values: &[f32], row: usize, rows: usize, words: &mut [i32]) {
    let blocks = values.as_chunks::<BLOCK>().0;
    for (block, words) in blocks.iter().zip(words.chunks_exact_mut(WORDS * rows)) {
        let bytes: &[[u8; 64]; 2] = bytemuck::cast_ref(block);
        let halves = bytes
            .each_ref()
            .map(|half| _mm512_castsi512_ps(register(half)));
        let largest = _mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1]));
        let largest = _mm512_reduce_max_ps(largest);
        let inverse = if largest > 0.0 {
            LARGEST / largest
        } else {
            0.0
        };
        let parts = halves.map(|half| {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(half, _mm512_set1_ps(inverse)));
            let high = _mm512_srai_epi32::<8>(_mm512_add_epi32(whole, _mm512_set1_epi32(128)));
            let shifted = _mm512_slli_epi32::<8>(high);
            // -128 has no positive counterpart, which the kernels need.
            let low = _mm512_max_epi32(_mm512_sub_epi32(whole, shifted), _mm512_set1_epi32(-127));
            let total = _mm512_reduce_add_epi32(_mm512_add_epi32(shifted, low));
            let bytes = |x| bytemuck::cast::<__m128i, [i32; 4]>(_mm512_cvtepi32_epi8(x));
            (bytes(high), bytes(low), total)
        });
        let [(first, first_rests, total), (second, second_rests, other)] = parts;
        let rounded = Rounded {
            values: bytemuck::cast([first, second]),
            rests: bytemuck::cast([first_rests, second_rests]),
            scale: largest / LARGEST,
            totals: [total, other],
        };
        rounded.put(row, rows, words);
    }
}
