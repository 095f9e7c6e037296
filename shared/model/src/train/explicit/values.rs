use crate::error::{ModelError, Result};
use candle_core::{CpuStorage, Storage, StorageRef, Tensor};

/// The float32 values of a contiguous tensor on the CPU, readable as long as this lives.
pub(super) struct Values<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl<'a> Values<'a> {
    /// # Errors
    /// A tensor that is not float32, not contiguous or not on the CPU.
    pub(super) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let offsets = layout.contiguous_offsets();
        match (&*storage, offsets) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Self {
                storage,
                start,
                end,
            }),
            _ => Err(ModelError::Training(format!(
                "the training step on the CPU takes contiguous float32 tensors, not {:?} on {:?}",
                tensor.dtype(),
                tensor.device().location()
            ))),
        }
    }

    pub(super) fn get(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => {
                values.get(self.start..self.end).unwrap_or_default()
            }
            _ => &[],
        }
    }
}
