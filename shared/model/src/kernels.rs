//! The few loops that candle has no fast version of on the CPU: attention, gated activations, quantised products,
//! adapters.
//!
//! Each is written once, plainly, and compiled twice: for any processor, and for AVX2 with fused multiply-add.

mod attention;
mod deltas;
mod factors;
mod few;
mod gate;
mod integers;
pub(crate) mod math;
mod pages;
pub(crate) mod product;
mod rows;
mod softmax;
mod tiles;
mod window;

pub(crate) use attention::{Heads, Query, attend_few};
pub(crate) use deltas::{Delta, Deltas};
pub(crate) use factors::{Factors, Pair, Precision};
pub(crate) use few::{FewLayer, FewRows, Weights, products as products_of_few};
pub(crate) use gate::Gated;
pub(crate) use integers::{IntegerRows, Lanes, MANY_ROWS, PackedRows, products, widen_blocks};
pub(crate) use rows::{NormRows, RotateRows};
pub(crate) use softmax::softmax_within;
pub(crate) use tiles::{Queries, attend_many};
pub(crate) use window::visible;

use candle_core::{CpuStorage, Layout, Storage, Tensor};
use std::ops::Deref;

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

/// Asks for values that are read soon, from memory that no cache holds.
fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(
            unsafe_code,
            reason = "every x86-64 processor takes this hint; the address is that of a borrowed slice"
        )]
        // SAFETY: see the reason above.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
}

/// A contiguous CPU tensor of float32 whose values can be read, as long as this is alive.
pub(crate) struct CpuValues<'a, Guard> {
    storage: Guard,
    layout: &'a Layout,
}

/// The values of a contiguous CPU tensor of float32.
pub(crate) fn cpu_values(tensor: &Tensor) -> CpuValues<'_, impl Deref<Target = Storage> + '_> {
    let (storage, layout) = tensor.storage_and_layout();
    CpuValues { storage, layout }
}

impl<Guard: Deref<Target = Storage>> CpuValues<'_, Guard> {
    pub(crate) fn get(&self) -> candle_core::Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => values(storage, self.layout),
            _ => candle_core::bail!("a CPU kernel was given a tensor of another device"),
        }
    }
}

/// The float32 values of a contiguous CPU tensor, handed to `read`.
pub(crate) fn with_values<R>(
    tensor: &Tensor,
    read: impl FnOnce(&[f32]) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    read(cpu_values(tensor).get()?)
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
