//! Builds a graph node by node.

use super::{
    fill::Fill,
    proto::{Attribute, DataType, Graph, Node, ValueInfo},
    write::Initializer,
};

/// The name of a value in the graph.
pub(crate) type Value = String;

/// A graph under construction: nodes in order of computation, and constants.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    nodes: Vec<Node>,
    pub(crate) constants: Vec<Initializer>,
}

impl GraphBuilder {
    /// Adds a node with one output, which bears the node's name.
    pub(crate) fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Value {
        self.node_with_outputs(op, inputs, &[name], attributes);
        name.into()
    }

    /// Adds a node with several outputs.
    pub(crate) fn node_with_outputs(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<Attribute>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        let name = outputs
            .first()
            .map(|n| format!("{n}.{op}"))
            .unwrap_or_default();
        self.nodes.push(Node {
            inputs: owned(inputs),
            outputs: owned(outputs),
            name,
            op_type: op.into(),
            attributes,
        });
    }

    /// Adds a constant.
    pub(crate) fn constant(
        &mut self,
        name: &str,
        data_type: DataType,
        dims: &[usize],
        fill: Fill,
    ) -> Value {
        self.constants.push(Initializer {
            name: name.into(),
            dims: dims.to_vec(),
            data_type,
            fill,
        });
        name.into()
    }

    /// A list of integers, once per name.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        if self.constants.iter().any(|c| c.name == name) {
            return name.into();
        }
        self.constant(
            name,
            DataType::Int64,
            &[values.len()],
            Fill::integers(values),
        )
    }

    /// A single integer without axes.
    pub(crate) fn index(&mut self, name: &str, value: i64) -> Value {
        self.constant(name, DataType::Int64, &[], Fill::integers(&[value]))
    }

    /// A single float, once per name.
    pub(crate) fn float(&mut self, name: &str, value: f32) -> Value {
        if self.constants.iter().any(|c| c.name == name) {
            return name.into();
        }
        self.constant(
            name,
            DataType::Float,
            &[],
            Fill::floats([value].into_iter()),
        )
    }

    /// The graph with its inputs and outputs, and its constants.
    pub(crate) fn finish(
        self,
        inputs: Vec<ValueInfo>,
        outputs: Vec<ValueInfo>,
    ) -> (Graph, Vec<Initializer>) {
        (
            Graph {
                nodes: self.nodes,
                name: "encoder".into(),
                inputs,
                outputs,
            },
            self.constants,
        )
    }
}
