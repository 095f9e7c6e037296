//! The training path where every pass is written by hand: forward keeps what backward needs and nothing else, and
//! backward computes no gradient of frozen weights, joins the small products of adapters that share an input, and adds
//! in place. GPUs train with it; on a CPU it computes with [`crate::reference`], which is slow and holds it against the
//! path of [`super::forward`].

mod factors;
mod layer;
mod loss;
mod ops;
mod pass;
mod products;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub(super) use pass::{evaluate, gradients, logits};
