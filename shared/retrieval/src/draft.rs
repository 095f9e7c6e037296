use crate::citations::resolve_with;
use crate::markers::unmark;
use crate::support::Evidence;
use crate::{CitationSettings, declines, sentences};
use lore_types::{Passage, Span};

/// An answer while it is written: text goes in as the model writes it, and comes out sentence by sentence with checked
/// markers, as [`crate::resolve`] gives it for the whole.
///
/// # Guarantees
/// What came out joined is the beginning of what `resolve` gives for all that went in. What may turn out to say only that
/// nothing was found stays in, and so does everything of an answer that is `withheld` until its end.
pub struct Draft {
    question: String,
    evidence: Evidence,
    settings: CitationSettings,
    abstain_sentence: String,
    withheld: bool,
    raw: String,
    settled: usize,
    sent: usize,
}

impl Draft {
    /// An empty answer to `question` from `passages`.
    pub fn new(
        question: &str,
        passages: &[Passage],
        settings: CitationSettings,
        abstain_sentence: &str,
        withheld: bool,
    ) -> Self {
        Self {
            question: question.to_owned(),
            evidence: Evidence::new(passages.to_vec()),
            settings,
            abstain_sentence: abstain_sentence.to_owned(),
            withheld,
            raw: String::new(),
            settled: 0,
            sent: 0,
        }
    }

    /// Adds what the model wrote; returns what has become certain by it.
    pub fn push(&mut self, text: &str) -> String {
        self.raw.push_str(text);
        let mut unmarked = unmark(self.raw.trim(), self.evidence.passages().len());
        let settled = settled(&unmarked.text);
        if self.withheld || settled <= self.settled {
            return String::new();
        }
        self.settled = settled;
        unmarked.text.truncate(settled);
        unmarked.text.truncate(unmarked.text.trim_end().len());
        unmarked.marks.retain(|(at, _)| *at <= settled);
        let resolved = resolve_with(&self.evidence, &unmarked, &self.question, &self.settings);
        if self.may_decline(&resolved.text) {
            return String::new();
        }
        let new = resolved
            .text
            .get(self.sent..)
            .unwrap_or_default()
            .to_owned();
        self.sent += new.len();
        new
    }

    /// Everything that went in.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Bytes that came out.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Whether what follows may make it an answer that only says that nothing was found.
    fn may_decline(&self, text: &str) -> bool {
        self.sent == 0
            && (declines(text, &self.abstain_sentence)
                || self
                    .abstain_sentence
                    .to_lowercase()
                    .starts_with(&text.to_lowercase()))
    }
}

/// Bytes of a text without markers whose sentences cannot change by what follows: all but the last sentence, and one more
/// where that begins with a bracket, which may still become a marker of the sentence before; nothing inside open code.
fn settled(text: &str) -> usize {
    let open = |span: &Span| {
        span.of(text)
            .is_some_and(|sentence| sentence.starts_with(['[', '【', '［', '〔']))
    };
    let last = sentences(text)
        .into_iter()
        .rev()
        .find(|span| !open(span))
        .map_or(0, |span| span.start);
    let code = text.get(..last).unwrap_or_default().matches('`').count();
    if code % 2 == 0 { last } else { 0 }
}
