use super::compiler::Unit;
use super::kernel::{Argument, Launch, device_of, driver, refused, tensor};
use crate::error::Result;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{CudaDevice, DType, Tensor};

/// Blocks that share one tensor.
const SPLITS: u32 = 8;

/// float32 values to be rounded into rows of a bfloat16 matrix.
pub(crate) struct Moved<'a> {
    pub(crate) from: &'a Tensor,
    pub(crate) to: &'a Tensor,
    /// First of these rows.
    pub(crate) row: usize,
}

/// One step of `AdamW`, as [`crate::train::AdamW`] defines it.
#[derive(Clone, Copy)]
pub(crate) struct AdamWStep {
    pub(crate) betas: (f64, f64),
    pub(crate) eps: f64,
    /// learning rate / (1 - beta1^t).
    pub(crate) rate1: f64,
    /// √(1 - beta2^t).
    pub(crate) root2: f64,
    /// 1 - learning rate · weight decay.
    pub(crate) keep: f64,
}

/// Number of elements and up to four addresses, as the kernels' `Entry`.
type Entry = [u64; 5];

struct Table<'a> {
    device: &'a CudaDevice,
    entries: CudaSlice<u64>,
    count: u32,
}

fn pointer(x: &Tensor) -> Result<u64> {
    match tensor(x, x.dtype())? {
        Argument::Pointer(pointer) => Ok(pointer),
        _ => refused("a tensor has no address".to_owned()),
    }
}

impl<'a> Table<'a> {
    fn new(device: &'a CudaDevice, entries: &[Entry]) -> Result<Self> {
        Ok(Self {
            device,
            count: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            entries: device.clone_htod(entries.as_flattened())?,
        })
    }

    fn run(&self, name: &'static str, more: &[Argument]) -> Result<()> {
        let launch = Launch {
            device: self.device,
            unit: Unit {
                name: "many",
                head: None,
            },
            name,
            grid: (self.count, SPLITS, 1),
            block: (256, 1, 1),
            shared: 0,
        };
        let stream = self.device.cuda_stream();
        let mut arguments = vec![Argument::Pointer(self.entries.device_ptr(&stream).0)];
        arguments.extend_from_slice(more);
        launch.run(&arguments)
    }
}

/// An entry of float32 tensors of one size.
fn entry(tensors: &[&Tensor]) -> Result<Entry> {
    let count = tensors.first().map_or(0, |first| first.elem_count());
    let mut entry = [count as u64, 0, 0, 0, 0];
    for (slot, tensor) in entry.iter_mut().skip(1).zip(tensors) {
        if tensor.elem_count() != count || tensor.dtype() != DType::F32 {
            return refused(format!(
                "{:?} does not fit beside {count} float32 values",
                tensor.shape()
            ));
        }
        *slot = pointer(tensor)?;
    }
    Ok(entry)
}

fn device<'a>(tensors: &[&'a Tensor]) -> Result<Option<&'a CudaDevice>> {
    tensors.first().map(|first| device_of(first)).transpose()
}

/// Rounds float32 tensors to bfloat16, all in one launch.
pub(crate) fn narrow_all(moves: &[Moved<'_>]) -> Result<()> {
    let targets: Vec<&Tensor> = moves.iter().map(|moved| moved.to).collect();
    let Some(device) = device(&targets)? else {
        return Ok(());
    };
    let entries = moves.iter().map(|moved| {
        let (rows, columns) = moved.to.dims2()?;
        let count = moved.from.elem_count();
        if moved.row * columns + count > rows * columns || moved.to.dtype() != DType::BF16 {
            return refused(format!(
                "{count} values do not fit from row {} of {:?}",
                moved.row, moved.to
            ));
        }
        let to = pointer(moved.to)? + (moved.row * columns * 2) as u64;
        let [count, from, ..] = entry(&[moved.from])?;
        Ok([count, from, to, 0, 0])
    });
    let entries = entries.collect::<Result<Vec<Entry>>>()?;
    Table::new(device, &entries)?.run("narrow_many", &[])
}

/// The sum of the squares of all elements of float32 tensors; waits for the device.
pub(crate) fn squares(tensors: &[&Tensor]) -> Result<f64> {
    let Some(device) = device(tensors)? else {
        return Ok(0.0);
    };
    let entries = tensors
        .iter()
        .map(|tensor| entry(&[*tensor]))
        .collect::<Result<Vec<_>>>()?;
    let table = Table::new(device, &entries)?;
    let parts = device.alloc_zeros::<f32>(entries.len() * SPLITS as usize)?;
    let stream = device.cuda_stream();
    table.run(
        "squares_many",
        &[Argument::Pointer(parts.device_ptr(&stream).0)],
    )?;
    let parts = stream.clone_dtoh(&parts).map_err(driver("reading sums"))?;
    Ok(parts.into_iter().map(f64::from).sum())
}

/// Multiplies float32 tensors by `factor`, in place.
pub(crate) fn scale_all(tensors: &[&Tensor], factor: f64) -> Result<()> {
    let Some(device) = device(tensors)? else {
        return Ok(());
    };
    let entries = tensors
        .iter()
        .map(|tensor| entry(&[*tensor]))
        .collect::<Result<Vec<_>>>()?;
    Table::new(device, &entries)?.run("scale_many", &[Argument::Float(factor as f32)])
}

/// Adds the second of each pair of float32 tensors to the first, in place.
pub(crate) fn add_all(pairs: &[[&Tensor; 2]]) -> Result<()> {
    let firsts: Vec<&Tensor> = pairs.iter().map(|pair| pair[0]).collect();
    let Some(device) = device(&firsts)? else {
        return Ok(());
    };
    let entries = pairs
        .iter()
        .map(|pair| entry(pair))
        .collect::<Result<Vec<_>>>()?;
    Table::new(device, &entries)?.run("add_many", &[])
}

/// One step of `AdamW` on (value, gradient, first moment, second moment), in place and in one launch.
pub(crate) fn adamw(tensors: &[[&Tensor; 4]], step: AdamWStep) -> Result<()> {
    let values: Vec<&Tensor> = tensors.iter().map(|tensors| tensors[0]).collect();
    let Some(device) = device(&values)? else {
        return Ok(());
    };
    let entries = tensors
        .iter()
        .map(|tensors| entry(tensors))
        .collect::<Result<Vec<_>>>()?;
    let float = |value: f64| Argument::Float(value as f32);
    Table::new(device, &entries)?.run(
        "adamw_many",
        &[
            float(step.betas.0),
            float(step.betas.1),
            float(step.eps),
            float(step.rate1),
            float(step.root2),
            float(step.keep),
        ],
    )
}
