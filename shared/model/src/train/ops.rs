//! The operations of the training path. On the CPU each is one pass forward and one back; elsewhere they are composed of
//! candle's differentiable ones, to the same numbers.

mod gate;
mod norm;
mod rotate;
mod softmax;

pub(super) use gate::gated;
pub(super) use norm::rms_norm;
pub(super) use rotate::rotate;
pub(super) use softmax::Causal;

type OpResult<T> = candle_core::Result<T>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Angles;
    use crate::kernels::visible;
    use crate::random::Random;
    use crate::settings::Activation;
    use candle_core::{Device, Tensor, Var};

    fn random(shape: &[usize], seed: u64) -> Tensor {
        let mut random = Random::new(seed);
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| random.uniform() * 4.0 - 2.0)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    fn distance(a: &Tensor, b: &Tensor) -> f32 {
        let values: Vec<f32> = (a - b)
            .and_then(|d| d.abs()?.flatten_all()?.to_vec1())
            .expect("one shape");
        values.into_iter().fold(0.0, f32::max)
    }

    /// Values and gradients of two ways to compute the same, from one x.
    fn agree(shape: &[usize], one: impl Fn(&Tensor) -> Tensor, other: impl Fn(&Tensor) -> Tensor) {
        let run = |function: &dyn Fn(&Tensor) -> Tensor| {
            let x = Var::from_tensor(&random(shape, 1)).expect("a variable");
            let y = function(x.as_tensor());
            let weights = random(y.dims(), 2);
            let gradients = (&y * weights)
                .and_then(|y| y.sum_all()?.backward())
                .expect("a backward pass");
            (y, gradients.get(x.as_tensor()).expect("a gradient").clone())
        };
        let ((y, dy), (z, dz)) = (run(&one), run(&other));
        assert!(
            distance(&y, &z) < 1e-5,
            "values differ by {}",
            distance(&y, &z)
        );
        assert!(
            distance(&dy, &dz) < 1e-5,
            "gradients differ by {}",
            distance(&dy, &dz)
        );
    }

    #[test]
    fn the_norm_is_the_composed_one() {
        let weight = random(&[8], 3);
        let composed = |x: &Tensor| {
            let mean = x.sqr().and_then(|x| x.mean_keepdim(1)).expect("a mean");
            let root = (mean + 1e-6).and_then(|mean| mean.sqrt()).expect("a root");
            x.broadcast_div(&root)
                .and_then(|x| x.broadcast_mul(&weight))
                .expect("a norm")
        };
        agree(
            &[5, 8],
            |x| rms_norm(x, &weight, 1e-6).expect("a norm"),
            composed,
        );
    }

    #[test]
    fn the_rotation_is_the_composed_one() {
        let angles = Angles {
            cos: random(&[3, 4], 4),
            sin: random(&[3, 4], 5),
        };
        agree(
            &[3, 2, 8],
            |x| rotate(x, &angles).expect("a rotation"),
            |x| angles.rotate_train(x).expect("a rotation"),
        );
    }

    #[test]
    fn gates_are_the_composed_ones() {
        let up = random(&[4, 6], 6);
        agree(
            &[4, 6],
            |x| gated(x, &up, Activation::Silu).expect("a gate"),
            |x| (x.silu().expect("silu") * &up).expect("a product"),
        );
        agree(
            &[4, 6],
            |x| gated(x, &up, Activation::GeluTanh).expect("a gate"),
            |x| (x.gelu().expect("gelu") * &up).expect("a product"),
        );
        agree(
            &[4, 6],
            |x| gated(&up, x, Activation::Silu).expect("a gate"),
            |x| (up.silu().expect("silu") * x).expect("a product"),
        );
    }

    #[test]
    fn the_softmax_is_the_composed_one() {
        let causal = Causal {
            group: 2,
            window: Some(3),
            scale: 0.5,
        };
        let mut mask = vec![f32::NEG_INFINITY; 10 * 5];
        for (row, mask) in mask.chunks_mut(5).enumerate() {
            mask[visible(row / 2, Some(3))].fill(0.0);
        }
        let mask = Tensor::from_vec(mask, (1, 10, 5), &Device::Cpu).expect("a mask");
        let composed = |x: &Tensor| {
            candle_nn::ops::softmax(
                &(x * 0.5)
                    .and_then(|x| x.broadcast_add(&mask))
                    .expect("masked"),
                2,
            )
            .expect("a softmax")
        };
        agree(
            &[3, 10, 5],
            |x| causal.softmax(x, || Ok(mask.clone())).expect("a softmax"),
            composed,
        );
    }
}
