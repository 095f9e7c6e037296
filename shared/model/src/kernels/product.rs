use gemm::Parallelism;

/// A matrix in a slice of float32: element (i, j) stands at i · `row_stride` + j · `column_stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> View<'a> {
    /// Rows of `width` values, one behind the other.
    pub(crate) fn rows(values: &'a [f32], width: usize) -> Self {
        Self {
            values,
            row_stride: width,
            column_stride: 1,
        }
    }

    /// The same matrix with rows and columns exchanged.
    pub(crate) fn turned(self) -> Self {
        Self {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row_stride + (columns - 1) * self.column_stride < self.values.len()
    }
}

/// out = out · `keep` + left · right on this thread, with out (rows, columns) row by row and left (rows, inner).
///
/// # Panics
/// When a slice is too short for its matrix.
pub(crate) fn multiply(
    out: &mut [f32],
    [rows, inner, columns]: [usize; 3],
    left: View<'_>,
    right: View<'_>,
    keep: bool,
) {
    assert!(
        out.len() >= rows * columns && left.holds(rows, inner) && right.holds(inner, columns),
        "a slice is too short for its matrix"
    );
    #[expect(
        unsafe_code,
        reason = "the call takes pointers; that the slices hold what it reads and writes was just checked"
    )]
    // SAFETY: see the reason above.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            keep,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_views_are_added_or_written() {
        let left = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let right = [1.0, 0.0, 2.0, 0.0, 1.0, 3.0];
        let mut out = [1.0; 4];
        let views = (View::rows(&left, 3), View::rows(&right, 3).turned());
        multiply(&mut out, [2, 3, 2], views.0, views.1, true);
        assert_eq!(out, [8.0, 12.0, 17.0, 24.0]);
        multiply(&mut out, [2, 3, 2], views.0, views.1, false);
        assert_eq!(out, [7.0, 11.0, 16.0, 23.0]);
    }
}
