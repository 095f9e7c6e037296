use super::compiler::Unit;
use super::kernel::{Argument, Launch, blocks, device_of, int, refused, tensor, unset};
use crate::error::Result;
use candle_core::{CudaDevice, DType, Tensor};

const UNIT: Unit = Unit {
    name: "norm",
    head: None,
};

/// Narrow rows get a warp each, four to a block; wide ones a block.
fn launch<'a>(
    device: &'a CudaDevice,
    name: &'static str,
    rows: usize,
    width: usize,
) -> Result<Launch<'a>> {
    if width % 8 != 0 {
        return refused(format!(
            "the CUDA norm takes widths that 8 divides, not {width}"
        ));
    }
    let threads = (width / 8).next_multiple_of(32).clamp(32, 512);
    let (across, down) = if width <= 1024 { (32, 4) } else { (threads, 1) };
    Ok(Launch {
        device,
        unit: UNIT,
        name,
        grid: (blocks(rows, down)?, 1, 1),
        block: (across as u32, down as u32, 1),
        shared: 0,
    })
}

fn maybe(x: Option<&Tensor>) -> Result<Argument> {
    x.map_or(Ok(Argument::Pointer(0)), |x| tensor(x, DType::BF16))
}

/// s = x, or x + delta, and s / √(mean(s²) + eps) · weight over the last dimension.
pub(crate) fn rms_norm(
    x: &Tensor,
    delta: Option<&Tensor>,
    weight: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let device = device_of(x)?;
    let width = weight.elem_count();
    let rows = x.elem_count() / width;
    let sum = match delta {
        Some(_) => unset(x.shape(), DType::BF16, device)?,
        None => x.clone(),
    };
    let y = unset(x.shape(), DType::BF16, device)?;
    launch(device, "rms_norm", rows, width)?.run(&[
        tensor(x, DType::BF16)?,
        maybe(delta)?,
        tensor(weight, DType::F32)?,
        tensor(&sum, DType::BF16)?,
        tensor(&y, DType::BF16)?,
        int(rows)?,
        int(width)?,
        Argument::Float(eps as f32),
    ])?;
    Ok((sum, y))
}

/// The gradient of x from that of the normed rows, plus `add`.
pub(crate) fn rms_norm_backward(
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
    add: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let device = device_of(x)?;
    let width = weight.elem_count();
    let rows = x.elem_count() / width;
    let dx = unset(x.shape(), DType::BF16, device)?;
    launch(device, "rms_norm_backward", rows, width)?.run(&[
        tensor(x, DType::BF16)?,
        tensor(weight, DType::F32)?,
        tensor(gradient, DType::BF16)?,
        maybe(add)?,
        tensor(&dx, DType::BF16)?,
        int(rows)?,
        int(width)?,
        Argument::Float(eps as f32),
    ])?;
    Ok(dx)
}
