//! Linear layers, in float32 or in 8 bits, and normalisation.

use super::{
    Kind, Part,
    encoder::EncoderGraph,
    fill::Fill,
    graph::Value,
    proto::{Attribute, DataType},
};
use crate::{EmbedError, Precision, runtime::adds_exactly};

/// One linear layer: `inputs` numbers to `outputs` numbers per token.
pub(super) struct Linear<'n> {
    /// What its output is called in the graph.
    pub name: &'n str,
    pub weight: String,
    pub bias: String,
    pub inputs: usize,
    pub outputs: usize,
    pub precision: Precision,
}

impl EncoderGraph<'_> {
    /// The linear layer `part` of layer `layer`.
    pub(super) fn layer_linear(
        &mut self,
        layer: usize,
        part: Part,
        (inputs, outputs): (usize, usize),
        source: &str,
    ) -> Result<Value, EmbedError> {
        let (weight, bias) = self.names_of(layer, part);
        let name = format!("{layer}_{part:?}");
        // The widest range of inputs is there: with weights of 7 bits it alone cost half of what all layers cost together (see
        // `Precision`).
        let precision = if part == Part::Output && !adds_exactly() {
            Precision::Float32
        } else {
            self.precision
        };
        self.linear(
            &Linear {
                name: &name,
                weight,
                bias,
                inputs,
                outputs,
                precision,
            },
            source,
        )
    }

    /// The normalisation `part` of layer `layer`.
    pub(super) fn layer_layer_norm(
        &mut self,
        layer: usize,
        part: Part,
        source: &str,
    ) -> Result<Value, EmbedError> {
        let (weight, bias) = self.names_of(layer, part);
        self.layer_norm(&format!("{layer}_{part:?}"), source, &weight, &bias)
    }

    /// `source · weightᵀ + bias`.
    pub(super) fn linear(&mut self, layer: &Linear<'_>, source: &str) -> Result<Value, EmbedError> {
        self.weights
            .expect(&layer.weight, layer.inputs * layer.outputs)?;
        self.weights.expect(&layer.bias, layer.outputs)?;
        let product = match layer.precision {
            Precision::Float32 => self.product(layer, source),
            Precision::Int8 => self.int8_product(layer, source),
        };
        let bias_name = format!("{}_bias", layer.name);
        let fill = Fill::Copy {
            tensor: layer.bias.clone(),
            len: layer.outputs,
        };
        self.graph
            .constant(&bias_name, DataType::Float, &[layer.outputs], fill);
        Ok(self
            .graph
            .node("Add", layer.name, &[&product, &bias_name], vec![]))
    }

    fn product(&mut self, layer: &Linear<'_>, source: &str) -> Value {
        let weight = format!("{}_weight", layer.name);
        let fill = Fill::Transposed {
            tensor: layer.weight.clone(),
            rows: layer.outputs,
            columns: layer.inputs,
        };
        self.graph.constant(
            &weight,
            DataType::Float,
            &[layer.inputs, layer.outputs],
            fill,
        );
        self.graph.node(
            "MatMul",
            &format!("{}_product", layer.name),
            &[source, &weight],
            vec![],
        )
    }

    /// The product in 8 bits: the input is quantised on the way with one scale for the whole batch, each output has its
    /// own scale. ONNX Runtime fuses these nodes into one.
    fn int8_product(&mut self, layer: &Linear<'_>, source: &str) -> Value {
        let (weight, scale) = (
            format!("{}_weight", layer.name),
            format!("{}_scale", layer.name),
        );
        let (tensor, rows, columns) = (layer.weight.clone(), layer.outputs, layer.inputs);
        let fill = Fill::TransposedInt8 {
            tensor: tensor.clone(),
            rows,
            columns,
        };
        self.graph
            .constant(&weight, DataType::Int8, &[columns, rows], fill);
        self.graph.constant(
            &scale,
            DataType::Float,
            &[rows],
            Fill::RowScales {
                tensor,
                rows,
                columns,
            },
        );
        let zero = format!("{}_zero", layer.name);
        self.graph
            .constant(&zero, DataType::Int8, &[rows], Fill::Bytes(vec![0; rows]));
        let [input, input_scale, input_zero] = self.quantised(source);
        let name = |suffix: &str| format!("{}_{suffix}", layer.name);
        let graph = &mut self.graph;
        let sum = graph.node(
            "MatMulInteger",
            &name("sum"),
            &[&input, &weight, &input_zero, &zero],
            vec![],
        );
        let float = vec![Attribute::int("to", DataType::Float as i64)];
        let sum = graph.node("Cast", &name("sum_float"), &[&sum], float);
        let scales = graph.node("Mul", &name("scales"), &[&input_scale, &scale], vec![]);
        graph.node("Mul", &name("product"), &[&sum, &scales], vec![])
    }

    /// `source` in 8 bits, its scale and its zero point; computed once for all layers that read it.
    fn quantised(&mut self, source: &str) -> [Value; 3] {
        let names = ["int8", "int8_scale", "int8_zero"].map(|suffix| format!("{source}_{suffix}"));
        if self.shared.insert(source.to_string()) {
            let outputs = [names[0].as_str(), names[1].as_str(), names[2].as_str()];
            self.graph
                .node_with_outputs("DynamicQuantizeLinear", &[source], &outputs, vec![]);
        }
        names
    }

    /// Normalisation of each token's numbers.
    pub(super) fn layer_norm(
        &mut self,
        name: &str,
        source: &str,
        weight: &str,
        bias: &str,
    ) -> Result<Value, EmbedError> {
        let hidden = self.spec.hidden;
        let mut constant = |tensor: &str, suffix: &str| {
            self.weights.expect(tensor, hidden)?;
            let fill = Fill::Copy {
                tensor: tensor.into(),
                len: hidden,
            };
            Ok::<_, EmbedError>(self.graph.constant(
                &format!("{name}_{suffix}"),
                DataType::Float,
                &[hidden],
                fill,
            ))
        };
        let (weight, bias) = (constant(weight, "weight")?, constant(bias, "bias")?);
        let attributes = vec![
            Attribute::int("axis", -1),
            Attribute::float("epsilon", self.spec.epsilon),
        ];
        Ok(self.graph.node(
            "LayerNormalization",
            &format!("{name}_normed"),
            &[source, &weight, &bias],
            attributes,
        ))
    }

    fn names_of(&self, layer: usize, part: Part) -> (String, String) {
        let names = &self.spec.names;
        (
            names.layer(layer, part, Kind::Weight),
            names.layer(layer, part, Kind::Bias),
        )
    }
}
