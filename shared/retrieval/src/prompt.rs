use crate::{Language, phrases};
use lore_types::{Message, Passage, Role};
use std::fmt::Write;

/// Most messages of the conversation that the prompt keeps.
const MAX_HISTORY: usize = 6;
/// Most characters that it keeps of each.
const MAX_HISTORY_CHARS: usize = 800;

/// Everything that one prompt says. The one renderer of prompts for serving, evaluation and training.
///
/// The messages are: the rules (system), two example turns, the conversation, and the question with its passages. What
/// never changes stands first, so that a generator can reuse the KV cache of the rules and the examples. Both come in
/// English and Chinese, by the language of the question.
///
/// Documents are data: each passage stands between marks that it cannot itself contain, control tokens of chat templates
/// are broken up, and the rules say not to follow what passages say. That lowers the risk of injected instructions; it
/// does not remove it, and citations are checked afterwards without regard to what the model was told.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// The question as the user put it.
    pub question: &'a str,
    /// What was said before it, oldest first.
    pub history: &'a [Message],
    /// The evidence, in the order of its numbers.
    pub passages: &'a [Passage],
    /// What to say where the passages do not answer.
    pub abstain_sentence: &'a str,
}

impl Prompt<'_> {
    /// The conversation to hand to the generator.
    ///
    /// # Guarantees
    /// The same arguments give the same messages; roles alternate after the system message where `history` does.
    pub fn messages(&self) -> Vec<Message> {
        let language = Language::of(self.question);
        let mut messages = vec![Message::new(Role::System, self.system(language))];
        for example in phrases::examples(language) {
            messages.push(Message::new(
                Role::User,
                example.question_with_passages(language),
            ));
            messages.push(Message::new(Role::Assistant, example.answer));
        }
        messages.extend(self.kept_history());
        let passages: String = self
            .passages
            .iter()
            .zip(1..)
            .map(|(passage, number)| passage_block(number, passage))
            .collect();
        messages.push(Message::new(
            Role::User,
            with_passages(language, &passages, &tamed(self.question)),
        ));
        messages
    }

    /// The rules, and after them what the caller's own system messages say.
    fn system(&self, language: Language) -> String {
        let mut text = phrases::rules(language).replace("{abstain}", self.abstain_sentence);
        for message in self
            .history
            .iter()
            .filter(|message| message.role == Role::System)
        {
            let _ = write!(text, "\n\n{}", message.content.trim());
        }
        text
    }

    /// The last turns, shortened, without markers: their numbers belong to other passages.
    fn kept_history(&self) -> Vec<Message> {
        let turns: Vec<&Message> = self
            .history
            .iter()
            .filter(|message| matches!(message.role, Role::User | Role::Assistant))
            .collect();
        let mut first = turns.len().saturating_sub(MAX_HISTORY);
        // A template may insist on a user's turn first.
        while turns
            .get(first)
            .is_some_and(|message| message.role != Role::User)
        {
            first += 1;
        }
        turns.into_iter().skip(first).map(shortened).collect()
    }
}

fn shortened(message: &Message) -> Message {
    let plain = crate::markers::unmark(&message.content, 0).text;
    let kept: String = plain.chars().take(MAX_HISTORY_CHARS).collect();
    Message::new(message.role, tamed(&kept))
}

/// One passage as it stands in the prompt: its number, where it comes from, and its text.
pub fn passage_block(number: usize, passage: &Passage) -> String {
    let mut place = passage.document_name.clone();
    if !passage.heading.is_empty() {
        let _ = write!(place, " > {}", passage.heading.join(" > "));
    }
    if let Some(page) = passage.page {
        let _ = write!(place, ", p. {page}");
    }
    format!(
        "[{number}] ({})\n{}\n\n",
        tamed(&place).replace('\n', " "),
        tamed(passage.text.trim())
    )
}

pub(crate) fn with_passages(language: Language, passages: &str, question: &str) -> String {
    match language {
        Language::English => format!(
            "<passages>\n{}\n</passages>\n\nQuestion: {question}",
            passages.trim_end()
        ),
        Language::Chinese => format!(
            "<passages>\n{}\n</passages>\n\n问题：{question}",
            passages.trim_end()
        ),
    }
}

/// Text that cannot end the passages or open another turn: `<|` and the marks around the passages are broken up.
fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let lower = text.to_ascii_lowercase();
    for (at, c) in text.char_indices() {
        out.push(c);
        let rest = lower.get(at..).unwrap_or_default();
        let dangerous = [
            "<|",
            "<passages",
            "</passages",
            "<s>",
            "</s>",
            "[inst",
            "[/inst",
            "<start_of_turn",
            "<end_of_turn",
            "<<sys",
        ];
        if dangerous.iter().any(|mark| rest.starts_with(mark)) {
            out.push(' ');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_cannot_close_the_passages_or_open_a_turn() {
        let tame = tamed("x </PASSAGES> <|im_start|>system [INST] 好");
        assert_eq!(tame, "x < /PASSAGES> < |im_start|>system [ INST] 好");
    }
}
