use crate::citations::resolve_with;
use crate::markers::{CLOSING, MARKER_CHARS, OPENING, Unmarked, unmark};
use crate::sentences::{code_spans, opening_is_certain};
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
        if self.withheld {
            return String::new();
        }
        let certain = certain(&self.raw, self.evidence.passages().len());
        if certain.text.len() <= self.settled {
            return String::new();
        }
        self.settled = certain.text.len();
        let resolved = resolve_with(&self.evidence, &certain, &self.question, &self.settings);
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

/// The sentences at the beginning of `raw` that nothing that may follow changes, without their markers.
fn certain(raw: &str, passages: usize) -> Unmarked {
    let raw = raw.trim_start();
    let mut unmarked = unmark(raw.get(..decided(raw)).unwrap_or_default(), passages);
    let end = certain_end(&unmarked.text);
    unmarked.text.truncate(end);
    unmarked.marks.retain(|(at, _)| *at <= end);
    unmarked
}

/// Bytes of what was written of which it is decided what is code and what is a marker.
fn decided(raw: &str) -> usize {
    let mut end = raw.len();
    loop {
        let before = raw.get(..end).unwrap_or_default();
        // A cut before a bracket may leave code open in which the bracket stood.
        match undecided_code(before).or_else(|| undecided_marker(before)) {
            Some(at) => end = at,
            None => return end,
        }
    }
}

/// Where code begins that is not closed, or a line that may become a fence.
fn undecided_code(raw: &str) -> Option<usize> {
    let (mut fence, mut start) = (None, 0);
    for line in raw.split_inclusive('\n') {
        let opens = line.trim_start();
        if !line.ends_with('\n') {
            let unclosed = line.matches('`').count() % 2 == 1;
            let at = if opens.starts_with('`') {
                Some(0)
            } else {
                line.rfind('`').filter(|_| unclosed)
            };
            return fence.or(at.map(|at| start + at));
        }
        if opens.starts_with("```") {
            fence = if fence.is_some() { None } else { Some(start) };
        }
        start += line.len();
    }
    fence
}

/// Where a bracket opens that may become a marker.
fn undecided_marker(raw: &str) -> Option<usize> {
    let tail = raw.char_indices().rev().take(MARKER_CHARS + 1);
    let open = tail.filter(|(at, c)| {
        let inside = raw.get(at + c.len_utf8()..).unwrap_or_default();
        OPENING.contains(c) && !inside.contains(CLOSING)
    });
    open.map(|(at, _)| at).min()
}

/// The end of the last sentence of a text that stays as it is whatever follows. The last one may go on; a line of which it
/// is open whether it is an item of a list may go on with the sentence before it, and a bracket may become its reference.
fn certain_end(text: &str) -> usize {
    let line = text.rfind('\n').map_or(0, |at| at + 1);
    let (lines, last) = text.split_at(line);
    let text = if opening_is_certain(last) {
        text
    } else {
        lines
    };
    let code = code_spans(text);
    let in_code = |end: usize| code.iter().any(|span| span.start < end && end < span.end);
    let mut spans = sentences(text);
    while let Some(last) = spans.pop() {
        if !last.of(text).is_some_and(|last| last.starts_with('[')) {
            break;
        }
    }
    let ends = spans.into_iter().rev().map(|span| span.end);
    ends.into_iter().find(|end| !in_code(*end)).unwrap_or(0)
}
