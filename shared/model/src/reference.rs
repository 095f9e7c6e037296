//! Here is what a GPU kernel computes, written plainly and in any precision: forward and backward of norm, rotation, gate,
//! cross-entropy and attention.
//!
//! The derivatives are checked by finite differences in float64 on every machine ([`derivatives`]), and the kernels
//! against these functions where there is a GPU.

mod attention;
#[cfg(test)]
mod derivatives;
mod gate;
mod loss;
mod norm;
mod rotary;

pub(crate) use attention::{Attention, Span};
pub(crate) use gate::{gate, gate_backward};
pub(crate) use loss::cross_entropy;
pub(crate) use norm::{rms_norm, rms_norm_backward};
pub(crate) use rotary::rotate;

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// float32 or float64.
pub(crate) trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + Sum
{
    /// A constant.
    fn of(value: f64) -> Self;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
}

macro_rules! real {
    ($kind:ty) => {
        impl Real for $kind {
            fn of(value: f64) -> Self {
                value as Self
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
        }
    };
}
real!(f32);
real!(f64);
