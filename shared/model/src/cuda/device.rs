use super::compiler;
use candle_core::cuda_backend::cudarc::driver::sys;
use candle_core::{CudaDevice, DType, Device, Tensor};

/// The oldest GPUs with bfloat16 tensor cores and background copies.
const CAPABILITY: (i32, i32) = (8, 0);

/// Device memory of this process's tensors, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In use now.
    pub used: u64,
    /// Most ever in use, since the start or the last reset.
    pub peak: u64,
    /// Taken from the device, in use or kept for later.
    pub reserved: u64,
}

/// The first NVIDIA GPU with its name, or why there is none that Lore can use.
///
/// # Errors
/// One line for the log and `lore doctor`.
#[expect(
    unsafe_code,
    reason = "candle asks for this where tensors could be used on several streams"
)]
pub fn open() -> Result<(Device, String), String> {
    // A stream of its own and not, as candle's default, one for each thread: Lore computes on several threads in turn.
    let device = Device::new_cuda_with_stream(0).map_err(|error| first_line(&error.to_string()))?;
    let Device::Cuda(cuda) = &device else {
        return Err("candle gave no CUDA device".to_owned());
    };
    // SAFETY: every tensor of this device is made, used and freed on its one stream.
    unsafe { cuda.disable_event_tracking() };
    let stream = cuda.cuda_stream();
    let context = stream.context();
    let name = context.name().map_err(|error| error.to_string())?;
    let capability = context
        .compute_capability()
        .map_err(|error| error.to_string())?;
    if capability < CAPABILITY {
        return Err(format!(
            "{name} has compute capability {}.{}, and Lore needs 8.0 (A100, RTX 30 or later)",
            capability.0, capability.1
        ));
    }
    compiler::version()?;
    keep_memory(cuda)?;
    probe(&device).map_err(|error| {
        format!("{name} cannot run this binary's kernels, which may be built for another GPU (CUDA_COMPUTE_CAP): {error}")
    })?;
    Ok((device, name))
}

/// One kernel that was compiled when this binary was built.
fn probe(device: &Device) -> candle_core::Result<()> {
    let one = Tensor::ones(8, DType::BF16, device)?.affine(2.0, 1.0)?;
    let values: Vec<f32> = one.to_dtype(DType::F32)?.to_vec1()?;
    match values.iter().all(|value| *value == 3.0) {
        true => Ok(()),
        false => candle_core::bail!("2 · 1 + 1 gave {values:?}"),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.contains("NO_DEVICE") {
        return "no NVIDIA driver answers, or it has no device".to_owned();
    }
    line.to_owned()
}

/// Freed memory stays with the process: giving it back at every synchronisation costs milliseconds a step.
#[expect(unsafe_code, reason = "the driver's C interface; it reads one integer")]
fn keep_memory(device: &CudaDevice) -> Result<(), String> {
    let mut all = u64::MAX;
    let pool = pool(device)?;
    // SAFETY: the attribute is a 64-bit integer, which lives through the call.
    unsafe {
        sys::cuMemPoolSetAttribute(
            pool,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut all).cast(),
        )
    }
    .result()
    .map_err(|error| error.to_string())
}

#[expect(unsafe_code, reason = "the driver's C interface; it writes one handle")]
fn pool(device: &CudaDevice) -> Result<sys::CUmemoryPool, String> {
    let stream = device.cuda_stream();
    let mut pool = std::ptr::null_mut();
    let ordinal = i32::try_from(stream.context().ordinal()).unwrap_or(0);
    // SAFETY: the context of `device` exists, so its ordinal is that of a device.
    unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, ordinal) }
        .result()
        .map_err(|error| error.to_string())?;
    Ok(pool)
}

/// Bytes that tensors may still take: what the device has left, and what this process keeps without using it.
pub fn free(device: &Device) -> Option<u64> {
    let Device::Cuda(cuda) = device else {
        return None;
    };
    cuda.cuda_stream().context().bind_to_thread().ok()?;
    let (left, _) = candle_core::cuda_backend::cudarc::driver::result::mem_get_info().ok()?;
    let memory = memory(device, false).ok()?;
    Some(left as u64 + memory.reserved.saturating_sub(memory.used))
}

/// What tensors take of the device's memory; with `reset` the peak counts from now on again.
///
/// # Errors
/// When the device is no GPU, or the driver refuses.
#[expect(
    unsafe_code,
    reason = "the driver's C interface; it reads and writes integers"
)]
pub fn memory(device: &Device, reset: bool) -> Result<Memory, String> {
    use sys::CUmemPool_attribute as Attribute;
    let Device::Cuda(device) = device else {
        return Err("the device is no GPU".to_owned());
    };
    let pool = pool(device)?;
    let read = |attribute: Attribute| -> Result<u64, String> {
        let mut value = 0u64;
        // SAFETY: these attributes are 64-bit integers.
        unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut value).cast()) }
            .result()
            .map_err(|error| error.to_string())?;
        Ok(value)
    };
    let memory = Memory {
        used: read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?,
        peak: read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?,
        reserved: read(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?,
    };
    if reset {
        let mut zero = 0u64;
        // SAFETY: as above; zero is the one value that this attribute takes.
        unsafe {
            sys::cuMemPoolSetAttribute(
                pool,
                Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH,
                (&raw mut zero).cast(),
            )
        }
        .result()
        .map_err(|error| error.to_string())?;
    }
    Ok(memory)
}
