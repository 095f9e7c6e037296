use crate::error::Result;
use candle_core::{DType, Tensor};

/// A matrix of a product, as it lies or transposed.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    matrix: &'a Tensor,
    transposed: bool,
}

/// The matrix as it lies.
pub(super) fn plain(matrix: &Tensor) -> Side<'_> {
    Side {
        matrix,
        transposed: false,
    }
}

/// The matrix transposed.
pub(super) fn turned(matrix: &Tensor) -> Side<'_> {
    Side {
        matrix,
        transposed: true,
    }
}

impl Side<'_> {
    /// As candle's products take it.
    fn tensor(&self) -> Result<Tensor> {
        let matrix = self.matrix.contiguous()?;
        Ok(if self.transposed { matrix.t()? } else { matrix })
    }

    #[cfg(feature = "cuda")]
    fn operand(&self) -> crate::cuda::Operand<'_> {
        crate::cuda::Operand {
            matrix: self.matrix,
            transposed: self.transposed,
        }
    }
}

/// alpha · a · b.
pub(super) fn product(a: Side<'_>, b: Side<'_>, alpha: f64, dtype: DType) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if a.matrix.device().is_cuda() {
        return crate::cuda::product(a.operand(), b.operand(), alpha as f32, dtype);
    }
    Ok((a.tensor()?.contiguous()?.matmul(&b.tensor()?)? * alpha)?.to_dtype(dtype)?)
}

/// `out` + alpha · a · b, in the memory of `out` on a GPU, and alpha · a · b where there is no `out` yet.
pub(super) fn add_product(
    out: Option<Tensor>,
    a: Side<'_>,
    b: Side<'_>,
    alpha: f64,
) -> Result<Tensor> {
    let Some(out) = out else {
        return product(a, b, alpha, a.matrix.dtype());
    };
    #[cfg(feature = "cuda")]
    if out.device().is_cuda() {
        crate::cuda::gemm(a.operand(), b.operand(), &out, alpha as f32, 1.0)?;
        return Ok(out);
    }
    let dtype = out.dtype();
    Ok((out + product(a, b, alpha, dtype)?)?)
}

/// Writes alpha · a · b to columns of `out`, from `column` on.
pub(super) fn product_into(
    out: &Tensor,
    column: usize,
    a: Side<'_>,
    b: Side<'_>,
    alpha: f64,
) -> Result<()> {
    #[cfg(feature = "cuda")]
    if out.device().is_cuda() {
        let columns = if b.transposed {
            b.matrix.dim(0)?
        } else {
            b.matrix.dim(1)?
        };
        return crate::cuda::gemm(
            a.operand(),
            b.operand(),
            &out.narrow(1, column, columns)?,
            alpha as f32,
            0.0,
        );
    }
    let values = product(a, b, alpha, out.dtype())?;
    Ok(out.slice_set(&values, 1, column)?)
}
