//! Measures the alignment of claims with passages on labelled data: `cargo run -p lore-retrieval --example alignment_quality
//! [DATA_DIR]`. Deterministic; seconds. Each set pairs claims that a passage backs with claims that it does not, and the
//! table gives the AUC of `support`, the balanced accuracy at the default threshold and at the best one, and how often the
//! right one of several passages was cited.

use anyhow::{Context, Result};
use lore_retrieval::{CitationSettings, resolve, sentences};
use lore_types::{ChunkId, DocumentId, Passage, Span, VersionId};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Other passages shown beside the right one.
const DISTRACTORS: usize = 4;

fn main() -> Result<()> {
    let root = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/work/shared/data".to_owned());
    let root = Path::new(&root);
    println!(
        "{:<58} {:>5} {:>5} {:>6} {:>7} {:>12} {:>6}",
        "set", "yes", "no", "AUC", "acc@def", "best acc@t", "cited"
    );
    let mut all = Outcome::default();
    for (folder, chinese) in [("qa/squad2_dev", false), ("retrieval/cmrc2018", true)] {
        all.join(&questions(&root.join(folder), chinese)?);
    }
    all.join(&scifact(&root.join("retrieval/scifact"))?);
    all.join(&pubmedqa(&root.join("qa/pubmedqa"))?);
    for (folder, chinese) in [("qa/squad2_dev", false), ("retrieval/cmrc2018", true)] {
        all.join(&copies(&root.join(folder), chinese)?);
    }
    all.print("all together");
    Ok(())
}

#[derive(Default)]
struct Outcome {
    yes: Vec<f32>,
    no: Vec<f32>,
    cited: (usize, usize),
}

impl Outcome {
    fn join(&mut self, other: &Self) {
        self.yes.extend(&other.yes);
        self.no.extend(&other.no);
        self.cited = (self.cited.0 + other.cited.0, self.cited.1 + other.cited.1);
    }

    fn auc(&self) -> f64 {
        let mut wins = 0.0;
        for yes in &self.yes {
            wins += self
                .no
                .iter()
                .map(|no| {
                    if yes > no {
                        1.0
                    } else if yes == no {
                        0.5
                    } else {
                        0.0
                    }
                })
                .sum::<f64>();
        }
        wins / (self.yes.len() * self.no.len()).max(1) as f64
    }

    fn accuracy(&self, threshold: f32) -> f64 {
        let share = |scores: &[f32], right: &dyn Fn(f32) -> bool| {
            scores.iter().filter(|score| right(**score)).count() as f64 / scores.len().max(1) as f64
        };
        (share(&self.yes, &|score| score >= threshold)
            + share(&self.no, &|score| score < threshold))
            / 2.0
    }

    fn print(&self, name: &str) {
        let default = CitationSettings::default().support_threshold;
        let best = (1..100)
            .map(|step| step as f32 / 100.0)
            .max_by(|a, b| self.accuracy(*a).total_cmp(&self.accuracy(*b)));
        let best = best.unwrap_or_default();
        let cited = if self.cited.1 == 0 {
            "–".to_owned()
        } else {
            format!("{:.3}", self.cited.0 as f64 / self.cited.1 as f64)
        };
        println!(
            "{name:<58} {:>5} {:>5} {:>6.3} {:>7.3} {:>6.3}@{best:.2} {cited:>6}",
            self.yes.len(),
            self.no.len(),
            self.auc(),
            self.accuracy(default),
            self.accuracy(best)
        );
    }
}

/// Question and answer put together as a claim; wrong: another answer of the same document, or other passages.
fn questions(folder: &Path, chinese: bool) -> Result<Outcome> {
    let corpus = Corpus::read(folder)?;
    let items: Vec<Value> = jsonl(&folder.join("qa.jsonl"))?
        .into_iter()
        .filter(|item| item["unanswerable"] == false)
        .collect();
    let mut by_document: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for item in &items {
        by_document
            .entry(text(&item["doc_ids"][0]))
            .or_default()
            .push(text(&item["answers"][0]));
    }
    let (mut swapped, mut elsewhere) = (Outcome::default(), Outcome::default());
    for item in items.iter().step_by((items.len() / 300).max(1)) {
        let (document, question, answer) = (
            text(&item["doc_ids"][0]),
            text(&item["question"]),
            text(&item["answers"][0]),
        );
        let claim = |answer: &str| {
            if chinese {
                format!("{}{answer}。", question.trim_end_matches(['？', '?']))
            } else {
                format!("{} {answer}.", question.trim_end_matches('?'))
            }
        };
        let shown = corpus.with_distractors(document, question);
        let right = judge(&claim(answer), question, &shown);
        let other = by_document[document]
            .iter()
            .find(|other| !answer.contains(**other) && !other.contains(answer));
        if let Some(other) = other {
            swapped.yes.push(right.0);
            swapped.no.push(judge(&claim(other), question, &shown).0);
        }
        elsewhere.yes.push(right.0);
        elsewhere
            .no
            .push(judge(&claim(answer), question, &shown[1..]).0);
        elsewhere.cited.0 += usize::from(right.1 == Some(shown[0].chunk_id));
        elsewhere.cited.1 += 1;
    }
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    swapped.print(&format!("{name}: question + answer / another answer"));
    elsewhere.print(&format!("{name}: question + answer / other passages"));
    let answers = short_answers(&corpus, &items);
    answers.print(&format!("{name}: bare answer / other passages"));
    swapped.join(&elsewhere);
    Ok(swapped)
}

fn short_answers(corpus: &Corpus, items: &[Value]) -> Outcome {
    let mut out = Outcome::default();
    for item in items.iter().step_by((items.len() / 300).max(1)) {
        let shown = corpus.with_distractors(text(&item["doc_ids"][0]), text(&item["question"]));
        let right = judge(text(&item["answers"][0]), text(&item["question"]), &shown);
        out.yes.push(right.0);
        out.no.push(
            judge(
                text(&item["answers"][0]),
                text(&item["question"]),
                &shown[1..],
            )
            .0,
        );
        out.cited.0 += usize::from(right.1 == Some(shown[0].chunk_id));
        out.cited.1 += 1;
    }
    out
}

/// SciFact's claims, written by people: supported, contradicted, or merely on the subject.
fn scifact(folder: &Path) -> Result<Outcome> {
    let corpus = Corpus::read(folder)?;
    let (mut supported, mut contradicted, mut other, mut elsewhere) =
        (Vec::new(), Vec::new(), Vec::new(), Outcome::default());
    for item in jsonl(&folder.join("qa.jsonl"))? {
        let (claim, document) = (text(&item["question"]), text(&item["doc_ids"][0]));
        let shown = corpus.with_distractors(document, claim);
        let (score, cited) = judge(claim, "", &shown);
        match text(&item["answers"][0]) {
            "SUPPORT" => {
                supported.push(judge(claim, "", &shown[..1]).0);
                elsewhere.yes.push(score);
                elsewhere.no.push(judge(claim, "", &shown[1..]).0);
                elsewhere.cited.0 += usize::from(cited == Some(shown[0].chunk_id));
                elsewhere.cited.1 += 1;
            }
            "CONTRADICT" => contradicted.push(judge(claim, "", &shown[..1]).0),
            _ => other.push(judge(claim, "", &shown[..1]).0),
        }
    }
    Outcome {
        yes: supported.clone(),
        no: contradicted,
        cited: (0, 0),
    }
    .print("scifact: supported / contradicted");
    Outcome {
        yes: supported,
        no: other,
        cited: (0, 0),
    }
    .print("scifact: supported / on the subject only");
    elsewhere.print("scifact: supported / other passages");
    Ok(elsewhere)
}

/// Conclusions written by the authors of abstracts.
fn pubmedqa(folder: &Path) -> Result<Outcome> {
    let corpus = Corpus::read(folder)?;
    let mut out = Outcome::default();
    for item in jsonl(&folder.join("qa.jsonl"))?.iter().step_by(4) {
        let answer = text(&item["long_answer"]);
        let Some(claim) = sentences(answer).first().and_then(|span| span.of(answer)) else {
            continue;
        };
        let shown = corpus.with_distractors(text(&item["_id"]), text(&item["question"]));
        let right = judge(claim, text(&item["question"]), &shown);
        out.yes.push(right.0);
        out.no
            .push(judge(claim, text(&item["question"]), &shown[1..]).0);
        out.cited.0 += usize::from(right.1 == Some(shown[0].chunk_id));
        out.cited.1 += 1;
    }
    out.print("pubmedqa: conclusion / other passages");
    Ok(out)
}

/// Sentences of a passage in slightly other words, as models write them; wrong: with another number, name or a negation.
fn copies(folder: &Path, chinese: bool) -> Result<Outcome> {
    let corpus = Corpus::read(folder)?;
    let (mut numbers, mut names, mut negations) =
        (Outcome::default(), Outcome::default(), Outcome::default());
    let ids = corpus.order.clone();
    for (place, id) in ids.iter().enumerate().step_by((ids.len() / 250).max(1)) {
        let body = corpus.passages[id].text.clone();
        let shown = corpus.with_distractors(id, &body);
        for span in sentences(&body).into_iter().skip(place % 3).take(2) {
            let sentence = span.of(&body).unwrap_or_default();
            let loose = loosely(sentence, chinese);
            let right = judge(&loose, "", &shown);
            let add = |outcome: &mut Outcome, wrong: Option<String>| {
                if let Some(wrong) = wrong {
                    outcome.yes.push(right.0);
                    outcome.no.push(judge(&wrong, "", &shown).0);
                    outcome.cited.0 += usize::from(right.1 == Some(shown[0].chunk_id));
                    outcome.cited.1 += 1;
                }
            };
            add(&mut numbers, other_number(&loose));
            add(&mut names, if chinese { None } else { other_name(&loose) });
            add(&mut negations, negated(&loose, chinese));
        }
    }
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    numbers.print(&format!("{name}: loose copy / another number"));
    if !chinese {
        names.print(&format!("{name}: loose copy / another name"));
    }
    negations.print(&format!("{name}: loose copy / negated"));
    numbers.join(&names);
    numbers.join(&negations);
    Ok(numbers)
}

/// Every sixth word left out, and a phrase such as models begin with.
fn loosely(sentence: &str, chinese: bool) -> String {
    if chinese {
        let kept: String = sentence
            .chars()
            .enumerate()
            .filter(|(at, c)| at % 9 != 4 || c.is_ascii_digit())
            .map(|(_, c)| c)
            .collect();
        return format!("根据资料，{kept}");
    }
    let words = sentence.split_whitespace().enumerate();
    let kept: Vec<&str> = words
        .filter(|(at, word)| {
            at % 6 != 4 || word.chars().any(|c| c.is_uppercase() || c.is_ascii_digit())
        })
        .map(|(_, word)| word)
        .collect();
    format!("According to the document, {}", kept.join(" "))
}

fn other_number(sentence: &str) -> Option<String> {
    let start = sentence.find(|c: char| c.is_ascii_digit())?;
    let rest = &sentence[start..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let number: u64 = rest[..end].parse().ok()?;
    Some(format!(
        "{}{}{}",
        &sentence[..start],
        number + 7,
        &rest[end..]
    ))
}

fn other_name(sentence: &str) -> Option<String> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let place = words.iter().skip(5).position(|word| {
        word.len() > 3
            && word.chars().next().is_some_and(char::is_uppercase)
            && word.chars().all(char::is_alphabetic)
    })? + 5;
    Some(
        words
            .iter()
            .enumerate()
            .map(|(at, word)| if at == place { "Ventura" } else { *word })
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn negated(sentence: &str, chinese: bool) -> Option<String> {
    let (from, to) = if chinese {
        [("是", "不是"), ("可以", "不可以"), ("有", "没有")]
            .into_iter()
            .find(|(from, _)| sentence.contains(from))?
    } else {
        [
            (" was ", " was not "),
            (" is ", " is not "),
            (" are ", " are not "),
            (" were ", " were not "),
            (" can ", " cannot "),
        ]
        .into_iter()
        .find(|(from, _)| sentence.contains(from))?
    };
    Some(sentence.replacen(from, to, 1))
}

/// Support of the claim, and the passage that was cited for it.
fn judge(claim: &str, question: &str, passages: &[Passage]) -> (f32, Option<ChunkId>) {
    let settings = CitationSettings {
        support_threshold: 0.0,
        ..CitationSettings::default()
    };
    let resolved = resolve(claim, question, passages, &settings);
    let scores: Vec<f32> = resolved.claims.iter().map(|claim| claim.support).collect();
    let support = if scores.is_empty() {
        0.0
    } else {
        scores.iter().sum::<f32>() / scores.len() as f32
    };
    (
        support,
        resolved.citations.first().map(|citation| citation.chunk_id),
    )
}

struct Corpus {
    order: Vec<String>,
    passages: HashMap<String, Passage>,
    words: HashMap<String, HashSet<String>>,
    rarity: HashMap<String, f32>,
}

impl Corpus {
    fn read(folder: &Path) -> Result<Self> {
        let mut corpus = Self {
            order: Vec::new(),
            passages: HashMap::new(),
            words: HashMap::new(),
            rarity: HashMap::new(),
        };
        for item in jsonl(&folder.join("corpus.jsonl"))? {
            let (id, title, body) = (
                text(&item["_id"]).to_owned(),
                text(&item["title"]).to_owned(),
                text(&item["text"]).to_owned(),
            );
            corpus
                .words
                .insert(id.clone(), grams(&format!("{title} {body}")));
            corpus
                .passages
                .insert(id.clone(), passage(&id, title, body));
            corpus.order.push(id);
        }
        for word in corpus.words.values().flatten() {
            *corpus.rarity.entry(word.clone()).or_default() += 1.0;
        }
        let total = corpus.order.len() as f32;
        corpus
            .rarity
            .values_mut()
            .for_each(|count| *count = (total / *count).ln());
        Ok(corpus)
    }

    /// The document first, then the ones most like the query by words: what a retriever would have shown.
    fn with_distractors(&self, id: &str, query: &str) -> Vec<Passage> {
        let wanted = grams(query);
        let score = |id: &String| -> f32 {
            self.words[id]
                .intersection(&wanted)
                .map(|word| self.rarity[word])
                .sum()
        };
        let mut others: Vec<(f32, &String)> = self
            .order
            .iter()
            .filter(|other| *other != id)
            .map(|other| (score(other), other))
            .collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let ids =
            std::iter::once(id).chain(others.iter().take(DISTRACTORS).map(|(_, id)| id.as_str()));
        ids.map(|id| self.passages[id].clone()).collect()
    }
}

fn grams(text: &str) -> HashSet<String> {
    let lower = text.to_lowercase();
    let chars: Vec<char> = lower.chars().collect();
    let pairs = chars
        .windows(2)
        .filter(|pair| pair.iter().all(|c| !c.is_ascii() && c.is_alphabetic()))
        .map(|pair| pair.iter().collect());
    let words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 2)
        .map(str::to_owned);
    words.chain(pairs).collect()
}

fn passage(id: &str, title: String, body: String) -> Passage {
    let document = DocumentId::derive("quality", id);
    Passage {
        chunk_id: ChunkId::derive(VersionId::derive(document, 1), 0),
        document_id: document,
        document_name: id.to_owned(),
        version: 1,
        ordinal: 0,
        span: Span::new(0, body.len()),
        text: body,
        heading: if title.is_empty() {
            Vec::new()
        } else {
            vec![title]
        },
        page: None,
        metadata: lore_types::Metadata::new(),
        score: 0.0,
        scores: None,
    }
}

fn jsonl(path: &Path) -> Result<Vec<Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{} is needed", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {}", path.display())))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
