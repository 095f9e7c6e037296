use super::analysis::analyse;
use super::schema::{Fields, Sides};
use crate::terms::TermFilter;
use std::collections::BTreeSet;
use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, EmptyQuery, Occur, Query};
use tantivy::query::{TermQuery, TermSetQuery};
use tantivy::schema::{Field, IndexRecordOption};

/// What a match in the title or a heading counts, where one in the text counts 1.
fn env(name: &str, default: f32) -> f32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
/// Most terms of one question; a longer one is a text, whose first part tells enough.
const MOST_TERMS: usize = 1024;

/// The query for a user's question and a filter; `None` where it can find nothing.
pub(super) fn query(fields: &Fields, question: &str, filter: &TermFilter) -> Option<Box<dyn Query>> {
    let terms = analyse(question);
    let words = clauses(&terms.words, |sides| sides.words, fields);
    let grams = clauses(&terms.grams, |sides| sides.grams, fields);
    let clauses: Vec<_> = words.into_iter().chain(grams).collect();
    if clauses.is_empty() {
        return None;
    }
    let asked: Box<dyn Query> = Box::new(BooleanQuery::new(clauses));
    match filter {
        TermFilter::All => Some(asked),
        TermFilter::None => None,
        filter => {
            let admitted: Box<dyn Query> = Box::new(ConstScoreQuery::new(admits(fields.filter, filter), 0.0));
            Some(Box::new(BooleanQuery::new(vec![(Occur::Must, asked), (Occur::Must, admitted)])))
        }
    }
}

fn clauses(terms: &[String], side: fn(&Sides) -> Field, fields: &Fields) -> Vec<(Occur, Box<dyn Query>)> {
    let distinct: BTreeSet<&str> = terms.iter().map(String::as_str).filter(|t| std::env::var("STOP").is_err() || !super::stop::STOP.contains(t)).take(MOST_TERMS).collect();
    distinct.into_iter().map(|term| (Occur::Should, either(term, side(&fields.text), side(&fields.heading)))).collect()
}

/// A term in the text or in the headings, counted once: the better of the two, and a little of the other.
fn either(term: &str, text: Field, heading: Field) -> Box<dyn Query> {
    let find = |field| -> Box<dyn Query> {
        Box::new(TermQuery::new(Term::from_field_text(field, term), IndexRecordOption::WithFreqs))
    };
    let headed = Box::new(BoostQuery::new(find(heading), env("HB", 1.0)));
    Box::new(DisjunctionMaxQuery::with_tie_breaker(vec![find(text), headed], env("TIE", 0.3)))
}

/// The chunks that a filter admits.
fn admits(field: Field, filter: &TermFilter) -> Box<dyn Query> {
    match filter {
        TermFilter::All => Box::new(AllQuery),
        TermFilter::None => Box::new(EmptyQuery),
        TermFilter::Any(terms) => Box::new(TermSetQuery::new(terms.iter().map(|term| Term::from_field_text(field, term)))),
        TermFilter::And(filters) => Box::new(BooleanQuery::new(all(field, filters))),
        TermFilter::Or(filters) => Box::new(BooleanQuery::union(filters.iter().map(|filter| admits(field, filter)).collect())),
        TermFilter::Not(filter) => {
            let clauses: Vec<(Occur, Box<dyn Query>)> = vec![(Occur::Must, Box::new(AllQuery)), (Occur::MustNot, admits(field, filter))];
            Box::new(BooleanQuery::new(clauses))
        }
    }
}

fn all(field: Field, filters: &[TermFilter]) -> Vec<(Occur, Box<dyn Query>)> {
    filters.iter().map(|filter| (Occur::Must, admits(field, filter))).collect()
}
