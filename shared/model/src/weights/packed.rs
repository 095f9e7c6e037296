use super::dequantise;
use crate::error::Result;
use crate::kernels::{IntegerRows, PackedRows, has_kernel, products};
use candle_core::quantized::GgmlDType;
use candle_core::{Device, Tensor};
use memmap2::Mmap;
use std::fmt;
use std::sync::Arc;

/// A quantised matrix (outputs, inputs) on the CPU, read where its file is mapped, or from memory when it had to be rearranged.
#[derive(Clone)]
pub struct Packed {
    bytes: Bytes,
    dtype: GgmlDType,
    outputs: usize,
    inputs: usize,
}

#[derive(Clone)]
pub(super) enum Bytes {
    Mapped {
        map: Arc<Mmap>,
        start: usize,
        end: usize,
    },
    Owned(Arc<Vec<u8>>),
}

impl Bytes {
    pub(super) fn get(&self) -> &[u8] {
        match self {
            Self::Mapped { map, start, end } => map.get(*start..*end).unwrap_or_default(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Packed({:?}, {}, {})",
            self.dtype, self.outputs, self.inputs
        )
    }
}

impl Packed {
    /// The matrix; a format without a kernel is widened to 8 bits first when `for_products`.
    pub(super) fn new(
        bytes: Bytes,
        dtype: GgmlDType,
        [outputs, inputs]: [usize; 2],
        for_products: bool,
    ) -> Result<Self> {
        if !for_products || has_kernel(dtype) {
            return Ok(Self {
                bytes,
                dtype,
                outputs,
                inputs,
            });
        }
        let wide = dequantise::widen(bytes.get(), dtype, outputs * inputs)?;
        Ok(Self {
            bytes: Bytes::Owned(Arc::new(wide)),
            dtype: GgmlDType::Q8_0,
            outputs,
            inputs,
        })
    }

    pub(super) fn dims(&self) -> (usize, usize) {
        (self.outputs, self.inputs)
    }

    pub(super) fn dtype(&self) -> GgmlDType {
        self.dtype
    }

    pub(super) fn size_in_bytes(&self) -> usize {
        self.bytes.get().len()
    }

    fn rows(&self) -> PackedRows<'_> {
        PackedRows {
            bytes: self.bytes.get(),
            dtype: self.dtype,
            outputs: self.outputs,
            inputs: self.inputs,
        }
    }

    /// x · Wᵀ of matrices that share x, in integers: (rows, outputs) of each.
    pub(super) fn products(x: &Tensor, matrices: &[&Self]) -> Result<Vec<Tensor>> {
        let (rows, inputs) = x.dims2()?;
        let x = crate::kernels::with_values(&x.contiguous()?, |values| {
            Ok(IntegerRows::new(values, inputs))
        })?;
        let packed: Vec<PackedRows<'_>> = matrices.iter().map(|matrix| matrix.rows()).collect();
        let results = products(&x, &packed)?;
        let tensor = |(values, matrix): (Vec<f32>, &&Self)| {
            Ok(Tensor::from_vec(
                values,
                (rows, matrix.outputs),
                &Device::Cpu,
            )?)
        };
        results.into_iter().zip(matrices).map(tensor).collect()
    }

    /// The whole matrix as float32.
    pub(super) fn dense(&self) -> Result<Tensor> {
        let values =
            dequantise::dequantise(self.bytes.get(), self.dtype, self.outputs * self.inputs)?;
        Ok(Tensor::from_vec(
            values,
            (self.outputs, self.inputs),
            &Device::Cpu,
        )?)
    }

    /// Some rows of the matrix as float32: (ids, inputs).
    pub(super) fn embedding(&self, ids: &[u32]) -> Result<Tensor> {
        let width = self.inputs / self.dtype.block_size() * self.dtype.type_size();
        let mut values = Vec::with_capacity(ids.len() * self.inputs);
        for id in ids {
            let start = *id as usize * width;
            let row = self.bytes.get().get(start..start + width);
            let row = row.ok_or_else(|| {
                candle_core::Error::Msg(format!("row {id} of a table of {}", self.outputs))
            })?;
            values.extend(dequantise::dequantise(row, self.dtype, self.inputs)?);
        }
        Ok(Tensor::from_vec(
            values,
            (ids.len(), self.inputs),
            &Device::Cpu,
        )?)
    }
}
