use super::compiler::Unit;
use crate::error::{ModelError, Result};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, DevicePtr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::{CudaDevice, DType, Device, Shape, Storage, Tensor};
use half::bf16;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// One argument of a kernel.
#[derive(Clone, Copy)]
pub(super) enum Argument {
    /// Address of device memory; 0 is null.
    Pointer(u64),
    Int(i32),
    Word(u32),
    Long(u64),
    Float(f32),
}

/// A kernel with its grid, to be launched on the stream of a device.
pub(super) struct Launch<'a> {
    pub(super) device: &'a CudaDevice,
    pub(super) unit: Unit,
    pub(super) name: &'static str,
    pub(super) grid: (u32, u32, u32),
    pub(super) block: (u32, u32, u32),
    /// Bytes of dynamic shared memory; the same for every launch of a kernel of one unit.
    pub(super) shared: u32,
}

/// Kernels by device, unit and name, and the modules that hold them: both live as long as the process.
#[derive(Default)]
struct Loaded {
    modules: HashMap<(usize, Unit), Arc<CudaModule>>,
    kernels: HashMap<(usize, Unit, &'static str), CudaFunction>,
}

static LOADED: LazyLock<Mutex<Loaded>> = LazyLock::new(Mutex::default);

/// What cudarc says, as this crate's error.
pub(super) fn driver(
    what: &str,
) -> impl Fn(candle_core::cuda_backend::cudarc::driver::DriverError) -> ModelError + '_ {
    move |error| ModelError::Compute(candle_core::Error::Msg(format!("CUDA, {what}: {error}")))
}

pub(super) fn refused<T>(problem: String) -> Result<T> {
    Err(ModelError::Compute(candle_core::Error::Msg(problem)))
}

impl Launch<'_> {
    /// Puts the kernel at the end of the stream; it has not run when this returns.
    ///
    /// The caller promises that the arguments are those of the kernel, and that the memory they name belongs to tensors
    /// of this device: freeing them later is ordered behind the kernel by the stream.
    #[expect(
        unsafe_code,
        reason = "a kernel is a C function on the device; the tests of this module hold each against a reference"
    )]
    pub(super) fn run(&self, arguments: &[Argument]) -> Result<()> {
        if self.grid.0 == 0 || self.grid.1 == 0 || self.grid.2 == 0 {
            return Ok(());
        }
        let kernel = self.kernel()?;
        let stream = self.device.cuda_stream();
        let mut builder = stream.launch_builder(&kernel);
        for argument in arguments {
            match argument {
                Argument::Pointer(value) | Argument::Long(value) => builder.arg(value),
                Argument::Int(value) => builder.arg(value),
                Argument::Word(value) => builder.arg(value),
                Argument::Float(value) => builder.arg(value),
            };
        }
        let config = LaunchConfig {
            grid_dim: self.grid,
            block_dim: self.block,
            shared_mem_bytes: self.shared,
        };
        // SAFETY: see the promise above.
        unsafe { builder.launch(config) }.map_err(driver(self.name))?;
        Ok(())
    }

    fn kernel(&self) -> Result<CudaFunction> {
        let stream = self.device.cuda_stream();
        let context = stream.context();
        let ordinal = context.ordinal();
        let mut loaded = LOADED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(kernel) = loaded.kernels.get(&(ordinal, self.unit, self.name)) {
            return Ok(kernel.clone());
        }
        let module = match loaded.modules.get(&(ordinal, self.unit)) {
            Some(module) => Arc::clone(module),
            None => {
                let capability = context.compute_capability().map_err(driver("capability"))?;
                let code = self.unit.code(capability).or_else(refused)?;
                let module = context
                    .load_module(Ptx::from_binary(code))
                    .map_err(driver(self.unit.name))?;
                loaded
                    .modules
                    .insert((ordinal, self.unit), Arc::clone(&module));
                module
            }
        };
        let kernel = module.load_function(self.name).map_err(driver(self.name))?;
        if self.shared > 48 << 10 {
            kernel
                .set_attribute(
                    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                    self.shared.cast_signed(),
                )
                .map_err(driver(self.name))?;
        }
        loaded
            .kernels
            .insert((ordinal, self.unit, self.name), kernel.clone());
        Ok(kernel)
    }
}

/// The GPU that holds a tensor.
pub(super) fn device_of(x: &Tensor) -> Result<&CudaDevice> {
    match x.device() {
        Device::Cuda(device) => Ok(device),
        other => refused(format!("a CUDA kernel was given a tensor on {other:?}")),
    }
}

/// The address of a tensor's first element. Its rows must lie one behind the other unless `strided`.
fn address(x: &Tensor, dtype: DType, strided: bool) -> Result<u64> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return refused("a CUDA kernel was given a tensor of another device".to_owned());
    };
    if x.dtype() != dtype || !(strided || layout.is_contiguous()) {
        return refused(format!(
            "a CUDA kernel takes contiguous {dtype:?}, not {:?} with {layout:?}",
            x.dtype()
        ));
    }
    let stream = storage.device().cuda_stream();
    let base = match dtype {
        DType::BF16 => storage.as_cuda_slice::<bf16>()?.device_ptr(&stream).0,
        DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(&stream).0,
        other => return refused(format!("no CUDA kernel takes {other:?}")),
    };
    Ok(base + (layout.start_offset() * dtype.size_in_bytes()) as u64)
}

/// A contiguous tensor as an argument.
pub(super) fn tensor(x: &Tensor, dtype: DType) -> Result<Argument> {
    address(x, dtype, false).map(Argument::Pointer)
}

/// The address of a matrix whose columns are contiguous and whose rows need not be, with the distance of its rows.
pub(super) fn rows_of(x: &Tensor) -> Result<(u64, usize)> {
    let (_, columns) = x.dims2()?;
    let (down, across) = (x.stride()[0], x.stride()[1]);
    if across != 1 && columns != 1 {
        return refused(format!(
            "a CUDA product takes rows, not columns: {:?}",
            x.layout()
        ));
    }
    Ok((address(x, x.dtype(), true)?, down.max(columns)))
}

/// A tensor that a kernel is about to fill.
#[expect(
    unsafe_code,
    reason = "every element is written by the kernel that the caller launches next"
)]
pub(super) fn unset(shape: impl Into<Shape>, dtype: DType, device: &CudaDevice) -> Result<Tensor> {
    // SAFETY: see the reason above.
    Ok(unsafe { Tensor::empty(shape, dtype, &Device::Cuda(device.clone())) }?)
}

/// A size as a kernel's `int`.
pub(super) fn int(value: usize) -> Result<Argument> {
    match i32::try_from(value) {
        Ok(value) => Ok(Argument::Int(value)),
        Err(_) => refused(format!("{value} is more than a CUDA kernel counts")),
    }
}

/// Blocks for `count` items of which each takes `each`.
pub(super) fn blocks(count: usize, each: usize) -> Result<u32> {
    match u32::try_from(count.div_ceil(each)) {
        Ok(blocks) => Ok(blocks),
        Err(_) => refused(format!("{count} items are too many for one launch")),
    }
}
