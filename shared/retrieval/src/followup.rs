use crate::terms::{Kind, Term, terms};
use crate::{Language, phrases};
use lore_types::{Message, Role};
use std::collections::HashSet;

/// Longest rewritten question in characters.
const MAX_QUESTION: usize = 300;
/// Messages of the conversation that the rewriter sees.
const SEEN_MESSAGES: usize = 4;
/// Characters that it sees of each.
const SEEN_CHARS: usize = 300;

/// A question with what was said before it.
#[derive(Clone, Copy, Debug)]
pub struct FollowUp<'a> {
    /// The question.
    pub question: &'a str,
    /// What was said before it, oldest first; system messages do not matter.
    pub history: &'a [Message],
}

impl FollowUp<'_> {
    /// Whether the question cannot be understood alone: there is a conversation, and it has a pronoun or another word that
    /// points back, begins as a continuation, or says too little (under two names, numbers or content words).
    pub fn needs_rewrite(&self) -> bool {
        self.history
            .iter()
            .any(|message| message.role == Role::User)
            && (points_back(self.question) || says_little(self.question))
    }

    /// The prompt that asks a generator for the question as it would stand alone: rules, three examples, this conversation.
    pub fn messages(&self) -> Vec<Message> {
        let language = Language::of(self.question);
        let mut messages = vec![Message::new(Role::System, phrases::rewrite_rules(language))];
        for (conversation, question) in phrases::rewrite_examples(language) {
            messages.push(Message::new(Role::User, conversation));
            messages.push(Message::new(Role::Assistant, question));
        }
        messages.push(Message::new(Role::User, self.conversation(language)));
        messages
    }

    fn conversation(&self, language: Language) -> String {
        let (user, assistant, last) = match language {
            Language::English => ("User: ", "Assistant: ", "Last question: "),
            Language::Chinese => ("用户：", "助手：", "最后的问题："),
        };
        let turns: Vec<&Message> = self
            .history
            .iter()
            .filter(|message| matches!(message.role, Role::User | Role::Assistant))
            .collect();
        let mut text = String::new();
        for message in turns.iter().skip(turns.len().saturating_sub(SEEN_MESSAGES)) {
            let plain = crate::markers::unmark(&message.content, 0).text;
            let seen: String = plain
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .take(SEEN_CHARS)
                .collect();
            text.push_str(if message.role == Role::User {
                user
            } else {
                assistant
            });
            text.push_str(&seen);
            text.push('\n');
        }
        format!("{text}{last}{}", self.question.trim())
    }

    /// The rewritten question, where a model's rewrite can be trusted: one line, not long, with every name and number of
    /// the question, with nothing that neither the question nor the conversation has, and not just the question again.
    pub fn accept(&self, rewritten: &str) -> Option<String> {
        let line = cleaned(rewritten)?;
        let said: HashSet<String> = self
            .history
            .iter()
            .flat_map(|message| content(&message.content))
            .chain(content(self.question))
            .collect();
        let asked = terms(self.question);
        let rewrite = terms(&line);
        let has = |term: &Term| rewrite.iter().any(|other| other.text == term.text);
        let keeps = asked
            .iter()
            .filter(|term| matches!(term.kind, Kind::Name | Kind::Number))
            .all(has);
        let invented = rewrite
            .iter()
            .filter(|term| term.is_content() && !said.contains(&term.text))
            .count();
        let adds = rewrite
            .iter()
            .any(|term| term.is_content() && !asked.iter().any(|other| other.text == term.text));
        let sober = invented * 4 <= rewrite.iter().filter(|term| term.is_content()).count();
        (keeps && sober && adds && line.chars().count() <= MAX_QUESTION).then_some(line)
    }

    /// The questions of the conversation's last turn and this one in a row: what to search for where no rewrite can be had.
    pub fn joined(&self) -> String {
        let last = self
            .history
            .iter()
            .rev()
            .find(|message| message.role == Role::User);
        let before = last.map_or("", |message| message.content.trim());
        let before: String = before.chars().take(MAX_QUESTION).collect();
        format!("{before} {}", self.question.trim())
            .trim()
            .to_owned()
    }
}

fn cleaned(rewritten: &str) -> Option<String> {
    let line = rewritten
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())?;
    let labels = [
        "Question:",
        "Last question:",
        "Rewritten question:",
        "Standalone question:",
        "问题：",
        "最后的问题：",
        "改写：",
        "改写后的问题：",
    ];
    let line = labels
        .iter()
        .find_map(|label| line.strip_prefix(label))
        .unwrap_or(line);
    let line = line
        .trim()
        .trim_matches(['"', '“', '”', '「', '」', '`', '*'])
        .trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn content(text: &str) -> Vec<String> {
    terms(text)
        .into_iter()
        .filter(Term::is_content)
        .map(|term| term.text)
        .collect()
}

fn points_back(question: &str) -> bool {
    const WORDS: &str = "it its it's they them their theirs he him his she her hers this that these those there then one ones former \
        latter same such both either neither else instead too also";
    const OPENINGS: [&str; 14] = [
        "and ",
        "but ",
        "or ",
        "what about",
        "how about",
        "what if",
        "why?",
        "how?",
        "when?",
        "where?",
        "who?",
        "why not",
        "so ",
        "then ",
    ];
    const CHINESE: [&str; 24] = [
        "它",
        "他",
        "她",
        "这",
        "那",
        "其",
        "此",
        "该",
        "前者",
        "后者",
        "上述",
        "同样",
        "还有呢",
        "呢？",
        "呢?",
        "为什么？",
        "怎么办",
        "另外",
        "除此",
        "此外",
        "刚才",
        "上面",
        "以上",
        "两者",
    ];
    let lower = question.trim().to_lowercase();
    let mut words = lower
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty());
    OPENINGS.iter().any(|opening| lower.starts_with(opening))
        || words.any(|word| WORDS.split_whitespace().any(|known| known == word))
        || CHINESE.iter().any(|word| lower.contains(word))
        || lower.ends_with('呢')
}

fn says_little(question: &str) -> bool {
    let weight: f32 = terms(question)
        .iter()
        .filter(|term| term.is_content())
        .map(|term| term.weight)
        .sum();
    weight < 2.0
}
