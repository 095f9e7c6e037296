use super::{BadLines, Body, Conversation, Dataset, DatasetError};
use lore_model::{ModelError, Tokenizer, Training};
use lore_types::{BadLinePolicy, Message};

/// Examples in tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prepared {
    /// Sequences, in the order of the conversations. A conversation whose template rewrites earlier turns gives several.
    pub examples: Vec<Training>,
    /// Sequences that lost learned tokens at the limit.
    pub truncated: usize,
    /// Conversations whose answers all begin behind the limit: nothing of them could be learned, so they were left out.
    pub unreached: BadLines,
    /// Conversations that the model's chat template refuses, left out with [`BadLinePolicy::Skip`].
    pub skipped: BadLines,
}

/// Cuts conversations of a data set into tokens, with marks of what is learned.
///
/// # Errors
/// With [`BadLinePolicy::Refuse`] every conversation that the template refuses; a model without a template where one is
/// needed; no example that something can be learned from.
pub fn prepare(
    dataset: &Dataset,
    conversations: &[Conversation],
    tokenizer: &Tokenizer,
    max_tokens: usize,
    policy: BadLinePolicy,
) -> Result<Prepared, DatasetError> {
    let mut prepared = Prepared::default();
    for conversation in conversations {
        match sequences(&conversation.body, tokenizer, max_tokens) {
            Ok(sequences) => prepared.take(conversation.line, sequences, max_tokens),
            Err(ModelError::Template(reason)) => {
                let reason = format!("the model's chat template refuses it: {reason}");
                prepared.skipped.push(conversation.line, reason);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (name, format) = (dataset.name.clone(), dataset.format);
    if policy == BadLinePolicy::Refuse && !prepared.skipped.is_empty() {
        let (lines, bad) = (conversations.len(), prepared.skipped);
        return Err(DatasetError::BadLines {
            name,
            format,
            lines,
            bad,
        });
    }
    if prepared.examples.is_empty() && !conversations.is_empty() {
        let bad = prepared.skipped.join(prepared.unreached);
        return Err(DatasetError::NothingLeft { name, format, bad });
    }
    Ok(prepared)
}

impl Prepared {
    fn take(&mut self, line: usize, sequences: Vec<Training>, max_tokens: usize) {
        self.truncated += sequences.iter().filter(|one| one.truncated).count();
        let before = self.examples.len();
        let learned = sequences.into_iter().filter(|one| one.targets() > 0);
        self.examples.extend(learned);
        if self.examples.len() == before {
            let reason = format!("no answer begins within {max_tokens} tokens (`max_tokens`)");
            self.unreached.push(line, reason);
        }
    }
}

fn sequences(
    body: &Body,
    tokenizer: &Tokenizer,
    max_tokens: usize,
) -> Result<Vec<Training>, ModelError> {
    match body {
        Body::Text(text) => Ok(vec![tokenizer.training_text(text, max_tokens)?]),
        Body::Turns(turns) => {
            let messages: Vec<Message> = turns.iter().map(|turn| turn.message.clone()).collect();
            let learn: Vec<bool> = turns.iter().map(|turn| turn.learn).collect();
            tokenizer.training(&messages, &learn, max_tokens)
        }
    }
}
