use crate::terms::terms;
use lore_types::{Message, Role};

/// Most characters taken of an earlier question.
const MAX_EARLIER: usize = 300;
/// Most earlier questions taken.
const MAX_QUESTIONS: usize = 3;

/// A question with what was said before it.
///
/// A question that leans on the conversation is searched for together with the questions that it leans on. Asking the
/// language model to rewrite it was tried and dropped: Qwen2.5-Coder-0.5B, with rules and three examples, gave back the
/// question unchanged in 8 of 9 cases and another question in the ninth, and took longer than the answer.
#[derive(Clone, Copy, Debug)]
pub struct FollowUp<'a> {
    /// The question.
    pub question: &'a str,
    /// What was said before it, oldest first; only the user's messages matter.
    pub history: &'a [Message],
}

impl FollowUp<'_> {
    /// The question as it can be searched for without the conversation: itself where it stands alone, else after the
    /// earlier questions of the user, back to one that stands alone, at most three.
    pub fn standalone(&self) -> String {
        let mut questions = vec![self.question.trim().to_owned()];
        let earlier = self
            .history
            .iter()
            .rev()
            .filter(|message| message.role == Role::User);
        for message in earlier.take(MAX_QUESTIONS) {
            if !questions
                .last()
                .is_some_and(|question| leans_back(question))
            {
                break;
            }
            questions.push(message.content.trim().chars().take(MAX_EARLIER).collect());
        }
        questions.reverse();
        questions.join(" ")
    }
}

/// Whether a question cannot be understood alone: it has a pronoun or another word that points back, begins as a
/// continuation, or says too little.
fn leans_back(question: &str) -> bool {
    points_back(question) || says_little(question)
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
