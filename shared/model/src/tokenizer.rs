//! Here is text, give me token ids, and the reverse; special tokens come from templates alone, never from what people write.

mod files;
mod gguf;
mod markers;
mod pieces;
mod template;
mod training;

pub use template::ChatTemplate;
pub use training::Training;

pub(crate) use files::describe as describe_folder;
pub(crate) use gguf::{describe as describe_gguf, pre_tokenizer_name};
pub(crate) use pieces::Utf8Stream;

use crate::error::{ModelError, Result};
use crate::weights::Source;
use lore_types::{Message, Role};
use markers::{Markers, Part, Shield};
use pieces::Pieces;
use serde_json::{Value, json};
use std::sync::Arc;

/// A model's tokenizer and chat template. Cloning copies a handle.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Knows no markers, so that no text can be read as one.
    plain: tokenizers::Tokenizer,
    /// For text that follows a marker, where that is cut otherwise than the first text.
    following: Option<tokenizers::Tokenizer>,
    markers: Markers,
    pieces: Pieces,
    template: Option<ChatTemplate>,
    stops: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Whether the model's own tokenizer puts `bos` before a plain text.
    starts_texts: bool,
}

/// What a model's files say about its tokenizer, in the terms of `tokenizer.json`.
pub(crate) struct Description {
    /// As in `tokenizer.json`.
    pub(crate) tokenizer: Value,
    /// Jinja source.
    pub(crate) template: Option<String>,
    /// Ids that end an answer.
    pub(crate) stops: Vec<u32>,
    /// The text of the token that starts a text.
    pub(crate) bos: Option<String>,
    /// The text of the token that ends one.
    pub(crate) eos: Option<String>,
    /// Whether the model's own tokenizer puts `bos` before a plain text.
    pub(crate) starts_texts: bool,
}

/// A conversation as the model sees it, token by token.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// The rendered text, special tokens written out.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

/// Tokens that end an answer by their name, whatever the configuration says.
const END_TOKENS: [&str; 6] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
];

impl Tokenizer {
    /// The tokenizer of a base model.
    ///
    /// # Errors
    /// A missing or damaged file; a kind of tokenizer that Lore does not know, by name.
    pub fn load(source: &Source) -> Result<Self> {
        let description = match source {
            Source::Folder(folder) => files::describe(folder.path())?,
            Source::Gguf(file) => gguf::describe(file.content())?,
        };
        Self::build(description)
    }

    fn build(description: Description) -> Result<Self> {
        let mut json = description.tokenizer;
        let pieces = Pieces::read(&json)?;
        let markers = Markers::take(&mut json, description.template.as_deref())?;
        for step in ["post_processor", "truncation", "padding"] {
            json[step] = Value::Null;
        }
        let following = following(&json).map(build_plain).transpose()?;
        let plain = build_plain(json)?;
        let id = |text: &String| markers.id(text).or_else(|| plain.token_to_id(text));
        let mut stops = description.stops;
        stops.extend(END_TOKENS.iter().filter_map(|text| markers.id(text)));
        stops.extend(description.eos.as_ref().and_then(id));
        stops.sort_unstable();
        stops.dedup();
        let bos = description.bos.as_ref().and_then(id);
        let eos = description.eos.as_ref().and_then(id);
        let template = description
            .template
            .map(|template| {
                ChatTemplate::new(
                    template,
                    description.bos.unwrap_or_default(),
                    description.eos.unwrap_or_default(),
                )
            })
            .transpose()?;
        Ok(Self {
            inner: Arc::new(Inner {
                plain,
                following,
                markers,
                pieces,
                template,
                stops,
                bos,
                eos,
                starts_texts: description.starts_texts,
            }),
        })
    }

    /// Renders a conversation and cuts it into tokens. `answer` adds what makes the model answer.
    ///
    /// # Guarantees
    /// A special token's text inside a message is cut like any other text; for messages without such texts the tokens
    /// are those of Hugging Face's `apply_chat_template`.
    ///
    /// # Errors
    /// [`ModelError::NoTemplate`], and what the template itself refuses.
    pub fn prompt(&self, messages: &[Message], answer: bool) -> Result<Prompt> {
        let shield = self.inner.markers.shield(messages);
        let text = self.render_covered(&cover(messages, &shield), answer)?;
        let mut tokens = Vec::with_capacity(text.len() / 3);
        self.cut(&text, &shield, &mut tokens)?;
        Ok(Prompt {
            text: shield.uncover(&text),
            tokens,
        })
    }

    /// The template's text for messages whose markers are covered.
    fn render_covered(&self, messages: &[Message], answer: bool) -> Result<String> {
        let template = self.inner.template.as_ref().ok_or(ModelError::NoTemplate)?;
        template.render(messages, answer)
    }

    /// Cuts a rendered text whose messages are covered into tokens.
    fn cut(&self, text: &str, shield: &Shield, tokens: &mut Vec<u32>) -> Result<()> {
        for part in self.inner.markers.split(text) {
            match part {
                Part::Marker(id) => tokens.push(id),
                Part::Text(text) => self.encode_into(&shield.uncover(text), tokens)?,
            }
        }
        Ok(())
    }

    /// The tokens of plain text: no special token is added, none is read from it.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        self.encode_into(text, &mut tokens)?;
        Ok(tokens)
    }

    fn encode_into(&self, text: &str, tokens: &mut Vec<u32>) -> Result<()> {
        let tokenizer = match &self.inner.following {
            Some(following) if !tokens.is_empty() => following,
            _ => &self.inner.plain,
        };
        let encoding = tokenizer
            .encode_fast(text, false)
            .map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// The text of tokens, special tokens left out. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut stream = Utf8Stream::new(&self.inner.pieces);
        let mut text: String = tokens
            .iter()
            .map(|token| self.push(&mut stream, *token))
            .collect();
        text.push_str(&stream.finish());
        text
    }

    /// The text of one token as far as it is UTF-8, special tokens included.
    pub fn token_text(&self, token: u32) -> String {
        self.inner.pieces.name(token)
    }

    /// Decodes token by token, with [`Tokenizer::push`].
    pub(crate) fn stream(&self) -> Utf8Stream {
        Utf8Stream::new(&self.inner.pieces)
    }

    pub(crate) fn push(&self, stream: &mut Utf8Stream, token: u32) -> String {
        stream.push(&self.inner.pieces, token)
    }

    pub(crate) fn finish(&self, stream: &mut Utf8Stream) -> String {
        stream.finish()
    }

    /// Tokens that end an answer.
    pub fn stops(&self) -> &[u32] {
        &self.inner.stops
    }

    /// The token that starts a text, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.inner.bos
    }

    /// The id of a special token by its text.
    pub fn special(&self, text: &str) -> Option<u32> {
        self.inner.markers.id(text)
    }

    /// The chat template, where the model has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.inner.template.as_ref()
    }
}

fn cover(messages: &[Message], shield: &Shield) -> Vec<Message> {
    let cover = |message: &Message| {
        let own = message.role == Role::Assistant;
        Message::new(message.role, shield.cover(&message.content, own))
    };
    messages.iter().map(cover).collect()
}

fn build_plain(json: Value) -> Result<tokenizers::Tokenizer> {
    serde_json::from_value(json).map_err(|error| ModelError::Tokenizer(error.to_string()))
}

/// Llama 2's `Metaspace` puts a space before the first text alone; text behind a marker needs one that never does.
fn following(json: &Value) -> Option<Value> {
    let first = |step: &Value| step["type"] == "Metaspace" && step["prepend_scheme"] == "first";
    let step = &json["pre_tokenizer"];
    let mut changed = json.clone();
    if first(step) {
        changed["pre_tokenizer"]["prepend_scheme"] = json!("never");
        return Some(changed);
    }
    let index = step["pretokenizers"].as_array()?.iter().position(first)?;
    changed["pre_tokenizer"]["pretokenizers"][index]["prepend_scheme"] = json!("never");
    Some(changed)
}
