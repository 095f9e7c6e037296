use super::Real;

fn inverse_root<R: Real>(row: &[R], eps: R) -> R {
    let squares: R = row.iter().map(|x| *x * *x).sum();
    R::of(1.0) / (squares / R::of(row.len() as f64) + eps).sqrt()
}

/// x / √(mean(x²) + eps) · weight, for rows as long as the weight.
pub(crate) fn rms_norm<R: Real>(x: &[R], weight: &[R], eps: R) -> Vec<R> {
    let row = |row: &[R]| {
        let inverse = inverse_root(row, eps);
        let values = row.iter().zip(weight).map(|(x, w)| *x * inverse * *w);
        values.collect::<Vec<_>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

/// dx = r g w - x r³ / n · Σ g w x, with r the inverse root.
pub(crate) fn rms_norm_backward<R: Real>(x: &[R], weight: &[R], gradient: &[R], eps: R) -> Vec<R> {
    let width = weight.len();
    let row = |(x, gradient): (&[R], &[R])| {
        let inverse = inverse_root(x, eps);
        let weighted = || gradient.iter().zip(weight).map(|(g, w)| *g * *w);
        let dot: R = weighted().zip(x).map(|(gw, x)| gw * *x).sum();
        let shrink = dot * inverse * inverse * inverse / R::of(width as f64);
        let values = weighted().zip(x).map(|(gw, x)| inverse * gw - *x * shrink);
        values.collect::<Vec<_>>()
    };
    x.chunks(width)
        .zip(gradient.chunks(width))
        .flat_map(row)
        .collect()
}
