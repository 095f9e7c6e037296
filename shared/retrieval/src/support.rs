//! How well a passage backs a claim, and which of its sentences does.
//!
//! Support is the share of what the claim says, weighted by rarity, that the quoted sentences say too; what only the rest
//! of the passage says counts half. It is then lowered where the claim has a number or a name that the quote has not, where
//! one of the two negates what the other affirms, and where they use words that exclude each other.

use crate::sentences::quotable;
use crate::terms::{Kind, Term, terms};
use crate::words;
use lore_types::{Passage, Span};
use std::collections::{HashMap, HashSet};

/// Most sentences in one quote.
const MAX_WINDOW: usize = 3;
/// What a claim's term counts that stands in the heading or in the document's name.
const IN_HEADING: f32 = 0.9;
/// What a claim's term counts that stands in the passage, but not in the quote.
const IN_PASSAGE: f32 = 0.45;
/// What a further sentence in the quote has to add to be worth its length.
const PER_SENTENCE: f32 = 0.06;
/// What each number of the claim leaves of the support that is not in the quote.
const NUMBER_MISSING: f32 = 0.35;
/// What each name leaves that is not in the passage.
const NAME_MISSING: f32 = 0.45;
/// What is left where one side negates what the other affirms.
const NEGATION_DIFFERS: f32 = 0.4;
/// The coverage from which a passage speaks of the very thing, so that contradicting it counts everywhere.
const SAME_SUBJECT: f32 = 0.75;
/// What is left where the claim has the opposite of a word of the quote.
const OPPOSITE: f32 = 0.6;

/// Passages cut into sentences and terms, ready to be compared with claims.
pub(crate) struct Evidence {
    passages: Vec<Passage>,
    indexed: Vec<Indexed>,
    /// In how many sentences each term stands.
    frequency: HashMap<String, usize>,
    sentences: usize,
}

struct Indexed {
    sentences: Vec<(Span, Vec<Term>)>,
    heading: HashSet<String>,
    all: HashSet<String>,
}

/// The place in a passage that backs a claim best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alignment {
    /// Place of the passage in the list, from 0.
    pub passage: usize,
    /// Bytes of the passage's text.
    pub quote: Span,
    /// 0..=1.
    pub support: f32,
}

/// Some sentences in a row, each with its place and its terms.
type Window<'a> = &'a [(Span, Vec<Term>)];

/// The best place in one passage.
struct Place {
    quote: Span,
    coverage: f32,
    /// Below 1 where the claim contradicts the place.
    agreement: f32,
}

/// What is compared with the evidence.
pub(crate) struct ClaimTerms {
    terms: Vec<Term>,
    context: HashSet<String>,
}

impl ClaimTerms {
    /// The terms of `claim`; those of `question` help to choose between places, and do not count as support.
    pub fn new(claim: &str, question: &str) -> Self {
        let context = terms(question)
            .into_iter()
            .filter(Term::is_content)
            .map(|term| term.text)
            .collect();
        Self {
            terms: terms(claim),
            context,
        }
    }

    /// Whether it says something that can be backed.
    pub fn says_something(&self) -> bool {
        self.terms.iter().any(Term::is_content)
    }
}

impl Evidence {
    /// Cuts the passages.
    pub fn new(passages: Vec<Passage>) -> Self {
        let indexed: Vec<Indexed> = passages.iter().map(Indexed::new).collect();
        let mut frequency = HashMap::new();
        for (_, terms) in indexed.iter().flat_map(|passage| &passage.sentences) {
            for term in terms.iter().map(|term| &term.text).collect::<HashSet<_>>() {
                *frequency.entry(term.clone()).or_insert(0) += 1;
            }
        }
        let sentences = indexed.iter().map(|passage| passage.sentences.len()).sum();
        Self {
            passages,
            indexed,
            frequency,
            sentences,
        }
    }

    /// The passages themselves.
    pub fn passages(&self) -> &[Passage] {
        &self.passages
    }

    /// The best place in each passage, in the passages' order; `None` for a passage without a sentence.
    pub fn align(&self, claim: &ClaimTerms) -> Vec<Option<Alignment>> {
        let places: Vec<Option<Place>> = self
            .indexed
            .iter()
            .map(|passage| self.place(claim, passage))
            .collect();
        // The passage that speaks most of what the claim speaks of decides whether it is contradicted: another one, which
        // merely shares some words, must not back it then.
        let best = places
            .iter()
            .flatten()
            .max_by(|a, b| a.coverage.total_cmp(&b.coverage));
        let agreement = best
            .filter(|best| best.coverage >= SAME_SUBJECT)
            .map_or(1.0, |best| best.agreement);
        let alignment = |(passage, place): (usize, Option<Place>)| {
            let place = place?;
            Some(Alignment {
                passage,
                quote: place.quote,
                support: place.coverage * place.agreement.min(agreement),
            })
        };
        places.into_iter().enumerate().map(alignment).collect()
    }

    /// The sentences of a passage that say most of what the claim says.
    fn place(&self, claim: &ClaimTerms, passage: &Indexed) -> Option<Place> {
        let windows = (0..passage.sentences.len()).flat_map(|start| {
            let longest = MAX_WINDOW.min(passage.sentences.len() - start);
            (1..=longest).map(move |length| start..start + length)
        });
        let scored = windows.filter_map(|window| {
            let sentences = passage.sentences.get(window)?;
            let coverage = self.coverage(claim, passage, sentences);
            let choice = coverage + 0.25 * context_share(claim, sentences)
                - PER_SENTENCE * sentences.len() as f32;
            Some((choice, coverage, sentences))
        });
        let by_choice = |a: &(f32, f32, Window), b: &(f32, f32, Window)| {
            a.0.total_cmp(&b.0).then(start(b.2).cmp(&start(a.2)))
        };
        let (_, coverage, window) = scored.max_by(by_choice)?;
        let quote = Span::new(window.first()?.0.start, window.last()?.0.end);
        Some(Place {
            quote,
            coverage,
            agreement: agreement(&claim.terms, window),
        })
    }

    fn coverage(&self, claim: &ClaimTerms, passage: &Indexed, window: Window) -> f32 {
        let quote: HashSet<&str> = window
            .iter()
            .flat_map(|(_, terms)| terms)
            .map(|term| term.text.as_str())
            .collect();
        let mut seen = HashSet::new();
        let mut shares = Shares::default();
        for term in claim
            .terms
            .iter()
            .filter(|term| term.is_content() && seen.insert(term.text.as_str()))
        {
            shares.add(
                term.kind,
                term.weight * self.rarity(&term.text),
                passage.credit(&quote, term),
            );
        }
        shares.coverage()
    }

    /// How much a term tells: the logarithm of how few sentences have it.
    fn rarity(&self, term: &str) -> f32 {
        // A word that stands nowhere is often the model's own phrasing, so it counts as one in a few sentences.
        let known = self.frequency.get(term).copied().unwrap_or(3);
        (1.0 + self.sentences.max(8) as f32 / (1.0 + known as f32)).ln()
    }
}

impl Indexed {
    fn new(passage: &Passage) -> Self {
        let spans = quotable(&passage.text);
        let sentences: Vec<(Span, Vec<Term>)> = spans
            .into_iter()
            .map(|span| (span, terms(span.of(&passage.text).unwrap_or_default())))
            .collect();
        let heading = format!("{} {}", passage.document_name, passage.heading.join(" "));
        let texts = |terms: &[Term]| {
            terms
                .iter()
                .map(|term| term.text.clone())
                .collect::<Vec<_>>()
        };
        let all = sentences
            .iter()
            .flat_map(|(_, terms)| texts(terms))
            .collect();
        Self {
            heading: texts(&terms(&heading)).into_iter().collect(),
            all,
            sentences,
        }
    }

    /// What a claim's term counts. A number has to stand in the quote itself: elsewhere it counts something else.
    fn credit(&self, quote: &HashSet<&str>, term: &Term) -> f32 {
        if quote.contains(term.text.as_str()) {
            1.0
        } else if self.heading.contains(&term.text) {
            IN_HEADING
        } else if self.all.contains(&term.text) && term.kind != Kind::Number {
            IN_PASSAGE
        } else {
            0.0
        }
    }
}

/// What of a claim is covered, and how many of its numbers and names are not.
#[derive(Default)]
struct Shares {
    covered: f32,
    total: f32,
    numbers_missing: f32,
    names_missing: f32,
}

impl Shares {
    fn add(&mut self, kind: Kind, weight: f32, credit: f32) {
        self.covered += weight * credit;
        self.total += weight;
        match kind {
            Kind::Number => self.numbers_missing += 1.0 - credit,
            Kind::Name => self.names_missing += 1.0 - credit,
            Kind::Word | Kind::Han | Kind::Stop | Kind::Negation | Kind::Border => {}
        }
    }

    fn coverage(&self) -> f32 {
        if self.total == 0.0 {
            return 0.0;
        }
        self.covered / self.total
            * NUMBER_MISSING.powf(self.numbers_missing)
            * NAME_MISSING.powf(self.names_missing)
    }
}

fn start(window: Window) -> usize {
    window.first().map_or(0, |(span, _)| span.start)
}

/// The share of the question's terms that a window has.
fn context_share(claim: &ClaimTerms, window: Window) -> f32 {
    let found: HashSet<&str> = window
        .iter()
        .flat_map(|(_, terms)| terms)
        .map(|term| term.text.as_str())
        .filter(|term| claim.context.contains(*term))
        .collect();
    found.len() as f32 / claim.context.len().max(1) as f32
}

/// Below 1 where claim and quote contradict each other in form.
fn agreement(claim: &[Term], window: Window) -> f32 {
    let quote: HashSet<&str> = window
        .iter()
        .flat_map(|(_, terms)| terms)
        .map(|term| term.text.as_str())
        .collect();
    let negated_in_quote: HashMap<&str, bool> = window
        .iter()
        .flat_map(|(_, terms)| polarity(terms))
        .collect();
    let polarities = polarity(claim);
    let differs = polarities.iter().any(|(term, negated)| {
        negated_in_quote
            .get(term)
            .is_some_and(|other| other != negated)
    });
    let same_words: HashSet<&str> = claim.iter().map(|term| term.text.as_str()).collect();
    let opposite = same_words
        .iter()
        .filter(|term| !quote.contains(**term))
        .any(|term| {
            words::opposites(term).any(|other| quote.contains(other) && !same_words.contains(other))
        });
    let factor = if differs { NEGATION_DIFFERS } else { 1.0 };
    if opposite { factor * OPPOSITE } else { factor }
}

/// Each content term, and whether a negation stands within the two words (or four Chinese pairs) before it. A term that is
/// both negated and not counts as negated.
fn polarity(terms: &[Term]) -> Vec<(&str, bool)> {
    let mut left: i32 = 0;
    let mut out: Vec<(&str, bool)> = Vec::new();
    for term in terms {
        if term.kind == Kind::Border {
            left = 0;
        } else if term.kind == Kind::Negation {
            left = 4;
        } else if term.is_content() {
            out.push((&term.text, left > 0));
            left -= if term.kind == Kind::Han { 1 } else { 2 };
        }
    }
    out.sort_unstable();
    out
}
