//! What the families of encoders call their tensors.

/// A family of encoders whose layers compute the same thing under other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// BERT, RoBERTa, XLM-RoBERTa, CamemBERT.
    Bert,
    /// MPNet: BERT with a relative attention bias.
    MpNet,
    /// DistilBERT: BERT without token types.
    DistilBert,
    /// The `E5S1` file.
    E5s1,
}

/// The two tensors of a linear layer or a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Weight,
    Bias,
}

/// The parts of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Query,
    Key,
    Value,
    AttentionOutput,
    AttentionNorm,
    Intermediate,
    Output,
    OutputNorm,
}

/// The embedding tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Word,
    Position,
    TokenType,
}

/// The names in one file: a family's, behind a prefix such as `bert.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub family: Family,
    pub prefix: String,
}

impl Names {
    pub(crate) fn table(&self, table: Table) -> String {
        let name = match (self.family, table) {
            (Family::E5s1, Table::Word) => "emb.word",
            (Family::E5s1, Table::Position) => "emb.pos",
            (Family::E5s1, Table::TokenType) => "emb.type",
            (_, Table::Word) => "embeddings.word_embeddings.weight",
            (_, Table::Position) => "embeddings.position_embeddings.weight",
            (_, Table::TokenType) => "embeddings.token_type_embeddings.weight",
        };
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn embedding_norm(&self, kind: Kind) -> String {
        let base = if self.family == Family::E5s1 {
            "emb.ln"
        } else {
            "embeddings.LayerNorm"
        };
        self.with_kind(base, kind)
    }

    pub(crate) fn layer(&self, layer: usize, part: Part, kind: Kind) -> String {
        let base = match self.family {
            Family::Bert => format!("encoder.layer.{layer}.{}", bert_part(part)),
            Family::MpNet => format!("encoder.layer.{layer}.{}", mpnet_part(part)),
            Family::DistilBert => format!("transformer.layer.{layer}.{}", distilbert_part(part)),
            Family::E5s1 => format!("l{layer}.{}", e5s1_part(part)),
        };
        self.with_kind(&base, kind)
    }

    /// MPNet's table of attention biases.
    pub(crate) fn relative_bias(&self) -> String {
        format!("{}encoder.relative_attention_bias.weight", self.prefix)
    }

    fn with_kind(&self, base: &str, kind: Kind) -> String {
        let suffix = match (self.family, kind) {
            (Family::E5s1, Kind::Weight) => "w",
            (Family::E5s1, Kind::Bias) => "b",
            (_, Kind::Weight) => "weight",
            (_, Kind::Bias) => "bias",
        };
        format!("{}{base}.{suffix}", self.prefix)
    }
}

fn bert_part(part: Part) -> &'static str {
    match part {
        Part::Query => "attention.self.query",
        Part::Key => "attention.self.key",
        Part::Value => "attention.self.value",
        Part::AttentionOutput => "attention.output.dense",
        Part::AttentionNorm => "attention.output.LayerNorm",
        Part::Intermediate => "intermediate.dense",
        Part::Output => "output.dense",
        Part::OutputNorm => "output.LayerNorm",
    }
}

fn mpnet_part(part: Part) -> &'static str {
    match part {
        Part::Query => "attention.attn.q",
        Part::Key => "attention.attn.k",
        Part::Value => "attention.attn.v",
        Part::AttentionOutput => "attention.attn.o",
        Part::AttentionNorm => "attention.LayerNorm",
        Part::Intermediate | Part::Output | Part::OutputNorm => bert_part(part),
    }
}

fn distilbert_part(part: Part) -> &'static str {
    match part {
        Part::Query => "attention.q_lin",
        Part::Key => "attention.k_lin",
        Part::Value => "attention.v_lin",
        Part::AttentionOutput => "attention.out_lin",
        Part::AttentionNorm => "sa_layer_norm",
        Part::Intermediate => "ffn.lin1",
        Part::Output => "ffn.lin2",
        Part::OutputNorm => "output_layer_norm",
    }
}

fn e5s1_part(part: Part) -> &'static str {
    match part {
        Part::Query => "q",
        Part::Key => "k",
        Part::Value => "v",
        Part::AttentionOutput => "ao",
        Part::AttentionNorm => "aln",
        Part::Intermediate => "fi",
        Part::Output => "fo",
        Part::OutputNorm => "oln",
    }
}
