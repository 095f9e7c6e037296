use crate::terms::{Kind, Term, terms};
use crate::{BACKGROUND, Language};
use lore_types::Passage;
use std::collections::{HashMap, HashSet};

/// What the dense side says of a question, in terms that do not depend on the embedder's scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseEvidence {
    /// The best passage's cosine, less the mean cosine of the question with texts on other subjects, in units of their
    /// standard deviation.
    pub z_score: f32,
}

impl DenseEvidence {
    /// Compares the best passage's cosine with those of [`BACKGROUND`], in its order: with the texts in the passage's own
    /// language, because embedders put some distance between languages. `None` where cosines are missing.
    pub fn new(best: f32, passage: &str, background: &[f32]) -> Option<Self> {
        let language = Language::of(passage);
        let cosines = BACKGROUND
            .iter()
            .zip(background)
            .filter(|(text, _)| Language::of(text) == language);
        let cosines: Vec<f32> = cosines.map(|(_, cosine)| *cosine).collect();
        (background.len() == BACKGROUND.len()).then(|| Self::among(best, &cosines))
    }

    fn among(best: f32, background: &[f32]) -> Self {
        let count = background.len() as f32;
        let mean = background.iter().sum::<f32>() / count;
        let variance = background
            .iter()
            .map(|cosine| (cosine - mean).powi(2))
            .sum::<f32>()
            / (count - 1.0);
        Self {
            z_score: (best - mean) / variance.sqrt().max(1e-4),
        }
    }
}

/// Whether the passages found can answer the question at all, and what that was judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relevance {
    /// Share of the question's terms, weighted by rarity, that the best passage has; 0..=1.
    pub coverage: f32,
    /// Share of the question's names and numbers that no passage has; 0..=1.
    pub names_missing: f32,
    /// The dense side's evidence, where there is some.
    pub z_score: Option<f32>,
    /// Whether question and passages are in different languages, so that shared words say nothing.
    pub across_languages: bool,
    /// The probability that the passages are on the question's subject, 0..=1.
    pub probability: f32,
}

/// The probability below which [`Relevance::is_relevant`] is false.
const THRESHOLD: f32 = 0.5;

impl Relevance {
    /// Judges the passages chosen for a question; `pool` are the texts of all candidates, which tell how rare a term is.
    ///
    /// A logistic model of the three measures. An absolute cosine is never used: embedders squeeze theirs together.
    ///
    /// # Source
    /// The weights were fitted with `services/gateway/examples/relevance_quality.rs`, which prints how well they do.
    pub fn judge(
        question: &str,
        passages: &[Passage],
        pool: &[&str],
        dense: Option<DenseEvidence>,
    ) -> Self {
        let asked: Vec<Term> = terms(question)
            .into_iter()
            .filter(Term::is_content)
            .collect();
        let shown: Vec<HashSet<String>> = passages.iter().map(vocabulary).collect();
        let rarity = Rarity::of(pool);
        let coverage = shown
            .iter()
            .map(|words| coverage(&asked, words, &rarity))
            .fold(0.0, f32::max);
        let language = Language::of(question);
        let across_languages = !passages.is_empty()
            && passages
                .iter()
                .all(|passage| Language::of(&passage.text) != language);
        let z_score = dense.map(|dense| dense.z_score);
        let names_missing = if across_languages {
            0.0
        } else {
            names_missing(&asked, &shown)
        };
        let logit = logit(coverage, names_missing, z_score, across_languages);
        let probability = if passages.is_empty() {
            0.0
        } else {
            1.0 / (1.0 + (-logit).exp())
        };
        Self {
            coverage,
            names_missing,
            z_score,
            across_languages,
            probability,
        }
    }

    /// Whether it is worth asking the model.
    pub fn is_relevant(&self) -> bool {
        self.probability >= THRESHOLD
    }
}

fn logit(coverage: f32, names_missing: f32, z_score: Option<f32>, across_languages: bool) -> f32 {
    match (z_score, across_languages) {
        (Some(z), false) => -4.5 + 5.0 * coverage - 1.0 * names_missing + 1.0 * z,
        (Some(z), true) => -3.0 + 1.5 * z,
        (None, false) => -2.0 + 7.0 * coverage - 1.0 * names_missing,
        // Nothing to judge by: the model decides.
        (None, true) => 1.0,
    }
}

fn vocabulary(passage: &Passage) -> HashSet<String> {
    let heading = format!("{} {}", passage.document_name, passage.heading.join(" "));
    terms(&passage.text)
        .into_iter()
        .chain(terms(&heading))
        .map(|term| term.text)
        .collect()
}

fn coverage(asked: &[Term], words: &HashSet<String>, rarity: &Rarity) -> f32 {
    let (mut covered, mut total) = (0.0, 0.0);
    for term in asked {
        let weight = term.weight * rarity.of_term(&term.text);
        total += weight;
        covered += if words.contains(&term.text) {
            weight
        } else {
            0.0
        };
    }
    if total == 0.0 { 0.0 } else { covered / total }
}

fn names_missing(asked: &[Term], shown: &[HashSet<String>]) -> f32 {
    let names: Vec<&Term> = asked
        .iter()
        .filter(|term| matches!(term.kind, Kind::Name | Kind::Number))
        .collect();
    let missing = names
        .iter()
        .filter(|term| !shown.iter().any(|words| words.contains(&term.text)))
        .count();
    missing as f32 / names.len().max(1) as f32
}

/// How rare terms are among the candidates.
struct Rarity {
    frequency: HashMap<String, usize>,
    texts: usize,
}

impl Rarity {
    fn of(pool: &[&str]) -> Self {
        let mut frequency = HashMap::new();
        for text in pool {
            for term in terms(text)
                .into_iter()
                .map(|term| term.text)
                .collect::<HashSet<_>>()
            {
                *frequency.entry(term).or_insert(0) += 1;
            }
        }
        Self {
            frequency,
            texts: pool.len(),
        }
    }

    fn of_term(&self, term: &str) -> f32 {
        let count = self.frequency.get(term).copied().unwrap_or(0);
        (1.0 + (self.texts as f32 + 1.0) / (count as f32 + 0.5)).ln()
    }
}

/// Whether an answer says only that nothing was found: the configured sentence, or one of the ways in which models say it.
pub fn declines(answer: &str, abstain_sentence: &str) -> bool {
    const PHRASES: [&str; 22] = [
        "do not contain",
        "does not contain",
        "don't contain",
        "do not provide",
        "does not provide",
        "do not mention",
        "does not mention",
        "not mentioned in the",
        "no information",
        "cannot be found in",
        "could not find",
        "cannot answer",
        "can't answer",
        "not able to answer",
        "not enough information",
        "i don't know",
        "i do not know",
        "没有提到",
        "没有相关",
        "没有答案",
        "无法回答",
        "未提及",
    ];
    let plain = crate::markers::unmark(answer.trim(), 0).text;
    let short = crate::sentences(&plain).len() <= 1 && plain.chars().count() <= 200;
    let plain = plain.trim().to_lowercase();
    let fixed = abstain_sentence
        .trim()
        .trim_end_matches(['.', '。'])
        .to_lowercase();
    let begins = !fixed.is_empty() && plain.starts_with(&fixed);
    plain.is_empty() || begins || (short && PHRASES.iter().any(|phrase| plain.contains(phrase)))
}
