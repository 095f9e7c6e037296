use crate::error::{ModelError, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The bytes that each token stands for.
pub(super) struct Pieces {
    bytes: Vec<Box<[u8]>>,
    special: HashSet<u32>,
    /// Whether a text's first space was put there by the tokenizer.
    strip_first_space: bool,
}

/// How a vocabulary writes bytes.
#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    /// GPT-2: each byte is a printable character.
    ByteLevel,
    /// `SentencePiece`: `▁` is a space, `<0xNN>` a byte.
    SentencePiece,
}

impl Pieces {
    /// Reads vocabulary, added tokens and decoder of a `tokenizer.json`.
    pub(super) fn read(json: &Value) -> Result<Self> {
        let kind = json["model"]["type"].as_str().unwrap_or("of no type");
        let vocab = match (kind, json["model"]["vocab"].as_object()) {
            ("BPE", Some(vocab)) => vocab,
            _ => {
                return Err(ModelError::Tokenizer(format!(
                    "its model is {kind}, but only BPE is supported"
                )));
            }
        };
        let (spelling, strip_first_space) = spelling(&json["decoder"])?;
        let letters = byte_letters();
        let mut bytes = Vec::new();
        for (text, id) in vocab {
            set(&mut bytes, token_id(id)?, spell(text, spelling, &letters));
        }
        let mut special = HashSet::new();
        for token in json["added_tokens"].as_array().into_iter().flatten() {
            let id = token_id(&token["id"])?;
            set(
                &mut bytes,
                id,
                token["content"]
                    .as_str()
                    .unwrap_or_default()
                    .as_bytes()
                    .into(),
            );
            if token["special"] == true {
                special.insert(u32::try_from(id).unwrap_or(u32::MAX));
            }
        }
        Ok(Self {
            bytes,
            special,
            strip_first_space,
        })
    }

    fn get(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], |bytes| bytes)
    }

    /// The token's text, special or not.
    pub(super) fn name(&self, token: u32) -> String {
        String::from_utf8_lossy(self.get(token)).into_owned()
    }
}

/// No vocabulary is larger: a damaged id must not make a table of gigabytes.
const LARGEST_ID: u64 = 4_000_000;

fn token_id(value: &Value) -> Result<usize> {
    let id = value.as_u64().filter(|id| *id < LARGEST_ID);
    id.and_then(|id| usize::try_from(id).ok())
        .ok_or_else(|| ModelError::Tokenizer(format!("{value} is not a token id")))
}

fn set(bytes: &mut Vec<Box<[u8]>>, id: usize, piece: Box<[u8]>) {
    if bytes.len() <= id {
        bytes.resize(id + 1, Box::default());
    }
    bytes[id] = piece;
}

fn spelling(decoder: &Value) -> Result<(Spelling, bool)> {
    let single = std::slice::from_ref(decoder);
    let steps = decoder["decoders"].as_array().map_or(single, Vec::as_slice);
    let has = |kind: &str| steps.iter().any(|step| step["type"] == kind);
    if has("ByteLevel") {
        return Ok((Spelling::ByteLevel, false));
    }
    if has("ByteFallback") || has("Metaspace") {
        let prepends = steps
            .iter()
            .any(|step| step["type"] == "Metaspace" && step["prepend_scheme"] != "never");
        return Ok((Spelling::SentencePiece, has("Strip") || prepends));
    }
    Err(ModelError::Tokenizer(format!(
        "its decoder is {}, but only ByteLevel and ByteFallback are supported",
        decoder["type"]
    )))
}

fn spell(text: &str, spelling: Spelling, letters: &HashMap<char, u8>) -> Box<[u8]> {
    match spelling {
        Spelling::ByteLevel => match text
            .chars()
            .map(|letter| letters.get(&letter).copied())
            .collect::<Option<Vec<u8>>>()
        {
            Some(bytes) => bytes.into(),
            None => text.as_bytes().into(),
        },
        Spelling::SentencePiece => match byte_token(text) {
            Some(byte) => Box::new([byte]),
            None => text.replace('▁', " ").into_bytes().into(),
        },
    }
}

/// The byte of `<0xNN>`.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// GPT-2's alphabet: printable Latin-1 bytes are themselves, the others follow from U+0100 on.
pub(super) fn byte_letters() -> HashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte));
    let own = (0..=u8::MAX)
        .filter(printable)
        .map(|byte| (char::from(byte), byte));
    ('\u{100}'..).zip(others).chain(own).collect()
}

/// Text from tokens, one by one: bytes of a character that is not whole yet wait for the next token.
pub(crate) struct Utf8Stream {
    waiting: Vec<u8>,
    strip_space: bool,
}

impl Utf8Stream {
    pub(super) fn new(pieces: &Pieces) -> Self {
        Self {
            waiting: Vec::new(),
            strip_space: pieces.strip_first_space,
        }
    }

    /// The text that is certain with this token; special tokens give none.
    pub(super) fn push(&mut self, pieces: &Pieces, token: u32) -> String {
        if pieces.special.contains(&token) {
            return String::new();
        }
        let mut bytes = pieces.get(token);
        if std::mem::take(&mut self.strip_space) {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.waiting.extend_from_slice(bytes);
        self.take_whole()
    }

    fn take_whole(&mut self) -> String {
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.waiting) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.waiting.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.waiting.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(broken) = error.error_len() else {
                        self.waiting = rest.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.waiting = rest.get(broken..).unwrap_or_default().to_vec();
                }
            }
        }
    }

    /// What waits when no token follows: a replacement character for a broken one.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.waiting)).into_owned()
    }
}
