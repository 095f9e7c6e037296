use super::dequantise;
use crate::error::Result;
use crate::kernels::{IntegerRows, Lanes, PackedRows, products, widen_blocks, with_values};
use candle_core::quantized::GgmlDType;
use candle_core::{Device, Tensor};
use memmap2::Mmap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Dequantised weights that are alive at once: 4 MiB.
const CACHED: usize = 1 << 20;

/// A quantised matrix (outputs, inputs) on the CPU: read where its file is mapped, or rearranged for fast products.
#[derive(Clone)]
pub struct Packed {
    stored: Stored,
    dtype: GgmlDType,
    outputs: usize,
    inputs: usize,
}

#[derive(Clone)]
enum Stored {
    Blocks(Bytes),
    Lanes(Arc<Lanes>),
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

    /// Tells the system that the bytes are not needed in memory any more; they can be read again at any time.
    fn forget(&self) {
        #[cfg(unix)]
        if let Self::Mapped { map, start, end } = self {
            #[expect(
                unsafe_code,
                reason = "the map is of a file and read only, so that pages that are dropped are read from it again"
            )]
            // SAFETY: see the reason above. That it does not work somewhere is no fault: the pages stay.
            let _ = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, *start, end - start)
            };
        }
    }
}

/// (rows, outputs) of each.
pub(crate) fn tensors(rows: usize, results: Vec<Vec<f32>>) -> Result<Vec<Tensor>> {
    let tensor = |values: Vec<f32>| {
        let shape = (rows, values.len() / rows.max(1));
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    };
    results.into_iter().map(tensor).collect()
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
    /// The matrix; `for_products` rearranges it, where the processor and the shape allow it.
    pub(super) fn new(
        bytes: Bytes,
        dtype: GgmlDType,
        [outputs, inputs]: [usize; 2],
        for_products: bool,
    ) -> Self {
        let lanes = for_products.then(|| Lanes::new(bytes.get(), dtype, outputs, inputs));
        let stored = match lanes.flatten() {
            Some(lanes) => {
                bytes.forget();
                Stored::Lanes(Arc::new(lanes))
            }
            None => Stored::Blocks(bytes),
        };
        Self {
            stored,
            dtype,
            outputs,
            inputs,
        }
    }

    pub(super) fn dims(&self) -> (usize, usize) {
        (self.outputs, self.inputs)
    }

    pub(super) fn dtype(&self) -> GgmlDType {
        self.dtype
    }

    pub(super) fn size_in_bytes(&self) -> usize {
        match &self.stored {
            Stored::Blocks(bytes) => bytes.get().len(),
            Stored::Lanes(lanes) => lanes.size_in_bytes(),
        }
    }

    /// The weights as kernels take them.
    pub(crate) fn rows(&self) -> PackedRows<'_> {
        match &self.stored {
            Stored::Blocks(bytes) => PackedRows::Blocks {
                bytes: bytes.get(),
                dtype: self.dtype,
                outputs: self.outputs,
            },
            Stored::Lanes(lanes) => PackedRows::Lanes(lanes),
        }
    }

    /// x · Wᵀ of matrices that share x, in integers: (rows, outputs) of each.
    pub(super) fn products(x: &Tensor, matrices: &[&Self]) -> Result<Vec<Tensor>> {
        let (rows, inputs) = x.dims2()?;
        let x = with_values(&x.contiguous()?, |values| {
            Ok(IntegerRows::new(values, inputs))
        })?;
        let packed: Vec<PackedRows<'_>> = matrices.iter().map(|matrix| matrix.rows()).collect();
        tensors(rows, products(&x, &packed)?)
    }

    /// x · Wᵀ in float32, some outputs at a time, so that their dequantised weights stay in the cache.
    pub(super) fn product(&self, x: &Tensor) -> Result<Tensor> {
        let Stored::Lanes(lanes) = &self.stored else {
            return Ok(x.matmul(&self.dense()?.t()?)?);
        };
        let together = (CACHED / self.inputs).next_multiple_of(8);
        let mut parts = Vec::with_capacity(self.outputs.div_ceil(together));
        for first in (0..self.outputs).step_by(together) {
            let weights = lanes.dense(first, together);
            let shape = (weights.len() / self.inputs, self.inputs);
            let weights = Tensor::from_vec(weights, shape, &Device::Cpu)?;
            parts.push(x.matmul(&weights.t()?)?);
        }
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            many => Ok(Tensor::cat(many, 1)?),
        }
    }

    /// Outputs whose dequantised weights stay in the cache together.
    pub(super) fn together(inputs: usize) -> usize {
        (CACHED / inputs.max(1)).next_multiple_of(8)
    }

    /// The rows of some outputs as float32. The range begins at a multiple of 8.
    pub(super) fn dense_rows(&self, outputs: Range<usize>) -> Result<Vec<f32>> {
        match &self.stored {
            Stored::Lanes(lanes) => Ok(lanes.dense(outputs.start, outputs.len())),
            Stored::Blocks(bytes) => {
                let width = self.inputs / self.dtype.block_size() * self.dtype.type_size();
                let rows = bytes.get().get(outputs.start * width..outputs.end * width);
                let count = outputs.len() * self.inputs;
                dequantise::dequantise(rows.unwrap_or_default(), self.dtype, count)
            }
        }
    }

    /// The whole matrix as float32.
    pub(super) fn dense(&self) -> Result<Tensor> {
        let values = match &self.stored {
            Stored::Blocks(bytes) => {
                dequantise::dequantise(bytes.get(), self.dtype, self.outputs * self.inputs)?
            }
            Stored::Lanes(lanes) => lanes.dense(0, self.outputs),
        };
        Ok(Tensor::from_vec(
            values,
            (self.outputs, self.inputs),
            &Device::Cpu,
        )?)
    }

    /// Some rows of the matrix as float32: (ids, inputs).
    pub(super) fn embedding(&self, ids: &[u32]) -> Result<Tensor> {
        let mut values = Vec::with_capacity(ids.len() * self.inputs);
        for id in ids {
            values.extend(self.row(*id as usize)?);
        }
        Ok(Tensor::from_vec(
            values,
            (ids.len(), self.inputs),
            &Device::Cpu,
        )?)
    }
    fn row(&self, index: usize) -> Result<Vec<f32>> {
        let missing =
            || candle_core::Error::Msg(format!("row {index} of a table of {}", self.outputs));
        match &self.stored {
            Stored::Lanes(lanes) => Ok(lanes.row(index).ok_or_else(missing)?),
            Stored::Blocks(bytes) => {
                let width = self.inputs / self.dtype.block_size() * self.dtype.type_size();
                let row = bytes.get().get(index * width..(index + 1) * width);
                let row = row.ok_or_else(missing)?;
                // candle wakes a pool of its own for each call, whose threads then wait for more by spinning.
                let mut values = vec![0f32; self.inputs];
                if widen_blocks(self.dtype, row, &mut values) {
                    return Ok(values);
                }
                dequantise::dequantise(row, self.dtype, self.inputs)
            }
        }
    }
}
