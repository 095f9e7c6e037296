//! The few loops that candle has no fast version of on the CPU: attention of single tokens, masked softmax, gated activations.
//!
//! Each is written once, plainly, and compiled twice: for any processor, and for AVX2 with fused multiply-add.

mod attention;
mod gate;
mod integers;
pub(crate) mod math;
mod softmax;

pub(crate) use attention::{Heads, Query, attend};
pub(crate) use gate::Gated;
pub(crate) use integers::{IntegerRows, Lanes, PackedRows, products};
pub(crate) use softmax::{MaskedSoftmax, softmax_within, visible};

use candle_core::{CpuStorage, Layout, Storage, Tensor};

/// Calls the AVX2 version of a loop where the processor has it.
macro_rules! dispatch {
    ($name:ident, $body:ident, ($($argument:ident: $kind:ty),*)) => {
        pub(crate) fn $name($($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn fast($($argument: $kind),*) {
                    $body::<true>($($argument),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    #[expect(unsafe_code, reason = "a function compiled for AVX2 and FMA is called where both were just detected")]
                    // SAFETY: see the reason above.
                    return unsafe { fast($($argument),*) };
                }
            }
            $body::<false>($($argument),*);
        }
    };
}
pub(crate) use dispatch;

/// The float32 values of a contiguous CPU tensor, handed to `read`.
pub(crate) fn with_values<R>(
    tensor: &Tensor,
    read: impl FnOnce(&[f32]) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(values(storage, layout)?),
        _ => candle_core::bail!("a CPU kernel was given a tensor of another device"),
    }
}

/// The float32 values of a contiguous layout.
pub(crate) fn values<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a CPU kernel takes contiguous tensors only")
    };
    match storage.as_slice::<f32>()?.get(start..end) {
        Some(values) => Ok(values),
        None => candle_core::bail!("a layout reaches past its storage"),
    }
}
