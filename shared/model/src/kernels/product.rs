//! Matrix products in float32 over parts and transposes of slices as they stand.

#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod tile;

use gemm::Parallelism;
use std::ops::Range;

/// A matrix in a slice: element (r, c) stands at r · `row_step` + c · `column_step`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_step: usize,
    pub(crate) column_step: usize,
}

impl<'a> View<'a> {
    /// Rows of `columns` values, one after the other.
    pub(crate) fn new(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            rows: values.len() / columns.max(1),
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    /// Some of the columns.
    pub(crate) fn columns(self, columns: Range<usize>) -> Self {
        Self {
            values: self
                .values
                .get(columns.start * self.column_step..)
                .unwrap_or_default(),
            columns: columns.len(),
            ..self
        }
    }

    /// The transposed matrix.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// Where a product goes: rows in a slice, `row_step` apart.
pub(crate) struct Out<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_step: usize,
    pub(crate) add: bool,
}

impl<'a> Out<'a> {
    /// Rows of `columns` values, one after the other; what they held is lost.
    pub(crate) fn new(values: &'a mut [f32], columns: usize) -> Self {
        Self {
            rows: values.len() / columns.max(1),
            columns,
            row_step: columns,
            add: false,
            values,
        }
    }

    /// Some of the columns.
    pub(crate) fn columns(self, columns: Range<usize>) -> Self {
        Self {
            values: self.values.get_mut(columns.start..).unwrap_or_default(),
            columns: columns.len(),
            ..self
        }
    }

    /// Adds the product to what is there, where `add`.
    pub(crate) fn adding(self, add: bool) -> Self {
        Self { add, ..self }
    }
}

/// Σ a · b on all threads of the pool: each term adds to the same result, which is then touched once.
///
/// # Guarantees
/// Equal inputs on as many threads give equal bits.
pub(crate) fn products(out: Out<'_>, terms: &[(View<'_>, View<'_>)]) {
    multiply(out, terms, rayon::current_num_threads());
}

/// a · b on all threads of the pool.
pub(crate) fn product(out: Out<'_>, a: View<'_>, b: View<'_>) {
    products(out, &[(a, b)]);
}

/// a · b on this thread.
pub(crate) fn product_alone(out: Out<'_>, a: View<'_>, b: View<'_>) {
    multiply(out, &[(a, b)], 1);
}

/// Whether a matrix of these steps lies within `length` values.
fn fits(length: usize, rows: usize, columns: usize, row_step: usize, column_step: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_step + (columns - 1) * column_step < length
}

fn multiply(out: Out<'_>, terms: &[(View<'_>, View<'_>)], threads: usize) {
    assert!(fits(
        out.values.len(),
        out.rows,
        out.columns,
        out.row_step,
        1
    ));
    for (a, b) in terms {
        assert!(out.rows == a.rows && out.columns == b.columns && a.columns == b.rows);
        for view in [a, b] {
            assert!(fits(
                view.values.len(),
                view.rows,
                view.columns,
                view.row_step,
                view.column_step
            ));
        }
    }
    #[cfg(target_arch = "x86_64")]
    if tile::available() {
        return blocked::multiply(out, terms, threads);
    }
    multiply_anywhere(out, terms, threads);
}

/// The same for processors without AVX-512, term by term.
fn multiply_anywhere(mut out: Out<'_>, terms: &[(View<'_>, View<'_>)], threads: usize) {
    for (a, b) in terms {
        multiply_one(&mut out, *a, *b, threads);
        out.add = true;
    }
}

fn multiply_one(out: &mut Out<'_>, a: View<'_>, b: View<'_>, threads: usize) {
    let step = usize::cast_signed;
    let parallelism = if threads > 1 {
        Parallelism::Rayon(threads)
    } else {
        Parallelism::None
    };
    #[expect(
        unsafe_code,
        reason = "the asserts of `multiply` hold every element inside its slice, and the borrows keep the result apart \
                  from the factors"
    )]
    // SAFETY: see the reason above.
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            a.columns,
            out.values.as_mut_ptr(),
            1,
            step(out.row_step),
            out.add,
            a.values.as_ptr(),
            step(a.column_step),
            step(a.row_step),
            b.values.as_ptr(),
            step(b.column_step),
            step(b.row_step),
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| random.uniform() - 0.5).collect()
    }

    /// In float64, element by element.
    fn expected(out: &[f32], rows: usize, terms: &[(View<'_>, View<'_>)], add: bool) -> Vec<f64> {
        let columns = out.len() / rows;
        let at = |view: &View<'_>, r: usize, c: usize| {
            f64::from(view.values[r * view.row_step + c * view.column_step])
        };
        let one = |index: usize| {
            let (row, column) = (index / columns, index % columns);
            let sums = terms.iter().map(|(a, b)| {
                (0..a.columns)
                    .map(|k| at(a, row, k) * at(b, k, column))
                    .sum::<f64>()
            });
            sums.sum::<f64>() + if add { f64::from(out[index]) } else { 0.0 }
        };
        (0..out.len()).map(one).collect()
    }

    fn side(values: &[f32], [rows, columns]: [usize; 2], turned: bool) -> View<'_> {
        if turned {
            View::new(values, rows).t()
        } else {
            View::new(values, columns)
        }
    }

    fn check(rows: usize, columns: usize, depths: &[usize], turned: [bool; 2], add: bool) {
        let values: Vec<(Vec<f32>, Vec<f32>)> = depths
            .iter()
            .map(|depth| (random(rows * depth, 1), random(depth * columns, 2)))
            .collect();
        let terms: Vec<(View<'_>, View<'_>)> = values
            .iter()
            .zip(depths)
            .map(|((a, b), depth)| {
                (
                    side(a, [rows, *depth], turned[0]),
                    side(b, [*depth, columns], turned[1]),
                )
            })
            .collect();
        let mut out = random(rows * columns, 3);
        let expected = expected(&out, rows, &terms, add);
        let mut other = out.clone();
        products(Out::new(&mut out, columns).adding(add), &terms);
        multiply_anywhere(Out::new(&mut other, columns).adding(add), &terms, 1);
        let limit = 1e-5 * depths.iter().sum::<usize>().max(8) as f64;
        for ((own, other), expected) in out.iter().zip(&other).zip(&expected) {
            assert!(
                (f64::from(*own) - expected).abs() < limit,
                "{rows} × {columns}: {own} and {expected}"
            );
            assert!((f64::from(*other) - expected).abs() < limit);
        }
    }

    #[test]
    fn products_are_those_of_float64_for_any_shape_and_order() {
        for (rows, columns) in [
            (1, 1),
            (5, 3),
            (12, 32),
            (13, 33),
            (16, 100),
            (70, 47),
            (300, 129),
        ] {
            for turned in [[false, false], [false, true], [true, false], [true, true]] {
                check(rows, columns, &[7], turned, true);
                check(rows, columns, &[65, 16, 1], turned, false);
            }
        }
        check(30, 20, &[5000], [false, false], true);
        check(70, 40, &[2048, 5], [false, false], true); // rows that stand pages apart
        check(30, 20, &[5000, 3], [false, true], false);
    }

    #[test]
    fn parts_and_transposes_are_multiplied_where_they_stand() {
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0]; // 2 × 3, of which two columns count
        let b = [5.0, 7.0, 6.0, 8.0]; // the transposed of [[5, 6], [7, 8]]
        let mut out = [1.0; 6];
        product(
            Out::new(&mut out, 3).columns(1..3).adding(true),
            View::new(&a, 3).columns(0..2),
            View::new(&b, 2).t(),
        );
        assert_eq!(out, [1.0, 20.0, 23.0, 1.0, 44.0, 51.0]);
    }
}
