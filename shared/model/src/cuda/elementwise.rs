use super::compiler::Unit;
use super::kernel::{Argument, Launch, blocks, device_of, int, refused, tensor, unset};
use crate::decoder::Angles;
use crate::error::Result;
use crate::settings::Activation;
use candle_core::{CudaDevice, DType, Tensor};

const THREADS: usize = 256;

/// A launch with eight values a thread.
fn by_eight<'a>(
    device: &'a CudaDevice,
    unit: &'static str,
    name: &'static str,
    count: usize,
) -> Result<Launch<'a>> {
    if count % 8 != 0 {
        return refused(format!(
            "`{name}` takes eight values at a time, and got {count}"
        ));
    }
    Ok(Launch {
        device,
        unit: Unit {
            name: unit,
            head: None,
        },
        name,
        grid: (blocks(count, 8 * THREADS)?, 1, 1),
        block: (THREADS as u32, 1, 1),
        shared: 0,
    })
}

fn kind(activation: Activation) -> Argument {
    Argument::Int(match activation {
        Activation::Silu => 0,
        Activation::GeluTanh => 1,
    })
}

/// activation(gate) · up.
pub(crate) fn gate(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    let device = device_of(gate)?;
    let out = unset(gate.shape(), DType::BF16, device)?;
    by_eight(device, "gate", "gate", gate.elem_count())?.run(&[
        tensor(gate, DType::BF16)?,
        tensor(up, DType::BF16)?,
        tensor(&out, DType::BF16)?,
        Argument::Long(gate.elem_count() as u64),
        kind(activation),
    ])?;
    Ok(out)
}

/// The gradients of gate and up.
pub(crate) fn gate_backward(
    gate: &Tensor,
    up: &Tensor,
    gradient: &Tensor,
    activation: Activation,
) -> Result<(Tensor, Tensor)> {
    let device = device_of(gate)?;
    let to_gate = unset(gate.shape(), DType::BF16, device)?;
    let to_up = unset(gate.shape(), DType::BF16, device)?;
    by_eight(device, "gate", "gate_backward", gate.elem_count())?.run(&[
        tensor(gate, DType::BF16)?,
        tensor(up, DType::BF16)?,
        tensor(gradient, DType::BF16)?,
        tensor(&to_gate, DType::BF16)?,
        tensor(&to_up, DType::BF16)?,
        Argument::Long(gate.elem_count() as u64),
        kind(activation),
    ])?;
    Ok((to_gate, to_up))
}

/// Turns (rows, heads · width) by the angles of the rows; `back` undoes it, which is the derivative.
pub(crate) fn rotate(x: &Tensor, angles: &Angles, back: bool) -> Result<Tensor> {
    let device = device_of(x)?;
    let (rows, half) = angles.cos.dims2()?;
    let heads = x.elem_count() / (rows * half * 2);
    if half % 2 != 0 {
        return refused(format!(
            "the CUDA rotation takes head widths that 4 divides, not {}",
            2 * half
        ));
    }
    let y = unset(x.shape(), DType::BF16, device)?;
    let launch = Launch {
        device,
        unit: Unit {
            name: "rotary",
            head: None,
        },
        name: "rotate",
        grid: (blocks(x.elem_count(), 4 * THREADS)?, 1, 1),
        block: (THREADS as u32, 1, 1),
        shared: 0,
    };
    launch.run(&[
        tensor(x, DType::BF16)?,
        tensor(&angles.cos, DType::F32)?,
        tensor(&angles.sin, DType::F32)?,
        tensor(&y, DType::BF16)?,
        int(rows)?,
        int(heads)?,
        int(half)?,
        Argument::Float(if back { -1.0 } else { 1.0 }),
    ])?;
    Ok(y)
}

/// x with `share` of its values set to zero and the others scaled up, plus `add`. The same seed drops the same values.
pub(crate) fn dropout(x: &Tensor, add: Option<&Tensor>, share: f64, seed: u64) -> Result<Tensor> {
    let device = device_of(x)?;
    let y = unset(x.shape(), DType::BF16, device)?;
    by_eight(device, "many", "dropout", x.elem_count())?.run(&[
        tensor(x, DType::BF16)?,
        add.map_or(Ok(Argument::Pointer(0)), |add| tensor(add, DType::BF16))?,
        tensor(&y, DType::BF16)?,
        Argument::Long(x.elem_count() as u64),
        Argument::Long(seed),
        Argument::Word((share * f64::from(u32::MAX)) as u32),
        Argument::Float((1.0 / (1.0 - share)) as f32),
    ])?;
    Ok(y)
}
