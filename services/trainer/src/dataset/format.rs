use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// How a data set writes its examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// `instruction`, `input`, `output`, and LLaMA-Factory's `system` and `history`.
    Alpaca,
    /// `conversations` of `from` and `value`.
    ShareGpt,
    /// `messages` of `role` and `content`.
    Messages,
    /// `prompt` and `completion`.
    PromptCompletion,
    /// `text`.
    Text,
}

impl Format {
    /// All, in the order in which they are looked for.
    pub const ALL: [Self; 5] = [
        Self::Messages,
        Self::ShareGpt,
        Self::Alpaca,
        Self::PromptCompletion,
        Self::Text,
    ];

    /// The name that settings and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::ShareGpt => "sharegpt",
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt-completion",
            Self::Text => "text",
        }
    }

    /// The keys that tell it.
    fn keys(self) -> &'static str {
        match self {
            Self::Alpaca => "`instruction` and `output`",
            Self::ShareGpt => "`conversations`",
            Self::Messages => "`messages`",
            Self::PromptCompletion => "`prompt` and `completion`",
            Self::Text => "`text`",
        }
    }

    pub(super) fn described() -> String {
        let each = |format: &Self| format!("{} ({})", format.name(), format.keys());
        Self::ALL.iter().map(each).collect::<Vec<_>>().join(", ")
    }

    /// The format whose keys a line has.
    pub(super) fn of(line: &Map<String, Value>) -> Option<Self> {
        let has = |keys: &[&str]| keys.iter().any(|key| line.contains_key(*key));
        Self::ALL.into_iter().find(|format| match format {
            Self::Messages => has(&["messages"]),
            Self::ShareGpt => has(&["conversations", "conversation"]),
            Self::Alpaca => has(&["instruction"]),
            Self::PromptCompletion => has(&["prompt"]) && has(&["completion", "response"]),
            Self::Text => has(&["text"]),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|format| format.name()).collect();
            format!("`{text}` is no format; known are {}", names.join(", "))
        })
    }
}
