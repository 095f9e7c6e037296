use crate::{EmbedError, model_tokenizer::ModelTokenizer};
use std::{path::Path, sync::Arc};
use tokenizers::{Encoding, TruncationDirection};

/// Bytes that are tokenized at a time: a tokenizer's normaliser takes time and memory out of proportion on megabytes.
const PIECE: usize = 16 << 10;

/// Counts and places the tokens of a text, for those who cut texts to a model's length.
///
/// Tokens are those of the text as it is given: a piece cut out of a longer text can have one token more than it had there,
/// where the cut goes through a word. Count the piece itself before trusting it to fit.
pub trait TokenCounter: Send + Sync {
    /// The bytes of `text` that each token covers, in order: at character borders, not cut to the model's length, without
    /// special tokens. Bytes that no token covers (spaces) lie between them; tokens can share a character.
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)>;

    /// Number of tokens of `text` alone.
    fn count_tokens(&self, text: &str) -> usize {
        self.token_offsets(text).len()
    }

    /// What the model adds to each passage: its special tokens and its passage prefix.
    fn special_tokens(&self) -> usize;

    /// The most tokens that the model reads: `count_tokens(text) + special_tokens()` must not be above it.
    fn max_tokens(&self) -> usize;
}

/// An embedder's tokenizer. Cloning is cheap.
#[derive(Clone)]
pub struct EmbedTokenizer {
    tokenizer: Arc<ModelTokenizer>,
    /// Tokens around each text.
    frame: usize,
    /// The same, and the passage prefix.
    special_tokens: usize,
    max_tokens: usize,
}

/// A text as the model reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenIds {
    pub ids: Vec<u32>,
    /// Whether the text's end was cut off.
    pub truncated: bool,
}

impl EmbedTokenizer {
    /// Reads `tokenizer.json`; what it says of truncation and padding is ignored.
    pub(crate) fn read(
        path: &Path,
        passage_prefix: &str,
        max_tokens: usize,
    ) -> Result<Self, EmbedError> {
        let invalid = |e: tokenizers::Error| EmbedError::invalid(path, e);
        let bytes = std::fs::read(path).map_err(EmbedError::read(path))?;
        let tokenizer = ModelTokenizer::from_bytes(&bytes).map_err(invalid)?;
        let count = |text: &str, special| {
            tokenizer
                .encode_fast(text, special)
                .map(|tokens| tokens.len())
        };
        let frame = count("", true).map_err(invalid)?;
        let prefixed = count(&format!("{passage_prefix}a"), true).map_err(invalid)?;
        let bare = count("a", false).map_err(invalid)?;
        if max_tokens <= prefixed {
            let reason = format!(
                "max_tokens = {max_tokens} leaves no room: prefix and special tokens take {prefixed}"
            );
            return Err(EmbedError::invalid(path, reason));
        }
        let special_tokens = prefixed.saturating_sub(bare);
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            frame,
            special_tokens,
            max_tokens,
        })
    }

    /// The tokens of `text` with special tokens, cut to the model's length.
    ///
    /// No more of the text is tokenized than the model can read, so that a huge text costs little.
    pub(crate) fn ids(&self, text: &str) -> tokenizers::Result<TokenIds> {
        let room = self.max_tokens.saturating_sub(self.frame);
        let mut tokens = Encoding::default();
        for piece in pieces(text) {
            tokens.merge_with(self.tokenizer.encode_fast(piece, false)?, true);
            if tokens.len() > room {
                break;
            }
        }
        let truncated = tokens.len() > room;
        tokens.truncate(room, 0, TruncationDirection::Right);
        let framed = self.tokenizer.post_process(tokens)?;
        Ok(TokenIds {
            ids: framed.get_ids().to_vec(),
            truncated,
        })
    }

    /// One more than the highest id.
    pub(crate) fn vocabulary(&self) -> u32 {
        self.tokenizer.vocabulary()
    }

    /// The id of a token that was added to the model's own pieces.
    pub(crate) fn added_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.added_id(token)
    }
}

impl std::fmt::Debug for EmbedTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbedTokenizer")
            .field("max_tokens", &self.max_tokens)
            .finish_non_exhaustive()
    }
}

impl TokenCounter for EmbedTokenizer {
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
        let mut offsets = Vec::new();
        let mut start = 0;
        for piece in pieces(text) {
            match self.tokenizer.encode(piece) {
                Ok(encoding) => offsets.extend(
                    encoding
                        .get_offsets()
                        .iter()
                        .map(|(a, b)| (start + a, start + b)),
                ),
                Err(error) => {
                    tracing::warn!(%error, bytes = piece.len(), "the tokenizer refused a text; counting its characters");
                    offsets.extend(
                        piece
                            .char_indices()
                            .map(|(at, c)| (start + at, start + at + c.len_utf8())),
                    );
                }
            }
            start += piece.len();
        }
        offsets
    }

    fn special_tokens(&self) -> usize {
        self.special_tokens
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }
}

/// Cuts `text` into pieces of about [`PIECE`] bytes, before spaces where there are any, so that words stay whole.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, tail) = rest.split_at_checked(cut(rest))?;
        rest = tail;
        Some(piece)
    })
}

/// Where to cut `text`: before the last word that begins in the second half of its first [`PIECE`] bytes.
fn cut(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let limit = text.floor_char_boundary(PIECE);
    let head = text.get(..limit).unwrap_or(text);
    let trimmed = head.trim_end().len();
    let word = head
        .get(..trimmed)
        .unwrap_or(head)
        .rfind(char::is_whitespace);
    let before = word
        .filter(|at| *at >= PIECE / 2)
        .and_then(|at| head.get(..at));
    before
        .map(|before| before.trim_end().len())
        .filter(|at| *at > 0)
        .unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_text_and_break_before_spaces() {
        let words = "ein Satz mit  Wörtern\n".repeat(3000);
        let chinese = "没有空格的文本".repeat(3000);
        for text in [
            words.as_str(),
            &chinese,
            "",
            "short",
            &" ".repeat(40_000),
            &format!("{} x", "\u{3000}".repeat(20_000)),
        ] {
            assert_eq!(pieces(text).collect::<String>(), text);
            assert!(pieces(text).all(|piece| piece.len() <= PIECE));
        }
        assert!(
            pieces(&words)
                .skip(1)
                .all(|piece| piece.starts_with(char::is_whitespace))
        );
    }
}
