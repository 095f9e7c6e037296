//! The part below the first layer: tables of words, positions and token types.

use super::{
    Kind, Table, Weights,
    e5s1::BLOCK,
    encoder::EncoderGraph,
    fill::Fill,
    graph::Value,
    proto::{Attribute, DataType},
    spec::Head,
};
use crate::{EmbedError, Precision};

impl EncoderGraph<'_> {
    /// Sum of the tables, normalised: (batch, sequence, hidden).
    pub(super) fn embeddings(&mut self) -> Result<Value, EmbedError> {
        let words = self.words()?;
        let positions = self.positions()?;
        let mut sum = self
            .graph
            .node("Add", "words_and_positions", &[&words, &positions], vec![]);
        if self.spec.token_types > 0 {
            let types = self.token_types()?;
            sum = self
                .graph
                .node("Add", "words_positions_and_types", &[&sum, &types], vec![]);
        }
        let (weight, bias) = (
            self.spec.names.embedding_norm(Kind::Weight),
            self.spec.names.embedding_norm(Kind::Bias),
        );
        self.layer_norm("embeddings", &sum, &weight, &bias)
    }

    /// Rows of the word table, which may be stored in 8 bits: in `E5S1`'s own blocks (exact), or by row.
    fn words(&mut self) -> Result<Value, EmbedError> {
        let (rows, columns) = (self.spec.vocabulary, self.spec.hidden);
        let tensor = self.spec.names.table(Table::Word);
        self.weights.expect(&tensor, rows * columns)?;
        let len = rows * columns;
        match (self.weights, self.precision) {
            (Weights::E5s1(file), _)
                if file.is_quantised(&tensor) && columns.is_multiple_of(BLOCK) =>
            {
                let values = Fill::BlockValues {
                    tensor: tensor.clone(),
                    len,
                };
                Ok(self.scaled_words(values, Fill::BlockScales { tensor, len }, columns / BLOCK))
            }
            (_, Precision::Int8) => {
                let values = Fill::RowsInt8 {
                    tensor: tensor.clone(),
                    rows,
                    columns,
                };
                Ok(self.scaled_words(
                    values,
                    Fill::RowScales {
                        tensor,
                        rows,
                        columns,
                    },
                    1,
                ))
            }
            (_, Precision::Float32) => {
                self.graph.constant(
                    "word_table",
                    DataType::Float,
                    &[rows, columns],
                    Fill::Copy { tensor, len },
                );
                Ok(self
                    .graph
                    .node("Gather", "words", &["word_table", "input_ids"], vec![]))
            }
        }
    }

    /// Rows of 8-bit values, each of `blocks` equal pieces multiplied by its scale.
    fn scaled_words(&mut self, values: Fill, scales: Fill, blocks: usize) -> Value {
        let (rows, columns) = (self.spec.vocabulary, self.spec.hidden);
        let graph = &mut self.graph;
        graph.constant("word_values", DataType::Int8, &[rows, columns], values);
        graph.constant("word_scales", DataType::Float, &[rows, blocks, 1], scales);
        let block = (columns / blocks) as i64;
        let split = graph.integers("word_blocks", &[0, 0, blocks as i64, block]);
        let whole = graph.integers("hidden_shape", &[0, 0, columns as i64]);
        graph.node("Gather", "word_row", &["word_values", "input_ids"], vec![]);
        let cast = vec![Attribute::int("to", DataType::Float as i64)];
        graph.node("Cast", "word_floats", &["word_row"], cast);
        graph.node("Reshape", "word_pieces", &["word_floats", &split], vec![]);
        graph.node(
            "Gather",
            "word_scale",
            &["word_scales", "input_ids"],
            vec![],
        ); // (batch, sequence, blocks, 1)
        graph.node("Mul", "word_scaled", &["word_pieces", "word_scale"], vec![]);
        graph.node("Reshape", "words", &["word_scaled", &whole], vec![])
    }

    /// Rows of the position table: (1 or batch, sequence, hidden).
    fn positions(&mut self) -> Result<Value, EmbedError> {
        let (rows, columns) = (self.spec.positions, self.spec.hidden);
        let tensor = self.spec.names.table(Table::Position);
        self.weights.expect(&tensor, rows * columns)?;
        let fill = Fill::Copy {
            tensor,
            len: rows * columns,
        };
        self.graph
            .constant("position_table", DataType::Float, &[rows, columns], fill);
        if self.spec.first_position == 0 {
            Ok(self.first_rows())
        } else {
            Ok(self.rows_after_padding())
        }
    }

    /// BERT: the n-th token has position n.
    fn first_rows(&mut self) -> Value {
        let zero = self.graph.integers("zero", &[0]);
        let length = self.length();
        let rows = self.graph.node(
            "Slice",
            "position_rows",
            &["position_table", &zero, &length, &zero],
            vec![],
        );
        self.graph
            .node("Unsqueeze", "positions", &[&rows, &zero], vec![])
    }

    /// RoBERTa and MPNet: the n-th token that is not padding has position n + offset.
    fn rows_after_padding(&mut self) -> Value {
        let axis = self.graph.index("sequence_axis", 1);
        let padding = self
            .graph
            .integers("padding_position", &[self.spec.first_position as i64 - 1]);
        let graph = &mut self.graph;
        graph.node("CumSum", "count", &["attention_mask", &axis], vec![]);
        graph.node(
            "Mul",
            "count_unpadded",
            &["count", "attention_mask"],
            vec![],
        );
        graph.node("Add", "position_ids", &["count_unpadded", &padding], vec![]);
        graph.node(
            "Gather",
            "positions",
            &["position_table", "position_ids"],
            vec![],
        )
    }

    /// An embedder's tokens are all of type 0; a cross-encoder tells its two texts apart.
    fn token_types(&mut self) -> Result<Value, EmbedError> {
        let (rows, columns) = (self.spec.token_types, self.spec.hidden);
        let tensor = self.spec.names.table(Table::TokenType);
        self.weights.expect(&tensor, rows * columns)?;
        if self.takes_token_types() {
            let fill = Fill::Copy {
                tensor,
                len: rows * columns,
            };
            self.graph
                .constant("type_table", DataType::Float, &[rows, columns], fill);
            return Ok(self.graph.node(
                "Gather",
                "types",
                &["type_table", "token_type_ids"],
                vec![],
            ));
        }
        let fill = Fill::Copy {
            tensor,
            len: columns,
        };
        Ok(self
            .graph
            .constant("type_0", DataType::Float, &[columns], fill))
    }

    /// Whether the graph has the input `token_type_ids`.
    pub(super) fn takes_token_types(&self) -> bool {
        self.spec.token_types > 1 && self.spec.head != Head::Hidden
    }
}
