use lore_types::{Message, Role};
use sha2::{Digest, Sha256};

/// One example of a data set, not yet in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The line that it stands on, or begins on, from 1.
    pub line: usize,
    /// What is said.
    pub body: Body,
}

/// What an example holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Turns that the model's chat template puts together.
    Turns(Vec<Turn>),
    /// A text as it is; all of it is learned.
    Text(String),
}

/// A message and whether the model learns to say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who says what.
    pub message: Message,
    /// True for the assistant's turns, unless the line gives one the weight 0.
    pub learn: bool,
}

impl Turn {
    /// A turn that is learned where the assistant speaks.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            message: Message::new(role, content),
            learn: role == Role::Assistant,
        }
    }
}

impl Conversation {
    /// SHA-256 of what is said and what of it is learned, wherever it stands.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut part = |kind: u8, text: &str| {
            hasher.update([kind]);
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        match &self.body {
            Body::Text(text) => part(0, text),
            Body::Turns(turns) => {
                for turn in turns {
                    part(kind(turn), &turn.message.content);
                }
            }
        }
        hasher.finalize().into()
    }
}

fn kind(turn: &Turn) -> u8 {
    match (turn.message.role, turn.learn) {
        (Role::System, _) => 1,
        (Role::User, _) => 2,
        (Role::Tool, _) => 3,
        (Role::Assistant, true) => 4,
        (Role::Assistant, false) => 5,
    }
}
