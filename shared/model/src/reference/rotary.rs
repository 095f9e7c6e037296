use super::Real;

/// Turns (rows, heads, 2 · half) by the angles of the rows: element i with element i + half. `back` turns the other way,
/// which is the derivative.
pub(crate) fn rotate<R: Real>(
    x: &[R],
    cosines: &[R],
    sines: &[R],
    heads: usize,
    half: usize,
    back: bool,
) -> Vec<R> {
    let mut out = x.to_vec();
    for (head, (out, x)) in out.chunks_mut(2 * half).zip(x.chunks(2 * half)).enumerate() {
        let row = head / heads * half;
        for index in 0..half {
            let (cos, sin) = (cosines[row + index], sines[row + index]);
            let sin = if back { -sin } else { sin };
            out[index] = x[index] * cos - x[index + half] * sin;
            out[index + half] = x[index + half] * cos + x[index] * sin;
        }
    }
    out
}
