//! Vectors that are known from an independent computation.

use crate::{EmbedError, Precision, embedder::Embedder};
use serde::Deserialize;

/// Known vectors of one embedder: `known/NAME.json`, made by `tests/reference/known_vectors.py`.
#[derive(Debug, Deserialize)]
pub(crate) struct KnownVectors {
    /// Catalogue name.
    name: String,
    /// Texts with their vectors.
    texts: Vec<KnownVector>,
}

#[derive(Debug, Deserialize)]
struct KnownVector {
    /// Embedded as a query or as a passage.
    query: bool,
    text: String,
    /// The first numbers of the unit vector; as many as are enough to tell vectors apart.
    vector: Vec<f32>,
}

/// The text whose vector is farthest from the known one.
pub(crate) struct Lowest {
    pub text: String,
    pub cosine: f32,
}

/// All known vectors.
const KNOWN: [&str; 2] = [
    include_str!("../known/all-minilm-l6-v2.json"),
    include_str!("../known/multilingual-e5-small.json"),
];

impl KnownVectors {
    /// Those of embedder `name`, if there are any.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let parsed = KNOWN
            .iter()
            .filter_map(|json| serde_json::from_str::<Self>(json).ok());
        parsed.into_iter().find(|known| known.name == name)
    }

    /// The lowest cosine that an export may have.
    pub(crate) fn minimum(&self, precision: Precision) -> f32 {
        match precision {
            Precision::Float32 => 0.9999,
            Precision::Int8 => 0.985,
        }
    }
}

/// Embeds the known texts and compares.
pub(crate) fn lowest_cosine(
    known: &KnownVectors,
    embedder: &mut Embedder,
) -> Result<Lowest, EmbedError> {
    let mut lowest = Lowest {
        text: String::new(),
        cosine: f32::INFINITY,
    };
    for KnownVector {
        query,
        text,
        vector,
    } in &known.texts
    {
        let computed = if *query {
            embedder.embed_query(text)?
        } else {
            embedder.embed_passages(&[text])?.vectors.swap_remove(0)
        };
        let cosine = cosine(vector, &computed);
        if cosine.is_nan() || cosine < lowest.cosine {
            lowest = Lowest {
                text: text.clone(),
                cosine: if cosine.is_nan() { -1.0 } else { cosine },
            };
        }
    }
    Ok(lowest)
}

/// The cosine of `known` and the start of `computed`.
fn cosine(known: &[f32], computed: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let start = computed.get(..known.len()).unwrap_or_default();
    dot(known, start) / (dot(known, known) * dot(start, start)).sqrt()
}
