//! The graph of a whole encoder.

use super::{
    EncoderSpec, Part, Weights,
    config::Activation,
    graph::{GraphBuilder, Value},
    linear::Linear,
    proto::{Attribute, DataType, Extent, ValueInfo},
    spec::{Head, ScoreHead},
    write::{ModelPaths, write_model},
};
use crate::{EmbedError, Precision};
use std::collections::HashSet;

/// An encoder's graph under construction.
pub(super) struct EncoderGraph<'w> {
    pub(super) graph: GraphBuilder,
    pub(super) weights: &'w Weights,
    pub(super) spec: &'w EncoderSpec,
    pub(super) precision: Precision,
    /// Names of shared values that are computed already.
    pub(super) shared: HashSet<String>,
}

/// Writes the encoder as an ONNX file, and its large constants beside it.
///
/// # Guarantees
/// Inputs `input_ids` and `attention_mask`, int64 (batch, sequence), and `token_type_ids` for a cross-encoder with token types;
/// one output: `last_hidden_state`, float32 (batch, sequence, hidden), or a cross-encoder's `logits`, (batch, 1). Opset 17,
/// only ONNX's own operators. The same weights give the same bytes.
///
/// # Errors
/// A missing or misshapen tensor by name, an architecture that cannot be expressed, or an unwritable file.
pub(crate) fn export(
    weights: &Weights,
    spec: &EncoderSpec,
    precision: Precision,
    paths: &ModelPaths<'_>,
) -> Result<(), EmbedError> {
    spec.check(weights.path())?;
    let mut builder = EncoderGraph {
        graph: GraphBuilder::default(),
        weights,
        spec,
        precision,
        shared: HashSet::new(),
    };
    builder.build()?;
    let (inputs, output) = (builder.inputs(), builder.output());
    let (graph, constants) = builder.graph.finish(inputs, vec![output]);
    write_model(paths, &graph, &constants, weights)
}

impl EncoderGraph<'_> {
    fn build(&mut self) -> Result<(), EmbedError> {
        let mut state = self.embeddings()?;
        let bias = self.attention_bias()?;
        for layer in 0..self.spec.layers {
            state = self.layer(layer, &state, &bias)?;
        }
        match self.spec.head {
            Head::Hidden => self
                .graph
                .node("Identity", "last_hidden_state", &[&state], vec![]),
            Head::Score(head) => self.score(head, &state)?,
        };
        Ok(())
    }

    /// One layer: attention and feed-forward part, each added to its input and normalised.
    fn layer(&mut self, layer: usize, source: &str, bias: &str) -> Result<Value, EmbedError> {
        let (hidden, feed_forward) = (self.spec.hidden, self.spec.feed_forward);
        let attended = self.attention(layer, source, bias)?;
        let sum = self.graph.node(
            "Add",
            &format!("{layer}_attended"),
            &[&attended, source],
            vec![],
        );
        let middle = self.layer_layer_norm(layer, Part::AttentionNorm, &sum)?;
        let wide = self.layer_linear(layer, Part::Intermediate, (hidden, feed_forward), &middle)?;
        let wide = self.activation(&format!("{layer}_active"), &wide);
        let narrow = self.layer_linear(layer, Part::Output, (feed_forward, hidden), &wide)?;
        let sum = self
            .graph
            .node("Add", &format!("{layer}_fed"), &[&narrow, &middle], vec![]);
        self.layer_layer_norm(layer, Part::OutputNorm, &sum)
    }

    fn activation(&mut self, name: &str, source: &str) -> Value {
        match self.spec.activation {
            Activation::Relu => self.graph.node("Relu", name, &[source], vec![]),
            Activation::Gelu => self.gelu(name, source),
            Activation::GeluTanh => self.gelu_tanh(name, source),
        }
    }

    /// `x / sqrt 2 → erf → + 1 → · x → / 2`; ONNX Runtime fuses exactly this order.
    fn gelu(&mut self, name: &str, source: &str) -> Value {
        let (root, one, half) = (
            self.graph.float("root_two", std::f32::consts::SQRT_2),
            self.graph.float("one_float", 1.0),
            self.graph.float("half", 0.5),
        );
        let step = |suffix: &str| format!("{name}_{suffix}");
        let graph = &mut self.graph;
        let inner = graph.node("Div", &step("inner"), &[source, &root], vec![]);
        let erf = graph.node("Erf", &step("erf"), &[&inner], vec![]);
        let share = graph.node("Add", &step("share"), &[&erf, &one], vec![]);
        let double = graph.node("Mul", &step("double"), &[source, &share], vec![]);
        graph.node("Mul", name, &[&double, &half], vec![])
    }

    /// `x · (1 + tanh(sqrt(2/π) · (x + 0.044715 x³))) / 2`.
    fn gelu_tanh(&mut self, name: &str, source: &str) -> Value {
        let (cubic, root, one, half, three) = (
            self.graph.float("gelu_cubic", 0.044_715),
            self.graph
                .float("gelu_root", (2.0 / std::f32::consts::PI).sqrt()),
            self.graph.float("one_float", 1.0),
            self.graph.float("half", 0.5),
            self.graph.float("three", 3.0),
        );
        let step = |suffix: &str| format!("{name}_{suffix}");
        let graph = &mut self.graph;
        let cube = graph.node("Pow", &step("cube"), &[source, &three], vec![]);
        let cube = graph.node("Mul", &step("cube_scaled"), &[&cube, &cubic], vec![]);
        let inner = graph.node("Add", &step("inner"), &[source, &cube], vec![]);
        let inner = graph.node("Mul", &step("inner_scaled"), &[&inner, &root], vec![]);
        let tanh = graph.node("Tanh", &step("tanh"), &[&inner], vec![]);
        let share = graph.node("Add", &step("share"), &[&tanh, &one], vec![]);
        let double = graph.node("Mul", &step("double"), &[source, &share], vec![]);
        graph.node("Mul", name, &[&double, &half], vec![])
    }

    /// A cross-encoder's score of the first token's state.
    fn score(&mut self, head: ScoreHead, state: &str) -> Result<Value, EmbedError> {
        let hidden = self.spec.hidden;
        let first = self.graph.index("first_token", 0);
        let token = self.graph.node(
            "Gather",
            "first_state",
            &[state, &first],
            vec![Attribute::int("axis", 1)],
        );
        let pooler = format!("{}pooler.dense", self.spec.names.prefix);
        let (dense, act, out) = match head {
            ScoreHead::Bert => (pooler.as_str(), "Tanh", "classifier"),
            ScoreHead::Roberta => ("classifier.dense", "Tanh", "classifier.out_proj"),
            ScoreHead::DistilBert => ("pre_classifier", "Relu", "classifier"),
        };
        let pooled = self.linear(&plain_linear("pooled", dense, (hidden, hidden)), &token)?;
        let active = self.graph.node(act, "pooled_active", &[&pooled], vec![]);
        self.linear(&plain_linear("logits", out, (hidden, 1)), &active)
    }

    /// The batch's length as a list of one number.
    pub(super) fn length(&mut self) -> Value {
        if !self.shared.insert("sequence_length".into()) {
            return "sequence_length".into();
        }
        let one = self.graph.integers("one", &[1]);
        self.graph
            .node("Shape", "input_shape", &["input_ids"], vec![]);
        self.graph
            .node("Gather", "sequence_length", &["input_shape", &one], vec![])
    }

    fn inputs(&self) -> Vec<ValueInfo> {
        let mut names = vec!["input_ids", "attention_mask"];
        names.extend(self.takes_token_types().then_some("token_type_ids"));
        let dims = || {
            vec![
                Extent::Param("batch".into()),
                Extent::Param("sequence".into()),
            ]
        };
        names
            .into_iter()
            .map(|name| ValueInfo::tensor(name, DataType::Int64, dims()))
            .collect()
    }

    fn output(&self) -> ValueInfo {
        let batch = Extent::Param("batch".into());
        match self.spec.head {
            Head::Score(_) => {
                ValueInfo::tensor("logits", DataType::Float, vec![batch, Extent::Value(1)])
            }
            Head::Hidden => {
                let dims = vec![
                    batch,
                    Extent::Param("sequence".into()),
                    Extent::Value(self.spec.hidden as i64),
                ];
                ValueInfo::tensor("last_hidden_state", DataType::Float, dims)
            }
        }
    }
}

/// A linear layer whose tensors are `BASE.weight` and `BASE.bias`.
fn plain_linear<'n>(name: &'n str, base: &str, (inputs, outputs): (usize, usize)) -> Linear<'n> {
    let (weight, bias) = (format!("{base}.weight"), format!("{base}.bias"));
    Linear {
        name,
        weight,
        bias,
        inputs,
        outputs,
        precision: Precision::Float32,
    }
}
