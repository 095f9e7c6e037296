use super::dequantise;
use super::packed::{Bytes, Packed};
use crate::error::Result;
use crate::kernels::with_values;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Storage, Tensor};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// A frozen weight matrix (outputs, inputs).
#[derive(Clone, Debug)]
pub enum Matrix {
    /// Floating point.
    Dense(Tensor),
    /// Blocks of integers with scales, as in GGUF files, on the CPU.
    Packed(Packed),
    /// The same on another device.
    Quantised(Arc<QTensor>),
}

impl Matrix {
    /// (outputs, inputs).
    pub fn dims(&self) -> Result<(usize, usize)> {
        Ok(match self {
            Self::Dense(weight) => weight.dims2()?,
            Self::Packed(weight) => weight.dims(),
            Self::Quantised(weight) => weight.shape().dims2()?,
        })
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        match self {
            Self::Dense(weight) => weight.device().clone(),
            Self::Packed(_) => Device::Cpu,
            Self::Quantised(weight) => weight.device(),
        }
    }

    /// The element type's name.
    pub fn dtype_name(&self) -> String {
        match self {
            Self::Dense(weight) => format!("{:?}", weight.dtype()),
            Self::Packed(weight) => format!("{:?}", weight.dtype()),
            Self::Quantised(weight) => format!("{:?}", weight.dtype()),
        }
    }

    /// Bytes of the weights, in memory or mapped from their file.
    pub fn size_in_bytes(&self) -> usize {
        match self {
            Self::Dense(weight) => weight.elem_count() * weight.dtype().size_in_bytes(),
            Self::Packed(weight) => weight.size_in_bytes(),
            Self::Quantised(weight) => weight.storage_size_in_bytes(),
        }
    }

    /// Whether the weights are integers.
    pub fn is_quantised(&self) -> bool {
        !matches!(self, Self::Dense(_))
    }

    /// x · Wᵀ, without a graph: (rows, inputs) → (rows, outputs).
    ///
    /// `integers` lets a quantised matrix multiply in integers, which rounds the rows to 16 bits and is faster.
    pub fn product(&self, x: &Tensor, integers: bool) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => Ok(x.matmul(&weight.t()?)?),
            Self::Packed(weight) if integers => Ok(Packed::products(x, &[weight])?.remove(0)),
            Self::Quantised(weight) if integers => {
                Ok(x.contiguous()?.apply_op1_no_bwd(weight.as_ref())?)
            }
            Self::Packed(weight) => weight.product(x),
            Self::Quantised(_) => Ok(x.matmul(&self.dense()?.t()?)?),
        }
    }

    /// The products of several matrices with one x; in integers they share the rounding of x and one round of threads.
    pub(crate) fn products(matrices: &[&Self], x: &Tensor, integers: bool) -> Result<Vec<Tensor>> {
        let packed = |matrix: &&Self| match matrix {
            Self::Packed(packed) => Some(packed.clone()),
            _ => None,
        };
        match matrices
            .iter()
            .map(packed)
            .collect::<Option<Vec<_>>>()
            .filter(|_| integers)
        {
            Some(packed) => Packed::products(x, &packed.iter().collect::<Vec<_>>()),
            None => matrices
                .iter()
                .map(|matrix| matrix.product(x, integers))
                .collect(),
        }
    }

    /// x · Wᵀ for training: gradients flow to x, and to W only where it is a variable (full fine-tuning).
    pub fn train_product(&self, x: &Tensor) -> Result<Tensor> {
        if let Self::Dense(weight) = self
            && weight.is_variable()
        {
            return Ok(x.matmul(&weight.t()?)?);
        }
        Ok(x.contiguous()?.apply_op1(FrozenLinear {
            weight: self.clone(),
        })?)
    }

    /// Hands the matrix in float32 to `with`, some outputs at a time, so that what is dequantised for it stays in the cache:
    /// their range and their rows, (outputs, inputs).
    ///
    /// # Errors
    /// A matrix that is not on the CPU or neither float32 nor quantised.
    pub(crate) fn each_piece(&self, mut with: impl FnMut(Range<usize>, &[f32])) -> Result<()> {
        let (outputs, inputs) = self.dims()?;
        match self {
            Self::Packed(weight) => {
                let together = Packed::together(inputs);
                for first in (0..outputs).step_by(together) {
                    let end = (first + together).min(outputs);
                    with(first..end, &weight.dense_rows(first..end)?);
                }
            }
            Self::Dense(_) | Self::Quantised(_) => {
                with_values(&self.dense()?.contiguous()?, |all| {
                    with(0..outputs, all);
                    Ok(())
                })?
            }
        }
        Ok(())
    }

    /// The rows of `ids` (any number) as float32: (ids, inputs).
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        Ok(match self {
            Self::Dense(weight) => weight
                .index_select(&Tensor::new(ids, weight.device())?, 0)?
                .to_dtype(DType::F32)?,
            Self::Packed(weight) => weight.embedding(ids)?,
            Self::Quantised(weight) => weight.embedding(&Tensor::new(ids, &weight.device())?)?,
        })
    }

    /// The whole matrix in floating point.
    pub fn dense(&self) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => Ok(weight.clone()),
            Self::Packed(weight) => weight.dense(),
            Self::Quantised(weight) => Ok(weight.dequantize(&weight.device())?),
        }
    }

    /// The matrix from a GGUF file's bytes; formats without a kernel are widened when `for_products`.
    pub(super) fn from_bytes(
        bytes: Bytes,
        dtype: GgmlDType,
        shape: [usize; 2],
        device: &Device,
        for_products: bool,
    ) -> Result<Self> {
        if matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16) {
            let values = dequantise::dequantise(bytes.get(), dtype, shape[0] * shape[1])?;
            return Ok(Self::Dense(Tensor::from_vec(
                values,
                (shape[0], shape[1]),
                device,
            )?));
        }
        if device.is_cpu() {
            return Ok(Self::Packed(Packed::new(bytes, dtype, shape, for_products)));
        }
        let storage = QStorage::from_data(Cow::Borrowed(bytes.get()), device, dtype)?;
        Ok(Self::Quantised(Arc::new(QTensor::new(
            storage,
            (shape[0], shape[1]),
        )?)))
    }
}

/// x · Wᵀ with W outside the graph: the backward pass gives dx alone, so no gradient of W is computed or kept.
///
/// candle's own `matmul` would compute dW for every frozen matrix, at the cost of another product and a copy of W.
pub struct FrozenLinear {
    weight: Matrix,
}

/// The sizes (1, rows, outputs, inputs) of a product, the layout of x as (rows, inputs), and the shape of the result.
type Plan = ((usize, usize, usize, usize), Layout, Shape);

fn plan(layout: &Layout, outputs: usize, inputs: usize) -> candle_core::Result<Plan> {
    let dims = layout.shape().dims();
    let (last, batch) = dims
        .split_last()
        .ok_or_else(|| candle_core::Error::Msg("a frozen product takes no scalar".to_owned()))?;
    if !layout.is_contiguous() || *last != inputs {
        candle_core::bail!("a frozen product takes contiguous rows of {inputs}, not {layout:?}")
    }
    let rows = batch.iter().product();
    let mut shape = batch.to_vec();
    shape.push(outputs);
    Ok((
        (1, rows, outputs, inputs),
        Layout::contiguous_with_offset((rows, inputs), layout.start_offset()),
        shape.into(),
    ))
}

impl FrozenLinear {
    fn dense(&self) -> candle_core::Result<Tensor> {
        self.weight
            .dense()
            .map_err(|error| candle_core::Error::Msg(error.to_string()))
    }
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let weight = self.dense()?.t()?;
        let (inputs, outputs) = weight.dims2()?;
        let (sizes, rows, shape) = plan(layout, outputs, inputs)?;
        let (guard, weight_layout) = weight.storage_and_layout();
        let Storage::Cpu(weight) = &*guard else {
            candle_core::bail!("the frozen weight is not on the CPU")
        };
        Ok((storage.matmul(weight, sizes, &rows, weight_layout)?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let weight = self.dense()?.t()?;
        let (inputs, outputs) = weight.dims2()?;
        let (sizes, rows, shape) = plan(layout, outputs, inputs)?;
        let (guard, weight_layout) = weight.storage_and_layout();
        let Storage::Cuda(weight) = &*guard else {
            candle_core::bail!("the frozen weight is not on the GPU")
        };
        Ok((storage.matmul(weight, sizes, &rows, weight_layout)?, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let weight = self.dense()?;
        let (outputs, _) = weight.dims2()?;
        let rows = gradient.elem_count() / outputs;
        let dx = gradient
            .contiguous()?
            .reshape((rows, outputs))?
            .matmul(&weight)?;
        Ok(Some(dx.reshape(x.shape())?))
    }
}
