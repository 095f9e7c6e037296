//! Attention: its mask, MPNet's relative bias, and the heads.

use super::{
    Part,
    encoder::EncoderGraph,
    fill::Fill,
    graph::Value,
    proto::{Attribute, DataType},
};
use crate::EmbedError;

/// What is added to the score of a padding token.
const MASKED: f32 = -10_000.0;
/// Distance in tokens from which on MPNet tells no further distances apart.
const MAX_DISTANCE: usize = 128;

impl EncoderGraph<'_> {
    /// What is added to attention scores: (batch, 1, 1, sequence), or (batch, heads, sequence, sequence) with a
    /// relative bias.
    pub(super) fn attention_bias(&mut self) -> Result<Value, EmbedError> {
        let axes = self.graph.integers("head_axes", &[1, 2]);
        let (one, masked) = (
            self.graph.float("one_float", 1.0),
            self.graph.float("masked", MASKED),
        );
        let graph = &mut self.graph;
        graph.node("Unsqueeze", "mask_4d", &["attention_mask", &axes], vec![]);
        graph.node(
            "Cast",
            "mask_float",
            &["mask_4d"],
            vec![Attribute::int("to", DataType::Float as i64)],
        );
        graph.node("Sub", "mask_inverse", &[&one, "mask_float"], vec![]);
        let mask = graph.node("Mul", "mask_bias", &["mask_inverse", &masked], vec![]);
        let Some(buckets) = self.spec.relative_buckets else {
            return Ok(mask);
        };
        let relative = self.relative_bias(buckets)?;
        Ok(self
            .graph
            .node("Add", "attention_bias", &[&mask, &relative], vec![]))
    }

    /// MPNet's bias by distance, cut to the batch's length: (1, heads, sequence, sequence).
    fn relative_bias(&mut self, buckets: usize) -> Result<Value, EmbedError> {
        let (heads, length) = (self.spec.heads, self.spec.max_tokens());
        let tensor = self.spec.names.relative_bias();
        self.weights.expect(&tensor, buckets * heads)?;
        let table = self.weights.read(&tensor, 0..buckets * heads)?; // (buckets, heads)
        let bias = (0..heads * length * length).map(|index| {
            let (head, pair) = (index / (length * length), index % (length * length));
            let bucket = relative_bucket(pair / length, pair % length, buckets);
            table.get(bucket * heads + head).copied().unwrap_or(0.0)
        });
        self.graph.constant(
            "relative_table",
            DataType::Float,
            &[1, heads, length, length],
            Fill::floats(bias),
        );
        let starts = self.graph.integers("zeros", &[0, 0]);
        let axes = self.graph.integers("pair_axes", &[2, 3]);
        let length = self.length();
        let ends = self.graph.node(
            "Concat",
            "pair_length",
            &[&length, &length],
            vec![Attribute::int("axis", 0)],
        );
        Ok(self.graph.node(
            "Slice",
            "relative_bias",
            &["relative_table", &starts, &ends, &axes],
            vec![],
        ))
    }

    /// Attention of one layer, without the residual: (batch, sequence, hidden).
    pub(super) fn attention(
        &mut self,
        layer: usize,
        source: &str,
        bias: &str,
    ) -> Result<Value, EmbedError> {
        let hidden = self.spec.hidden;
        let query = self.layer_linear(layer, Part::Query, (hidden, hidden), source)?;
        let key = self.layer_linear(layer, Part::Key, (hidden, hidden), source)?;
        let value = self.layer_linear(layer, Part::Value, (hidden, hidden), source)?;
        let query = self.heads(&query, &[0, 2, 1, 3]); // (batch, heads, sequence, head_dim)
        let key = self.heads(&key, &[0, 2, 3, 1]); // (batch, heads, head_dim, sequence)
        let value = self.heads(&value, &[0, 2, 1, 3]);
        let scale = self.graph.float(
            "attention_scale",
            1.0 / ((hidden / self.spec.heads) as f32).sqrt(),
        );
        let whole = self.graph.integers("hidden_shape", &[0, 0, hidden as i64]);
        let name = |suffix: &str| format!("{layer}_{suffix}");
        let graph = &mut self.graph;
        let scores = graph.node("MatMul", &name("scores"), &[&query, &key], vec![]);
        let scores = graph.node("Mul", &name("scores_scaled"), &[&scores, &scale], vec![]);
        let scores = graph.node("Add", &name("scores_masked"), &[&scores, bias], vec![]);
        let shares = graph.node(
            "Softmax",
            &name("shares"),
            &[&scores],
            vec![Attribute::int("axis", -1)],
        );
        let mixed = graph.node("MatMul", &name("mixed"), &[&shares, &value], vec![]);
        let joined = vec![Attribute::ints("perm", &[0, 2, 1, 3])];
        let mixed = graph.node("Transpose", &name("mixed_by_token"), &[&mixed], joined);
        let mixed = graph.node("Reshape", &name("mixed_whole"), &[&mixed, &whole], vec![]);
        self.layer_linear(layer, Part::AttentionOutput, (hidden, hidden), &mixed)
    }

    /// (batch, sequence, hidden) cut into heads, axes in the order `order`.
    fn heads(&mut self, source: &str, order: &[i64]) -> Value {
        let (heads, dim) = (
            self.spec.heads as i64,
            (self.spec.hidden / self.spec.heads) as i64,
        );
        let shape = self.graph.integers("head_shape", &[0, 0, heads, dim]);
        let cut = self.graph.node(
            "Reshape",
            &format!("{source}_cut"),
            &[source, &shape],
            vec![],
        );
        self.graph.node(
            "Transpose",
            &format!("{source}_heads"),
            &[&cut],
            vec![Attribute::ints("perm", order)],
        )
    }
}

/// The bucket of the distance between two tokens: half of the buckets for each direction, in each half the first half for
/// single distances, the rest growing logarithmically up to [`MAX_DISTANCE`].
///
/// # Source
/// Raffel et al., "Exploring the limits of transfer learning" (T5), as MPNet uses it; in float32, as in the original.
fn relative_bucket(from: usize, to: usize, buckets: usize) -> usize {
    let half = buckets / 2;
    let distance = from.abs_diff(to);
    let side = if to > from { half } else { 0 };
    let exact = half / 2;
    if distance < exact || exact == 0 {
        return side + distance.min(half.saturating_sub(1));
    }
    let growth =
        (distance as f32 / exact as f32).ln() / (MAX_DISTANCE as f64 / exact as f64).ln() as f32;
    let step = (growth * (half - exact) as f32) as usize;
    side + (exact + step).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::relative_bucket;

    /// Expected values: transformers' `MPNetEncoder.relative_position_bucket` with 32 buckets, computed by hand from its
    /// formula.
    #[test]
    fn distances_fall_into_the_buckets_of_mpnet() {
        let expected = [
            (0, 0),
            (1, 1),
            (7, 7),
            (8, 8),
            (11, 8),
            (12, 9),
            (16, 10),
            (32, 12),
            (64, 14),
            (127, 15),
            (500, 15),
        ];
        for (distance, bucket) in expected {
            assert_eq!(
                relative_bucket(distance, 0, 32),
                bucket,
                "{distance} tokens back"
            );
            let ahead = if distance == 0 { 0 } else { 16 + bucket };
            assert_eq!(
                relative_bucket(0, distance, 32),
                ahead,
                "{distance} tokens ahead"
            );
        }
    }
}
