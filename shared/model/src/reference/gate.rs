use super::Real;
use crate::settings::Activation;

/// The activation at x, and its derivative.
fn activated<R: Real>(x: R, activation: Activation) -> (R, R) {
    let one = R::of(1.0);
    match activation {
        Activation::Silu => {
            let sigmoid = one / (one + (-x).exp());
            (x * sigmoid, sigmoid * (one + x * (one - sigmoid)))
        }
        Activation::GeluTanh => {
            let (half, slope) = (R::of(0.5), R::of((2.0 / std::f64::consts::PI).sqrt()));
            let cubic = R::of(0.044_715);
            let tanh = (slope * (x + cubic * x * x * x)).tanh();
            let inner = slope * (one + R::of(3.0) * cubic * x * x);
            (
                half * x * (one + tanh),
                half * (one + tanh) + half * x * (one - tanh * tanh) * inner,
            )
        }
    }
}

/// activation(gate) · up.
pub(crate) fn gate<R: Real>(gate: &[R], up: &[R], activation: Activation) -> Vec<R> {
    gate.iter()
        .zip(up)
        .map(|(gate, up)| activated(*gate, activation).0 * *up)
        .collect()
}

/// The gradients of gate and up.
pub(crate) fn gate_backward<R: Real>(
    gate: &[R],
    up: &[R],
    gradient: &[R],
    activation: Activation,
) -> (Vec<R>, Vec<R>) {
    let values = gate.iter().zip(up).zip(gradient);
    values
        .map(|((gate, up), gradient)| {
            let (value, slope) = activated(*gate, activation);
            (*gradient * *up * slope, *gradient * value)
        })
        .unzip()
}
