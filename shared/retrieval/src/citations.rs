use crate::markers::{Unmarked, unmark};
use crate::sentences::{code_spans, sentences};
use crate::support::{Alignment, ClaimTerms, Evidence};
use lore_types::{Citation, Claim, Passage, Span};

/// How citations are resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CitationSettings {
    /// The support from which a claim counts as supported, 0..=1.
    pub support_threshold: f32,
    /// By how much another passage has to back a claim better than the one the model named to take its place, 0..=1.
    pub replace_margin: f32,
}

impl Default for CitationSettings {
    /// The values that `examples/alignment_quality.rs` measured as best.
    fn default() -> Self {
        Self {
            support_threshold: 0.5,
            replace_margin: 0.15,
        }
    }
}

/// An answer whose markers are true.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// The text, each supported sentence ending in its markers.
    pub text: String,
    /// One for each marker in `text`, ordered by `answer_span`.
    pub citations: Vec<Citation>,
    /// Each sentence that says something, in order.
    pub claims: Vec<Claim>,
    /// Numbers that the model wrote for passages that do not exist.
    pub invalid_markers: usize,
    /// Markers of the model whose passage does not back the sentence.
    pub replaced_markers: usize,
}

/// Gives each sentence of an answer the passage that backs it.
///
/// `passages` are those of the prompt, in the order of their numbers. The model's own marker stays where its passage backs
/// the sentence and no other one does clearly better; else the passage takes its place that backs the sentence best; where
/// none reaches the threshold, the sentence is a claim without support and has no marker. `question` helps to choose
/// between two places in a passage.
///
/// # Guarantees
/// `[n]` stands for `passages[n - 1]`. Markers stand before the full stop of their sentence. Each citation's `quote` is
/// the passage's text at `document_span`, to the byte, and its `answer_span` is its sentence, markers included. Code keeps
/// its brackets. The result depends on nothing but the arguments.
pub fn resolve(
    answer: &str,
    question: &str,
    passages: &[Passage],
    settings: &CitationSettings,
) -> Resolved {
    resolve_with(
        &Evidence::new(passages.to_vec()),
        &unmark(answer.trim(), passages.len()),
        question,
        settings,
    )
}

/// As [`resolve`], with evidence and an answer that were prepared before.
pub(crate) fn resolve_with(
    evidence: &Evidence,
    unmarked: &Unmarked,
    question: &str,
    settings: &CitationSettings,
) -> Resolved {
    let passages = evidence.passages();
    let mut out = Resolved {
        invalid_markers: unmarked.invalid,
        ..Resolved::default()
    };
    let spans = claim_spans(&unmarked.text);
    let mut marks = assign(&unmarked.text, &spans, &unmarked.marks);
    let mut copied = 0;
    for (span, named) in spans.into_iter().zip(marks.drain(..)) {
        let sentence = span.of(&unmarked.text).unwrap_or_default();
        let claim = ClaimTerms::new(sentence, question);
        if !claim.says_something() {
            continue;
        }
        let chosen = choose(&evidence.align(&claim), &named, settings, &mut out);
        out.text.push_str(
            Span::new(copied, span.start)
                .of(&unmarked.text)
                .unwrap_or_default(),
        );
        copied = span.end;
        write_claim(&mut out, sentence, &chosen, passages);
    }
    out.text
        .push_str(unmarked.text.get(copied..).unwrap_or_default());
    out
}

/// The sentences that may be claims: all but code.
fn claim_spans(text: &str) -> Vec<Span> {
    let code = code_spans(text);
    let in_code = |span: &Span| {
        code.iter()
            .any(|code| code.start <= span.start && span.end <= code.end)
    };
    sentences(text)
        .into_iter()
        .filter(|span| !in_code(span))
        .collect()
}

/// The numbers that the model gave to each sentence. A marker belongs to the sentence it stands in or after; at the start
/// of a line, to the one it opens.
fn assign(text: &str, spans: &[Span], marks: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new(); spans.len()];
    for (at, number) in marks {
        let opens = text.get(..*at).is_none_or(|before| {
            before.trim_end_matches(' ').is_empty() || before.trim_end_matches(' ').ends_with('\n')
        });
        let owner = if opens {
            spans.iter().position(|span| span.end > *at)
        } else {
            spans.iter().rposition(|span| span.start < *at)
        };
        if let Some(numbers) = owner.and_then(|owner| out.get_mut(owner))
            && !numbers.contains(number)
        {
            numbers.push(*number);
        }
    }
    out
}

/// What one sentence is backed by.
struct Chosen {
    backing: Vec<Alignment>,
    support: f32,
}

fn choose(
    alignments: &[Option<Alignment>],
    named: &[usize],
    settings: &CitationSettings,
    out: &mut Resolved,
) -> Chosen {
    let best = alignments.iter().flatten().copied().max_by(|a, b| {
        a.support
            .total_cmp(&b.support)
            .then(b.passage.cmp(&a.passage))
    });
    let Some(best) = best else {
        return Chosen {
            backing: Vec::new(),
            support: 0.0,
        };
    };
    let enough = settings
        .support_threshold
        .max(best.support - settings.replace_margin);
    let named_ones = named
        .iter()
        .filter_map(|number| alignments.get(number.checked_sub(1)?).copied().flatten());
    let mut backing: Vec<Alignment> = named_ones
        .filter(|alignment| alignment.support >= enough)
        .collect();
    out.replaced_markers += named.len() - backing.len();
    if backing.is_empty() && best.support >= settings.support_threshold {
        backing.push(best);
    }
    let support = backing
        .iter()
        .map(|alignment| alignment.support)
        .fold(best.support, f32::max);
    Chosen { backing, support }
}

/// Appends the sentence with its markers, the claim and its citations.
fn write_claim(out: &mut Resolved, sentence: &str, chosen: &Chosen, passages: &[Passage]) {
    let start = out.text.len();
    let markers: Vec<String> = chosen
        .backing
        .iter()
        .map(|alignment| format!("[{}]", alignment.passage + 1))
        .collect();
    let body = sentence.trim_end_matches(is_closing);
    let body = if body.is_empty() { sentence } else { body };
    out.text.push_str(body);
    if !markers.is_empty() {
        out.text
            .push_str(if body.ends_with(|c: char| c.is_ascii()) {
                " "
            } else {
                ""
            });
        out.text.push_str(&markers.concat());
    }
    out.text
        .push_str(sentence.get(body.len()..).unwrap_or_default());
    let answer_span = Span::new(start, out.text.len());
    let cited = chosen.backing.iter().zip(&markers);
    out.citations.extend(
        cited.filter_map(|(alignment, marker)| citation(*alignment, marker, answer_span, passages)),
    );
    out.claims.push(Claim {
        answer_span,
        supported: !markers.is_empty(),
        support: chosen.support,
        markers,
    });
}

fn is_closing(c: char) -> bool {
    ".!?。！？…:：;；".contains(c)
}

fn citation(
    alignment: Alignment,
    marker: &str,
    answer_span: Span,
    passages: &[Passage],
) -> Option<Citation> {
    let passage = passages.get(alignment.passage)?;
    let quote = alignment.quote.of(&passage.text)?.to_owned();
    let start = passage.span.start + alignment.quote.start;
    Some(Citation {
        marker: marker.to_owned(),
        document_id: passage.document_id,
        document_name: passage.document_name.clone(),
        version: passage.version,
        chunk_id: passage.chunk_id,
        page: passage.page,
        heading: (!passage.heading.is_empty()).then(|| passage.heading.join(" > ")),
        document_span: Span::new(start, start + quote.len()),
        quote,
        answer_span,
        support: alignment.support,
    })
}
