//! Here are tensors on an NVIDIA GPU, give me what candle has no fast kernel or no backward for: norm, rotation, gate, loss,
//! attention, products that add to what is there, and an optimiser in one launch. The only module that knows cudarc.
//!
//! The kernels (`kernels/*.cu`) are compiled by NVRTC when they are first needed and kept in the user's cache folder. They take
//! bfloat16, compute in float32, and need compute capability 8.0. Their mathematics stand in [`crate::reference`];
//! `tests/cuda/emulate` runs them on a CPU.

#[cfg(feature = "cuda")]
mod attention;
mod cache;
#[cfg(feature = "cuda")]
mod compiler;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod elementwise;
#[cfg(feature = "cuda")]
mod gemm;
#[cfg(feature = "cuda")]
mod kernel;
#[cfg(feature = "cuda")]
mod loss;
#[cfg(feature = "cuda")]
mod many;
#[cfg(feature = "cuda")]
mod norm;
#[cfg(all(test, feature = "cuda"))]
mod tests;

#[cfg(feature = "cuda")]
pub(crate) use {
    attention::{Tiles, attention, attention_backward, cached_attention},
    elementwise::{dropout, gate, gate_backward, rotate},
    gemm::{Operand, gemm, product},
    loss::cross_entropy,
    many::{AdamWStep, Moved, adamw, add_all, narrow_all, scale_all, squares},
    norm::{rms_norm, rms_norm_backward},
};

#[cfg(feature = "cuda")]
pub use device::{Memory, free, memory, open};

/// Whether these kernels compute with `x`: bfloat16 on a GPU.
#[cfg(feature = "cuda")]
pub(crate) fn computes(x: &candle_core::Tensor) -> bool {
    x.device().is_cuda() && x.dtype() == candle_core::DType::BF16
}
