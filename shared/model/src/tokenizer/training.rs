use super::markers::{Part, Shield};
use super::{Tokenizer, cover};
use crate::error::{ModelError, Result};
use crate::train::{Example, IGNORED};
use lore_types::{Message, Role};

/// A token sequence to train on, and what of it is learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// As many marks: whether the token is a target of the loss.
    pub learned: Vec<bool>,
    /// Whether tokens that should be learned were cut off at the limit.
    pub truncated: bool,
}

impl Training {
    /// The same with labels, as the training path takes it.
    ///
    /// # Errors
    /// When there is no token.
    pub fn example(&self) -> Result<Example> {
        let label = |(token, learned): (&u32, &bool)| {
            if *learned { i64::from(*token) } else { IGNORED }
        };
        let labels = self.tokens.iter().zip(&self.learned).map(label).collect();
        Example::new(self.tokens.clone(), labels)
    }

    /// Tokens that the loss counts: the first one has nothing before it that could predict it.
    pub fn targets(&self) -> usize {
        self.learned
            .iter()
            .skip(1)
            .filter(|learned| **learned)
            .count()
    }

    fn push(&mut self, tokens: &[u32], learned: bool) {
        self.tokens.extend_from_slice(tokens);
        self.learned.resize(self.tokens.len(), learned);
    }

    fn cut_to(&mut self, max_tokens: usize) {
        let lost = self.learned.iter().skip(max_tokens);
        self.truncated |= lost.clone().any(|learned| *learned);
        self.tokens.truncate(max_tokens);
        self.learned.truncate(max_tokens);
    }
}

impl Tokenizer {
    /// A conversation as the model is trained on it: the loss counts on the assistant's turns that `learn` names (as many
    /// marks as messages), from the first token of the answer to the token that ends the turn.
    ///
    /// # Guarantees
    /// - What stands before a learned answer are exactly the tokens of [`Tokenizer::prompt`] with `answer`, so the model
    ///   is served what it was trained on.
    /// - Special tokens never enter through a message, as in [`Tokenizer::prompt`].
    /// - One sequence, wherever the prompt of each turn continues the sequence so far. Where the template writes earlier
    ///   turns in another way than it was answered (Qwen3 drops earlier thoughts), a turn gets a sequence of its own.
    /// - No sequence is longer than `max_tokens`; what was cut is marked. Turns that begin behind it are not there.
    ///
    /// # Errors
    /// [`ModelError::NoTemplate`], what the template refuses, and a template whose answers do not follow its own prompt.
    pub fn training(
        &self,
        messages: &[Message],
        learn: &[bool],
        max_tokens: usize,
    ) -> Result<Vec<Training>> {
        let mut done = Vec::new();
        let mut now = Training::default();
        let turns = messages.iter().zip(learn).enumerate();
        for (index, (message, learn)) in turns {
            if message.role != Role::Assistant || !learn {
                continue;
            }
            let (prompt, answer) = self.turn(messages.get(..=index).unwrap_or_default())?;
            if prompt.starts_with(&now.tokens) {
                let shared = now.tokens.len();
                now.push(prompt.get(shared..).unwrap_or_default(), false);
            } else {
                done.push(std::mem::take(&mut now));
                now.push(&prompt, false);
            }
            now.push(&answer, true);
            if now.tokens.len() > max_tokens {
                now.cut_to(max_tokens);
                break;
            }
        }
        done.push(now);
        Ok(done)
    }

    /// A plain text as the model is trained on it: all of it is learned, with the token that ends a text.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn training_text(&self, text: &str, max_tokens: usize) -> Result<Training> {
        let mut tokens = Vec::new();
        tokens.extend(self.bos().filter(|_| self.inner.starts_texts));
        self.encode_into(text, &mut tokens)?;
        tokens.extend(self.inner.eos.or_else(|| self.stops().first().copied()));
        let mut training = Training::default();
        training.push(&tokens, true);
        training.cut_to(max_tokens);
        Ok(training)
    }

    /// The prompt of the last message, and that message with the token that ends its turn.
    fn turn(&self, messages: &[Message]) -> Result<(Vec<u32>, Vec<u32>)> {
        let shield = self.inner.markers.shield(messages);
        let covered = cover(messages, &shield);
        let before = covered.len().saturating_sub(1);
        let asked = self.render_covered(covered.get(..before).unwrap_or_default(), true)?;
        let answered = self.render_covered(&covered, false)?;
        let answer = answered.strip_prefix(&asked).ok_or_else(|| {
            ModelError::Template(
                "it writes an answer otherwise than it asks for one, so no answer can be learned"
                    .to_owned(),
            )
        })?;
        let mut prompt = Vec::new();
        self.cut(&asked, &shield, &mut prompt)?;
        let answer = self.answer(answer, &shield, prompt.clone())?;
        Ok((prompt, answer))
    }

    /// Cuts an answer into tokens, as far as the token that ends it; where the template writes none, it is added.
    fn answer(&self, text: &str, shield: &Shield, mut tokens: Vec<u32>) -> Result<Vec<u32>> {
        let start = tokens.len();
        for part in self.inner.markers.split(text) {
            match part {
                Part::Text(text) => self.encode_into(&shield.uncover(text), &mut tokens)?,
                Part::Marker(id) => tokens.push(id),
            }
            if matches!(part, Part::Marker(id) if self.stops().contains(&id)) {
                return Ok(tokens.split_off(start));
            }
        }
        tokens.extend(self.inner.eos.or_else(|| self.stops().first().copied()));
        Ok(tokens.split_off(start))
    }
}
