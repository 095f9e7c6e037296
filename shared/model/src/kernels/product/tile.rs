//! The inner loop of matrix products on processors with AVX-512: a tile of the result stays in registers.

use std::arch::x86_64::{
    __m512, __mmask16, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

/// Rows of a tile: with two registers a row, 24 of 32 registers hold sums.
pub(super) const ROWS: usize = 12;
/// Columns of a tile: two registers.
pub(super) const COLUMNS: usize = 32;
const LANES: usize = 16;

/// Whether this processor can.
pub(super) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
}

/// The left factor: element (row, k) at `row · row_step + k · step`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) row_step: usize,
    pub(super) step: usize,
}

/// The right factor: for each k a row of at least as many values as the tile has columns, `step` apart.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) values: &'a [f32],
    pub(super) step: usize,
}

/// Adds (or puts) a · b over `depth` values of k to a tile of `rows` × `columns` at the beginning of `out`.
///
/// # Panics
/// Where a factor or the result is shorter than its steps say.
pub(super) fn multiply(
    out: (&mut [f32], usize),
    (rows, columns, depth): (usize, usize, usize),
    left: Left<'_>,
    right: Right<'_>,
    add: bool,
) {
    let (out, out_step) = out;
    assert!((1..=ROWS).contains(&rows) && (1..=COLUMNS).contains(&columns) && depth > 0);
    assert!((rows - 1) * out_step + columns <= out.len());
    assert!((rows - 1) * left.row_step + (depth - 1) * left.step < left.values.len());
    assert!((depth - 1) * right.step + columns <= right.values.len());
    // Rows before the last one are read as wide as registers are.
    let wide = columns.next_multiple_of(LANES);
    assert!(depth == 1 || (depth - 2) * right.step + wide <= right.values.len());
    assert!(available());
    let place = Place {
        left: left.values.as_ptr(),
        left_row: left.row_step,
        left_step: left.step,
        right: right.values.as_ptr(),
        right_step: right.step,
        out: out.as_mut_ptr(),
        out_step,
        depth,
        masks: masks(columns),
        add,
    };
    #[expect(
        unsafe_code,
        reason = "the asserts hold every element of the tile inside its slice, masks leave out the columns beyond, and \
                  AVX-512 was just found"
    )]
    // SAFETY: see the reason above.
    unsafe {
        dispatch(rows, columns > LANES, &place);
    }
}

/// Addresses of one tile.
struct Place {
    left: *const f32,
    left_row: usize,
    left_step: usize,
    right: *const f32,
    right_step: usize,
    out: *mut f32,
    out_step: usize,
    depth: usize,
    masks: [__mmask16; 2],
    add: bool,
}

fn masks(columns: usize) -> [__mmask16; 2] {
    let some = |count: usize| ((1u32 << count.min(LANES)) - 1) as __mmask16;
    [some(columns), some(columns.saturating_sub(LANES))]
}

macro_rules! by_rows {
    ($rows:expr, $wide:expr, $place:expr, $($count:literal)*) => {
        match ($rows, $wide) {
            $(($count, true) => tile::<$count, 2>($place), ($count, false) => tile::<$count, 1>($place),)*
            _ => {}
        }
    };
}

#[expect(
    unsafe_code,
    reason = "called by `multiply` alone, which has checked every address"
)]
#[target_feature(enable = "avx512f")]
unsafe fn dispatch(rows: usize, wide: bool, place: &Place) {
    // SAFETY: as above.
    unsafe { by_rows!(rows, wide, place, 1 2 3 4 5 6 7 8 9 10 11 12) }
}

#[expect(
    unsafe_code,
    reason = "called by `multiply` alone, which has checked every address"
)]
#[target_feature(enable = "avx512f")]
unsafe fn tile<const R: usize, const V: usize>(place: &Place) {
    // SAFETY: as above; the last row of the right factor is read with masks, since nothing may follow it.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        // What is there comes first, so that a sum in pieces is the sum in one go.
        if place.add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    let out = place.out.add(r * place.out_step + v * LANES);
                    *sum = _mm512_maskz_loadu_ps(place.masks[v], out);
                }
            }
        }
        let (mut left, mut right) = (place.left, place.right);
        for _ in 1..place.depth {
            let mut b = [_mm512_setzero_ps(); V];
            for (v, b) in b.iter_mut().enumerate() {
                *b = _mm512_loadu_ps(right.add(v * LANES));
            }
            accumulate(&mut sums, left, place.left_row, b);
            left = left.add(place.left_step);
            right = right.add(place.right_step);
        }
        let mut b = [_mm512_setzero_ps(); V];
        for (v, b) in b.iter_mut().enumerate() {
            *b = _mm512_maskz_loadu_ps(place.masks[v], right.add(v * LANES));
        }
        accumulate(&mut sums, left, place.left_row, b);
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let out = place.out.add(r * place.out_step + v * LANES);
                _mm512_mask_storeu_ps(out, place.masks[v], *sum);
            }
        }
    }
}

#[expect(unsafe_code, reason = "called by `tile` alone")]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn accumulate<const R: usize, const V: usize>(
    sums: &mut [[__m512; V]; R],
    left: *const f32,
    row_step: usize,
    b: [__m512; V],
) {
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: `multiply` has checked the last row.
        let a = unsafe { _mm512_set1_ps(*left.add(r * row_step)) };
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = _mm512_fmadd_ps(a, b, *sum);
        }
    }
}
