use crate::citations::resolve_with;
use crate::markers::leading_markers;
use crate::support::Evidence;
use crate::{CitationSettings, declines, sentences};
use lore_types::Passage;

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
    pub fn new(question: &str, passages: &[Passage], settings: CitationSettings, abstain_sentence: &str, withheld: bool) -> Self {
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
        let settled = settled(&self.raw);
        if self.withheld || settled <= self.settled {
            return String::new();
        }
        self.settled = settled;
        let resolved = resolve_with(&self.evidence, self.raw.get(..settled).unwrap_or_default(), &self.question, &self.settings);
        if self.may_decline(&resolved.text) {
            return String::new();
        }
        let new = resolved.text.get(self.sent..).unwrap_or_default().to_owned();
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
        self.sent == 0 && (declines(text, &self.abstain_sentence) || self.abstain_sentence.to_lowercase().starts_with(&text.to_lowercase()))
    }
}

/// Bytes of `raw` whose sentences cannot change by what follows: all but the last sentence, to which markers before it do not
/// belong; nothing inside open code.
fn settled(raw: &str) -> usize {
    let starts = sentences(raw).into_iter().rev().filter_map(|span| {
        let text = span.of(raw)?;
        let markers = leading_markers(text);
        let next = text.get(markers..)?.chars().next();
        // What begins with a bracket may still become a marker of the sentence before.
        next.is_some_and(|c| !"[【［〔".contains(c)).then_some(span.start + markers)
    });
    let last = starts.into_iter().next().unwrap_or(0);
    let code = raw.get(..last).unwrap_or_default().matches('`').count();
    if code % 2 == 0 { last } else { 0 }
}
