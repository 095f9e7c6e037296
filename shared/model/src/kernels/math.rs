#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128, _mm_movehdup_ps, _mm_movehl_ps,
    _mm256_add_ps, _mm256_castps256_ps128, _mm256_cvtepi16_epi32, _mm256_cvtepi32_ps,
    _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
};
#[cfg(target_arch = "x86_64")]
use std::slice::ChunksExact;

/// Values handled side by side in the inner loops: four AVX2 registers.
pub(crate) const LANES: usize = 32;

/// a · b + c, fused where the caller was compiled for it (elsewhere a fused operation would be a slow library call).
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The dot product of two slices of one length. `FUSED` says that the caller is compiled for AVX2 and FMA.
#[inline(always)]
pub(crate) fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_blocks
        .remainder()
        .iter()
        .zip(b_blocks.remainder())
        .fold(0f32, |sum, (a, b)| sum + a * b);
    #[cfg(target_arch = "x86_64")]
    if FUSED {
        #[expect(
            unsafe_code,
            reason = "`FUSED` is set by `dispatch` alone, where the processor has AVX2 and FMA"
        )]
        // SAFETY: see the reason above.
        return rest + unsafe { dot_blocks(a_blocks, b_blocks) };
    }
    let mut sums = [0f32; LANES];
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FUSED>(a[lane], b[lane], sums[lane]);
        }
    }
    rest + sums.iter().sum::<f32>()
}

/// The same of integers and numbers.
#[inline(always)]
pub(super) fn dot_integers<const FUSED: bool>(a: &[i16], b: &[f32]) -> f32 {
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_blocks
        .remainder()
        .iter()
        .zip(b_blocks.remainder())
        .fold(0f32, |sum, (a, b)| sum + f32::from(*a) * b);
    #[cfg(target_arch = "x86_64")]
    if FUSED {
        #[expect(
            unsafe_code,
            reason = "`FUSED` is set by `dispatch` alone, where the processor has AVX2 and FMA"
        )]
        // SAFETY: see the reason above.
        return rest + unsafe { dot_integer_blocks(a_blocks, b_blocks) };
    }
    let mut sums = [0f32; LANES];
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FUSED>(f32::from(a[lane]), b[lane], sums[lane]);
        }
    }
    rest + sums.iter().sum::<f32>()
}

/// In instructions of its own: the compiler goes at the last sum pair by pair, and then at all that leads to it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot_blocks(a: ChunksExact<'_, f32>, b: ChunksExact<'_, f32>) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    for (a, b) in a.zip(b) {
        for part in 0..4 {
            let (a, b) = (&a[part * 8..part * 8 + 8], &b[part * 8..part * 8 + 8]);
            #[expect(
                unsafe_code,
                reason = "both slices hold the eight numbers that are read"
            )]
            // SAFETY: see the reason above; the instruction takes any alignment.
            let (a, b) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr())) };
            sums[part] = _mm256_fmadd_ps(a, b, sums[part]);
        }
    }
    sum_of_lanes(sums)
}

/// The same of integers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn dot_integer_blocks(a: ChunksExact<'_, i16>, b: ChunksExact<'_, f32>) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    for (a, b) in a.zip(b) {
        for part in 0..4 {
            let (a, b) = (&a[part * 8..part * 8 + 8], &b[part * 8..part * 8 + 8]);
            #[expect(
                unsafe_code,
                reason = "both slices hold the eight numbers that are read"
            )]
            // SAFETY: see the reason above; the instructions take any alignment.
            let (a, b) = unsafe {
                (
                    _mm_loadu_si128(a.as_ptr().cast()),
                    _mm256_loadu_ps(b.as_ptr()),
                )
            };
            let a = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(a));
            sums[part] = _mm256_fmadd_ps(a, b, sums[part]);
        }
    }
    sum_of_lanes(sums)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sum_of_lanes(sums: [__m256; 4]) -> f32 {
    let pair = |a, b| _mm256_add_ps(a, b);
    let eight = pair(pair(sums[0], sums[1]), pair(sums[2], sums[3]));
    let four = _mm_add_ps(
        _mm256_castps256_ps128(eight),
        _mm256_extractf128_ps::<1>(eight),
    );
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The sum of a slice.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let blocks = values.chunks_exact(LANES);
    let rest: f32 = blocks.remainder().iter().sum();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += block[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// out += weight · row.
#[inline(always)]
pub(crate) fn add_scaled<const FUSED: bool, T>(out: &mut [f32], weight: f32, row: &[T])
where
    T: Copy + Into<f32>,
{
    for (out, value) in out.iter_mut().zip(row) {
        *out = multiply_add::<FUSED>(weight, (*value).into(), *out);
    }
}

/// e to the power of x, within 9e-8 relative where products are fused (the last bit; 1.2e-7 elsewhere); 0 below -87.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2; e^r by its series to the seventh power, 2^n by the exponent bits.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer, which then stands in the low bits
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = multiply_add::<FUSED>(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let most = multiply_add::<FUSED>(n, -0.693_359_4, clamped); // exact: the constant has ten bits
    let r = multiply_add::<FUSED>(n, 2.121_944_4e-4, most);
    let lost = multiply_add::<FUSED>(n, 2.121_944_4e-4, most - r);
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        sum = multiply_add::<FUSED>(sum, r, coefficient);
    }
    // 1 comes last, so that it rounds alone.
    let sum = 1.0 + (r + multiply_add::<FUSED>(sum, r * r, lost));
    let exponent = (shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127))
        << 23;
    let value = sum * f32::from_bits(exponent);
    if x < -87.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    fn exp_of_body<const FUSED: bool>(x: f32, out: &mut f32) {
        *out = exp::<FUSED>(x);
    }

    crate::kernels::dispatch!(exp_of, exp_of_body, (x: f32, out: &mut f32));

    #[test]
    fn exp_is_right_to_the_last_bit() {
        #[cfg(target_arch = "x86_64")]
        let fused = std::arch::is_x86_feature_detected!("fma");
        #[cfg(not(target_arch = "x86_64"))]
        let fused = false;
        for step in -86_000..87_000 {
            let x = step as f32 / 1000.0;
            let expected = f64::from(x).exp();
            let off = |value: f32| (f64::from(value) - expected).abs() / expected;
            let mut fast = 0.0;
            exp_of(x, &mut fast);
            let limit = if fused { 9e-8 } else { 1.2e-7 };
            assert!(off(fast) < limit, "exp({x}) is off by {}", off(fast));
            let plain = off(exp::<false>(x));
            assert!(plain < 1.2e-7, "exp({x}) is off by {plain}");
        }
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
    }

    #[inline(always)]
    fn dot_of_body<const FUSED: bool>(a: &[f32], b: &[f32], out: &mut f32) {
        *out = dot::<FUSED>(a, b);
    }

    crate::kernels::dispatch!(dot_of, dot_of_body, (a: &[f32], b: &[f32], out: &mut f32));

    #[inline(always)]
    fn dot_of_integers_body<const FUSED: bool>(a: &[i16], b: &[f32], out: &mut f32) {
        *out = dot_integers::<FUSED>(a, b);
    }

    crate::kernels::dispatch!(dot_of_integers, dot_of_integers_body, (a: &[i16], b: &[f32], out: &mut f32));

    #[test]
    fn dot_counts_every_element() {
        for length in [0, 1, 31, 32, 33, 64, 100] {
            let ones = vec![1f32; length];
            assert_eq!(dot::<false>(&ones, &ones), length as f32);
            let mut found = 0.0;
            dot_of(&ones, &ones, &mut found);
            assert_eq!(found, length as f32);
            dot_of_integers(&vec![3i16; length], &ones, &mut found);
            assert_eq!(found, 3.0 * length as f32);
            assert_eq!(dot_integers::<false>(&vec![3; length], &ones), found);
        }
    }
}
