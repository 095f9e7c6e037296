use super::Real;

/// The cross-entropy of each row of logits with its label, and `scale` times its derivative by the logits.
pub(crate) fn cross_entropy<R: Real>(logits: &[R], labels: &[u32], scale: R) -> (Vec<R>, Vec<R>) {
    let width = logits.len() / labels.len().max(1);
    let mut losses = Vec::with_capacity(labels.len());
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, label) in logits.chunks(width.max(1)).zip(labels) {
        let label = *label as usize;
        let largest = row
            .iter()
            .fold(row[0], |most, x| if *x > most { *x } else { most });
        let sum: R = row.iter().map(|x| (*x - largest).exp()).sum();
        let log_sum = largest + sum.ln();
        losses.push(log_sum - row[label]);
        let at = gradient.len() + label;
        gradient.extend(row.iter().map(|x| scale * (*x - log_sum).exp()));
        gradient[at] = gradient[at] - scale;
    }
    (losses, gradient)
}
