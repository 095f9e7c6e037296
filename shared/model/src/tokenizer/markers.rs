use crate::error::{ModelError, Result};
use lore_types::Message;
use serde_json::Value;
use std::collections::HashMap;

/// Special tokens that only a template may write, by their text.
pub(super) struct Markers {
    /// By first character; longer texts first.
    by_first: HashMap<char, Vec<Marker>>,
}

struct Marker {
    text: String,
    id: u32,
    /// Whether it is special for Hugging Face too (else it only looks like control, such as `<tool_call>`).
    special: bool,
    /// White space before and after it belongs to it.
    strips: [bool; 2],
}

/// A piece of a rendered prompt.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'a> {
    Marker(u32),
    Text(&'a str),
}

impl Markers {
    /// Takes the special tokens out of a `tokenizer.json`, so that its tokenizer cannot read them from text any more.
    pub(super) fn take(json: &mut Value, template: Option<&str>) -> Result<Self> {
        let Value::Array(added) = std::mem::take(&mut json["added_tokens"]) else {
            json["added_tokens"] = Value::Array(Vec::new());
            return Ok(Self {
                by_first: HashMap::new(),
            });
        };
        let mut by_first: HashMap<char, Vec<Marker>> = HashMap::new();
        let mut kept = Vec::new();
        for token in added {
            let (Some(text), Some(id)) = (
                token["content"].as_str(),
                token["id"].as_u64().and_then(|id| u32::try_from(id).ok()),
            ) else {
                return Err(ModelError::Tokenizer(
                    "an added token has no content or no id".to_owned(),
                ));
            };
            json["model"]["vocab"][text] = id.into();
            let special = token["special"] == true;
            let Some(first) = text
                .chars()
                .next()
                .filter(|_| special || is_control(text, template))
            else {
                kept.push(token);
                continue;
            };
            let strips = [token["lstrip"] == true, token["rstrip"] == true];
            by_first.entry(first).or_default().push(Marker {
                text: text.to_owned(),
                id,
                special,
                strips,
            });
        }
        by_first
            .values_mut()
            .for_each(|markers| markers.sort_by_key(|marker| std::cmp::Reverse(marker.text.len())));
        json["added_tokens"] = Value::Array(kept);
        Ok(Self { by_first })
    }

    /// The id of a marker by its whole text.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let markers = self.by_first.get(&text.chars().next()?)?;
        markers
            .iter()
            .find(|marker| marker.text == text)
            .map(|marker| marker.id)
    }

    fn at<'a>(&self, rest: &'a str) -> Option<(&Marker, &'a str)> {
        let markers = self.by_first.get(&rest.chars().next()?)?;
        markers
            .iter()
            .find_map(|marker| rest.strip_prefix(&marker.text).map(|after| (marker, after)))
    }

    /// Cuts a rendered prompt at its markers, the leftmost and longest first.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut plain = 0; // bytes of `rest` that are no marker
        while let Some(here) = rest.get(plain..).filter(|here| !here.is_empty()) {
            let Some((marker, after)) = self.at(here) else {
                plain += here.chars().next().map_or(1, char::len_utf8);
                continue;
            };
            push_text(
                &mut parts,
                rest.get(..plain).unwrap_or_default(),
                marker.strips[0],
            );
            parts.push(Part::Marker(marker.id));
            rest = if marker.strips[1] {
                after.trim_start()
            } else {
                after
            };
            plain = 0;
        }
        push_text(&mut parts, rest, false);
        parts
    }

    /// A cover for the markers that stand in these messages.
    pub(super) fn shield<'a>(&'a self, messages: &[Message]) -> Shield<'a> {
        let used = |candidate: &char| {
            messages
                .iter()
                .any(|message| message.content.contains(*candidate))
        };
        let mut free = ('\u{E000}'..='\u{F8FF}')
            .chain('\u{F0000}'..='\u{FFFFD}')
            .filter(|candidate| !used(candidate));
        let covers = self
            .by_first
            .keys()
            .filter_map(|first| Some((*first, free.next()?)))
            .collect();
        Shield {
            markers: self,
            covers,
        }
    }
}

fn push_text<'a>(parts: &mut Vec<Part<'a>>, text: &'a str, strip: bool) {
    let text = if strip { text.trim_end() } else { text };
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

/// An added token that is not special by name, but steers the model: it has a marker's shape, or the template writes it.
fn is_control(text: &str, template: Option<&str>) -> bool {
    let bracketed = text.starts_with('<') && text.ends_with('>') && text.len() > 2;
    bracketed
        && (text.starts_with("<|") || template.is_some_and(|template| template.contains(text)))
}

/// Replaces the first character of every marker inside messages by a private one, so that templates see all the rest
/// unchanged and the prompt is not cut there; [`Shield::uncover`] puts it back before the text is cut into tokens.
pub(super) struct Shield<'a> {
    markers: &'a Markers,
    covers: HashMap<char, char>,
}

impl Shield<'_> {
    /// In an assistant's own words (`own`) markers that are not special stay: the model wrote them, and templates look for them.
    pub(super) fn cover(&self, content: &str, own: bool) -> String {
        let mut out = String::with_capacity(content.len());
        let mut rest = content;
        while let Some(character) = rest.chars().next() {
            let covered = self
                .covers
                .get(&character)
                .filter(|_| self.begins_marker(rest, own));
            out.push(*covered.unwrap_or(&character));
            rest = rest.get(character.len_utf8()..).unwrap_or_default();
        }
        out
    }

    /// A marker stands here, or a beginning of one that the template's next words could complete.
    fn begins_marker(&self, rest: &str, own: bool) -> bool {
        let Some(markers) = rest
            .chars()
            .next()
            .and_then(|first| self.markers.by_first.get(&first))
        else {
            return false;
        };
        markers
            .iter()
            .filter(|marker| marker.special || !own)
            .any(|marker| rest.starts_with(&marker.text) || marker.text.starts_with(rest))
    }

    pub(super) fn uncover(&self, text: &str) -> String {
        let back: HashMap<char, char> = self
            .covers
            .iter()
            .map(|(first, cover)| (*cover, *first))
            .collect();
        text.chars()
            .map(|character| *back.get(&character).unwrap_or(&character))
            .collect()
    }
}
