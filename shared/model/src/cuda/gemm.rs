use super::kernel::{device_of, driver, refused, rows_of, unset};
use crate::error::Result;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::{DType, Tensor};

/// A matrix of a product, as it lies or transposed. Its rows need not touch.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) matrix: &'a Tensor,
    pub(crate) transposed: bool,
}

impl Operand<'_> {
    /// (rows, columns) as they count in the product.
    fn dims(&self) -> Result<(usize, usize)> {
        let (rows, columns) = self.matrix.dims2()?;
        Ok(if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        })
    }

    /// cuBLAS counts columns first: what lies in rows is transposed to it.
    fn operation(&self) -> sys::cublasOperation_t {
        if self.transposed {
            sys::cublasOperation_t::CUBLAS_OP_T
        } else {
            sys::cublasOperation_t::CUBLAS_OP_N
        }
    }
}

fn kind(dtype: DType) -> Result<sys::cudaDataType> {
    match dtype {
        DType::BF16 => Ok(sys::cudaDataType::CUDA_R_16BF),
        DType::F32 => Ok(sys::cudaDataType::CUDA_R_32F),
        other => refused(format!("no CUDA product of {other:?}")),
    }
}

/// out = alpha · a · b + beta · out, in place, summed in float32.
///
/// # Shapes
/// `a` (m, k) and `b` (k, n) bfloat16, `out` (m, n) bfloat16 or float32; columns of a wider matrix will do for each.
#[expect(
    unsafe_code,
    reason = "cuBLAS is a C library; the shapes are checked against each other first"
)]
pub(crate) fn gemm(
    a: Operand<'_>,
    b: Operand<'_>,
    out: &Tensor,
    alpha: f32,
    beta: f32,
) -> Result<()> {
    let ((m, k), (inner, n)) = (a.dims()?, b.dims()?);
    if k != inner || out.dims2()? != (m, n) {
        return refused(format!(
            "a CUDA product of ({m}, {k}) and ({inner}, {n}) into {:?}",
            out.dims()
        ));
    }
    let size = |value: usize| {
        i32::try_from(value).or_else(|_| refused(format!("{value} is too much for cuBLAS")))
    };
    let (a_at, a_row) = rows_of(a.matrix)?;
    let (b_at, b_row) = rows_of(b.matrix)?;
    let (out_at, out_row) = rows_of(out)?;
    let device = device_of(out)?;
    let bound = device.cuda_stream().context().bind_to_thread();
    bound.map_err(driver("binding the context"))?;
    let blas = device.cublas_handle();
    // SAFETY: the addresses are those of live tensors of these shapes on the handle's device and stream.
    let done = unsafe {
        result::gemm_ex(
            *blas.handle(),
            b.operation(),
            a.operation(),
            size(n)?,
            size(m)?,
            size(k)?,
            (&raw const alpha).cast(),
            b_at as *const _,
            kind(b.matrix.dtype())?,
            size(b_row)?,
            a_at as *const _,
            kind(a.matrix.dtype())?,
            size(a_row)?,
            (&raw const beta).cast(),
            out_at as *mut _,
            kind(out.dtype())?,
            size(out_row)?,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    };
    done.or_else(|error| refused(format!("cuBLAS on ({m}, {k}) · ({k}, {n}): {error:?}")))
}

/// alpha · a · b as a new tensor.
pub(crate) fn product(a: Operand<'_>, b: Operand<'_>, alpha: f32, dtype: DType) -> Result<Tensor> {
    let ((m, _), (_, n)) = (a.dims()?, b.dims()?);
    let out = unset((m, n), dtype, device_of(a.matrix)?)?;
    gemm(a, b, &out, alpha, 0.0)?;
    Ok(out)
}
