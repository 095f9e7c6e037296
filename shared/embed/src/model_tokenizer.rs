use crate::pieces::Pieces;
use serde::Deserialize;
use std::borrow::Cow;
use tokenizers::{
    DecoderWrapper, Encoding, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Result,
    Tokenizer, TokenizerImpl,
};

/// A tokenizer whose pieces lie in little memory.
type Unigram = TokenizerImpl<
    Pieces,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// The tokenizer of a `tokenizer.json`; what that says of truncation and padding is ignored.
pub(crate) enum ModelTokenizer {
    /// SentencePiece's Unigram.
    Unigram(Box<Unigram>),
    /// Any other.
    Other(Box<Tokenizer>),
}

/// What is read of a `tokenizer.json` to choose how to read the rest.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: Kind<'a>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

impl ModelTokenizer {
    /// Reads the bytes of a `tokenizer.json`.
    pub(crate) fn from_bytes(json: &[u8]) -> Result<Self> {
        let head: Head<'_> = serde_json::from_slice(json)?;
        if head.model.kind.as_deref() == Some("Unigram") {
            let mut tokenizer: Unigram = serde_json::from_slice(json)?;
            tokenizer.with_truncation(None)?;
            tokenizer.with_padding(None);
            return Ok(Self::Unigram(Box::new(tokenizer)));
        }
        let mut tokenizer = Tokenizer::from_bytes(json)?;
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        Ok(Self::Other(Box::new(tokenizer)))
    }

    /// The tokens of a text, without offsets.
    pub(crate) fn encode_fast(&self, text: &str, special: bool) -> Result<Encoding> {
        match self {
            Self::Unigram(tokenizer) => tokenizer.encode_fast(text, special),
            Self::Other(tokenizer) => tokenizer.encode_fast(text, special),
        }
    }

    /// The tokens of a text alone, with offsets in bytes.
    pub(crate) fn encode(&self, text: &str) -> Result<Encoding> {
        match self {
            Self::Unigram(tokenizer) => tokenizer.encode(text, false),
            Self::Other(tokenizer) => tokenizer.encode(text, false),
        }
    }

    /// Tokens with the special ones around them.
    pub(crate) fn post_process(&self, tokens: Encoding) -> Result<Encoding> {
        match self {
            Self::Unigram(tokenizer) => tokenizer.post_process(tokens, None, true),
            Self::Other(tokenizer) => tokenizer.post_process(tokens, None, true),
        }
    }

    /// One more than the highest id.
    pub(crate) fn vocabulary(&self) -> u32 {
        let (pieces, added) = match self {
            Self::Unigram(tokenizer) => {
                let pieces = u32::try_from(tokenizer.get_model().len()).unwrap_or(u32::MAX);
                (
                    pieces,
                    highest(tokenizer.get_added_tokens_decoder().into_keys()),
                )
            }
            Self::Other(tokenizer) => (0, highest(tokenizer.get_vocab(true).into_values())),
        };
        pieces.max(added)
    }

    /// The id of a token that was added to the model's own.
    pub(crate) fn added_id(&self, token: &str) -> Option<u32> {
        let added = match self {
            Self::Unigram(tokenizer) => tokenizer.get_added_vocabulary(),
            Self::Other(tokenizer) => tokenizer.get_added_vocabulary(),
        };
        added.get_vocab().get(token).copied()
    }
}

/// One more than the highest of these.
fn highest(ids: impl Iterator<Item = u32>) -> u32 {
    ids.max().map_or(0, |highest| highest + 1)
}
