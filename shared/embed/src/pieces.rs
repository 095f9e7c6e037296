//! Unigram tokenizers (SentencePiece) in little memory: the `model` part of a `tokenizer.json`, read without building a map of
//! every text. The other parts stay those of the `tokenizers` crate.
//!
//! For multilingual-e5-small (250,002 pieces) the crate's own model took 1.5 s to load and held 250 MB, most of it in a hash map
//! for each node of its trie.

use crate::trie::Trie;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use std::{
    borrow::Cow,
    collections::HashMap,
    path::{Path, PathBuf},
};
use tokenizers::{Model, Token, models::unigram::UnigramTrainer};

/// What the `tokenizers` crate gives.
type Cut<T> = tokenizers::Result<T>;

/// What a character that no piece covers costs beyond the least likely piece; SentencePiece's constant.
const UNKNOWN_PENALTY: f64 = 10.0;

/// The pieces of a Unigram model with their log probabilities.
///
/// # Guarantees
/// Cuts every text as `tokenizers::models::unigram::Unigram` does: the likeliest row of pieces, the first found where two are as
/// likely, neighbouring unknown characters joined.
pub(crate) struct Pieces {
    texts: Texts,
    scores: Vec<f64>,
    trie: Trie,
    least: f64,
    unknown: Option<u32>,
    byte_fallback: bool,
}

/// Texts by id, in one string.
#[derive(Default)]
struct Texts {
    joined: String,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.joined.push_str(text);
        self.ends.push(self.joined.len());
    }

    fn get(&self, id: usize) -> Option<&str> {
        let start = match id {
            0 => 0,
            id => *self.ends.get(id - 1)?,
        };
        self.joined.get(start..*self.ends.get(id)?)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|id| self.get(id))
    }
}

/// The likeliest way to a place in the text.
#[derive(Clone, Copy)]
struct Step {
    id: u32,
    score: f64,
    from: usize,
}

/// A part of the text and its piece; `None` where it is not known.
type Part = (usize, usize, Option<u32>);

impl Pieces {
    /// The number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    /// The likeliest row of pieces, last first.
    ///
    /// # Source
    /// Kudo and Richardson, "SentencePiece" (2018): Viterbi, as the `tokenizers` crate runs it.
    fn best(&self, text: &str) -> Cut<Vec<Part>> {
        let mut ways: Vec<Option<Step>> = vec![None; text.len() + 1];
        for (at, character) in text.char_indices() {
            let so_far = ways[at].map_or(0.0, |way| way.score);
            let (rest, width) = (&text.as_bytes()[at..], character.len_utf8());
            let mut covered = false;
            for (length, id) in self.trie.prefixes(rest) {
                let score = self.scores[id as usize] + so_far;
                improve(&mut ways[at + length], id, score, at);
                covered |= length == width;
            }
            if !covered {
                let unknown = self
                    .unknown
                    .ok_or("a character is in no piece, and there is no piece for unknown ones")?;
                let score = self.least - UNKNOWN_PENALTY + so_far;
                improve(&mut ways[at + width], unknown, score, at);
            }
        }
        let mut parts = Vec::new();
        let mut end = text.len();
        while let Some(way) = ways[end].filter(|_| end > 0) {
            parts.push((
                way.from,
                end,
                Some(way.id).filter(|id| Some(*id) != self.unknown),
            ));
            end = way.from;
        }
        Ok(parts)
    }

    /// The row of pieces, neighbouring unknown ones joined.
    fn parts(&self, text: &str) -> Cut<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        for part in self.best(text)?.into_iter().rev() {
            match parts.last_mut() {
                Some((_, end, None)) if part.2.is_none() => *end = part.1,
                _ => parts.push(part),
            }
        }
        Ok(parts)
    }

    /// The tokens of an unknown part: a piece's after all, those of its bytes, or the unknown one.
    fn unknown(&self, text: &str, offsets: (usize, usize)) -> Cut<Vec<Token>> {
        if let Some(id) = self.trie.get(text.as_bytes()) {
            return Ok(vec![Token::new(id, text.to_owned(), offsets)]);
        }
        if self.byte_fallback {
            let byte = |byte| {
                let name = format!("<0x{byte:02X}>");
                Some(Token::new(self.trie.get(name.as_bytes())?, name, offsets))
            };
            if let Some(bytes) = text.bytes().map(byte).collect() {
                return Ok(bytes);
            }
        }
        let unknown = self
            .unknown
            .ok_or("there is no piece for unknown characters")?;
        Ok(vec![Token::new(unknown, text.to_owned(), offsets)])
    }
}

fn improve(way: &mut Option<Step>, id: u32, score: f64, from: usize) {
    if way.is_none_or(|way| score > way.score) {
        *way = Some(Step { id, score, from });
    }
}

impl Model for Pieces {
    type Trainer = UnigramTrainer;

    fn tokenize(&self, text: &str) -> Cut<Vec<Token>> {
        let mut tokens = Vec::new();
        for (start, end, id) in self.parts(text)? {
            let part = text.get(start..end).unwrap_or_default();
            match id {
                Some(id) => tokens.push(Token::new(id, part.to_owned(), (start, end))),
                None => tokens.extend(self.unknown(part, (start, end))?),
            }
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.trie.get(token.as_bytes())
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.texts.get(id as usize).map(str::to_owned)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.texts.iter().map(str::to_owned).zip(0..).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> Cut<Vec<PathBuf>> {
        Err("an embedder's tokenizer is only read".into())
    }

    fn get_trainer(&self) -> UnigramTrainer {
        UnigramTrainer::default()
    }
}

/// The model as `tokenizer.json` holds it.
#[derive(Deserialize)]
struct Written {
    vocab: Vocabulary,
    unk_id: Option<u32>,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Default)]
struct Vocabulary {
    texts: Texts,
    scores: Vec<f64>,
}

/// A text, borrowed where it holds no escape, and its log probability.
#[derive(Deserialize)]
struct Piece<'a>(#[serde(borrow)] Cow<'a, str>, f64);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vocabulary;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("pairs of a piece and its score")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Vocabulary, A::Error> {
                let mut read = Vocabulary::default();
                while let Some(Piece(text, score)) = pairs.next_element()? {
                    read.texts.push(&text);
                    read.scores.push(score);
                }
                Ok(read)
            }
        }
        source.deserialize_seq(Pairs)
    }
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let Written {
            vocab: Vocabulary { texts, scores },
            unk_id: unknown,
            byte_fallback,
        } = Written::deserialize(source)?;
        if unknown.is_some_and(|id| id as usize >= scores.len()) {
            return Err(de::Error::custom("`unk_id` is not in the vocabulary"));
        }
        let trie = Trie::new(texts.iter().map(str::as_bytes).zip(0..).collect());
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Self {
            texts,
            scores,
            trie,
            least,
            unknown,
            byte_fallback,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use tokenizers::models::unigram::Unigram;

    /// A vocabulary in which pieces overlap, are as likely as others, and leave characters uncovered.
    fn both(byte_fallback: bool) -> (Pieces, Unigram) {
        let mut vocab = vec![("<unk>".to_owned(), 0.0)];
        let texts = [
            "a", "b", "c", "ab", "bc", "abc", "ca", "▁", "▁a", "é", "没", "没有", "有", "<unk",
            "bcab",
        ];
        let scores = [-1.0, -2.0, -3.5, -3.0, -2.5, -4.0];
        for (text, score) in texts.iter().zip(scores.iter().cycle()) {
            vocab.push(((*text).to_owned(), *score));
        }
        if byte_fallback {
            vocab.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), -9.0)));
        }
        let written =
            json!({"type": "Unigram", "vocab": vocab, "unk_id": 0, "byte_fallback": byte_fallback});
        let ours = serde_json::from_value(written).expect("the vocabulary is read");
        let theirs = Unigram::from(vocab, Some(0), byte_fallback).expect("the vocabulary is taken");
        (ours, theirs)
    }

    fn assert_same(text: &str, byte_fallback: bool) {
        let (ours, theirs) = both(byte_fallback);
        let (one, other) = (ours.tokenize(text), theirs.tokenize(text));
        let (one, other) = (one.expect("ours"), other.expect("theirs"));
        let plain = |tokens: Vec<Token>| -> Vec<_> {
            tokens
                .into_iter()
                .map(|token| (token.id, token.value, token.offsets))
                .collect()
        };
        assert_eq!(plain(one), plain(other), "{text:?}");
    }

    #[test]
    fn texts_are_cut_as_the_crate_cuts_them() {
        for text in [
            "",
            "abcabc",
            "▁abca",
            "xyz",
            "axxb",
            "没有没",
            "é<unk>a",
            "🙂a🙂",
            "<unk><unk>",
        ] {
            assert_same(text, false);
            assert_same(text, true);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cut_as_the_crate_cuts_it(text in "[abcx▁é没有🙂<unk>]{0,24}", byte_fallback: bool) {
            assert_same(&text, byte_fallback);
        }
    }
}
