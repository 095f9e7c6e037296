use crate::error::GatewayError;
use crate::state::GatewayState;
use axum::Json;
use axum::extract::State;
use lore_embed::{EmbedError, Embeddings};
use lore_http::{ApiFailure, JsonBody};
use lore_types::ErrorBody;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most texts of one request, as at OpenAI.
const MAX_TEXTS: usize = 2_048;

/// Texts to embed, in OpenAI's shape; fields that Lore does not know are ignored.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct EmbeddingsRequest {
    /// The embedder, as `GET /v1/models` names it.
    pub model: String,
    /// One text or several.
    pub input: Input,
    /// How vectors are written.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub encoding_format: Encoding,
    /// Length of the vectors; only the embedder's own can be had.
    #[serde(default)]
    pub dimensions: Option<usize>,
    /// What the texts are for, which decides the prefix of embedders that have two. Lore's own field.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub input_type: InputType,
}

/// One text or several; OpenAI's lists of token numbers are understood and refused.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Input {
    /// One text.
    One(String),
    /// Several.
    Many(Vec<String>),
    /// Token numbers of another tokenizer, which mean nothing here.
    Tokens(Vec<serde_json::Value>),
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As a list of numbers.
    #[default]
    Float,
    /// As the base64 of little-endian float32, which OpenAI's Python client asks for.
    Base64,
}

/// What texts are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// To be compared with each other or to look for passages.
    #[default]
    Query,
    /// To be found.
    Passage,
}

/// Vectors, in OpenAI's shape.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbeddingsResponse {
    /// Always `list`.
    pub object: &'static str,
    /// One for each text, in order.
    pub data: Vec<Embedding>,
    /// The embedder.
    pub model: String,
    /// Tokens that were read.
    pub usage: EmbeddingsUsage,
}

/// One vector.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Embedding {
    /// Always `embedding`.
    pub object: &'static str,
    /// Place of its text, from 0.
    pub index: usize,
    /// The unit vector.
    pub embedding: Vector,
}

/// A vector in the form asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64 of little-endian float32.
    Base64(String),
}

/// Tokens of one embeddings request.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct EmbeddingsUsage {
    /// Tokens of the texts.
    pub prompt_tokens: usize,
    /// The same.
    pub total_tokens: usize,
}

/// Turns texts into unit vectors.
#[utoipa::path(post, path = "/v1/embeddings", tag = "models", request_body = EmbeddingsRequest, responses(
    (status = 200, body = EmbeddingsResponse),
    (status = 400, description = "An empty or too long text, or a length that the embedder does not have", body = ErrorBody),
    (status = 404, description = "No such embedder", body = ErrorBody),
    (status = 429, description = "The embedder's queue is full", body = ErrorBody),
))]
pub(crate) async fn embeddings(
    State(state): State<GatewayState>,
    JsonBody(request): JsonBody<EmbeddingsRequest>,
) -> Result<Json<EmbeddingsResponse>, ApiFailure> {
    Ok(Json(state.embeddings(request).await?))
}

impl GatewayState {
    async fn embeddings(
        &self,
        request: EmbeddingsRequest,
    ) -> Result<EmbeddingsResponse, GatewayError> {
        let texts = texts(request.input)?;
        self.check_embedder(&request.model).await?;
        let embedder = self.parts().embedders.get(&request.model).await?;
        let (actual, limit) = (embedder.info().dimensions, embedder.info().max_tokens);
        if let Some(asked) = request.dimensions.filter(|asked| *asked != actual) {
            let problem = format!(
                "is {asked}, but `{}` gives vectors of {actual}",
                request.model
            );
            return Err(GatewayError::Invalid {
                field: "dimensions",
                problem,
            });
        }
        let made = match request.input_type {
            InputType::Query => embedder.embed_queries(texts).await?,
            InputType::Passage => embedder.embed_passages(texts).await?,
        };
        whole(&made, limit)?;
        Ok(response(request.model, made, request.encoding_format))
    }

    async fn check_embedder(&self, name: &str) -> Result<(), GatewayError> {
        let collections = self.parts().catalog.collections(None, 1_000).await?.items;
        let known = self.embedders(&collections);
        if known.iter().any(|embedder| embedder == name) {
            return Ok(());
        }
        let unknown = || GatewayError::NoModel {
            name: name.to_owned(),
            known: known.clone(),
        };
        if !self.parts().embedders.offers(name) {
            return Err(unknown());
        }
        // Another embedder of the catalogue may be installed; where it is not, the message says what can be asked.
        match self.parts().embedders.get(name).await {
            Ok(_) => Ok(()),
            Err(EmbedError::Unavailable { .. } | EmbedError::Missing { .. }) => Err(unknown()),
            Err(error) => Err(error.into()),
        }
    }
}

fn texts(input: Input) -> Result<Vec<String>, GatewayError> {
    let texts = match input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
        Input::Tokens(_) => {
            return Err(GatewayError::Unsupported {
                field: "input",
                instead: "send texts; token numbers belong to another model's tokenizer (LangChain: check_embedding_ctx_length=False)",
            });
        }
    };
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(GatewayError::Empty("input"));
    }
    if texts.len() > MAX_TEXTS {
        let problem = format!("has {} texts, but takes {MAX_TEXTS}", texts.len());
        return Err(GatewayError::Invalid {
            field: "input",
            problem,
        });
    }
    Ok(texts)
}

/// Refuses vectors that stand for a part of their text only.
fn whole(made: &Embeddings, limit: usize) -> Result<(), GatewayError> {
    let Some(first) = made.truncated.first() else {
        return Ok(());
    };
    let problem = format!(
        "has more than {limit} tokens in text {first}, which is the embedder's limit; split it"
    );
    Err(GatewayError::Invalid {
        field: "input",
        problem,
    })
}

fn response(model: String, made: Embeddings, encoding: Encoding) -> EmbeddingsResponse {
    let tokens = made.tokens.iter().sum();
    let vectors = made.vectors.into_iter().enumerate();
    let data = vectors.map(|(index, vector)| Embedding {
        object: "embedding",
        index,
        embedding: written(vector, encoding),
    });
    EmbeddingsResponse {
        object: "list",
        data: data.collect(),
        model,
        usage: EmbeddingsUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    }
}

fn written(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => Vector::Base64(base64(
            &vector
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect::<Vec<_>>(),
        )),
    }
}

/// Standard base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            out.push(if place > group.len() {
                '='
            } else {
                char::from(DIGITS[digit as usize])
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_gives_the_examples_of_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
