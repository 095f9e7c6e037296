use super::analysis::analyse;
use super::schema::{Fields, Sides};
use super::stop::carries_meaning;
use crate::terms::TermFilter;
use std::collections::BTreeSet;
use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Occur, Query, TermQuery,
    TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

/// What a match in title or heading counts on top of the text's field, where both stand too. nDCG@10 of SciFact, COVID-QA
/// and CMRC 2018 with 0: 0.709, 0.837, 0.984; with 0.15: 0.712, 0.833, 0.986; with 0.3: 0.710, 0.826, 0.987.
const HEADING: f32 = 0.15;
/// Most terms of one question; a longer one is a text, whose first terms tell enough.
const MOST_TERMS: usize = 1024;

type Clauses = Vec<(Occur, Box<dyn Query>)>;

/// The query for a user's question and a filter; `None` where it can find nothing.
pub(super) fn query(
    fields: &Fields,
    question: &str,
    filter: &TermFilter,
) -> Option<Box<dyn Query>> {
    let asked = clauses(fields, question);
    if asked.is_empty() {
        return None;
    }
    let asked: Box<dyn Query> = Box::new(BooleanQuery::new(asked));
    match filter {
        TermFilter::All => Some(asked),
        TermFilter::None => None,
        filter => {
            let admitted: Box<dyn Query> =
                Box::new(ConstScoreQuery::new(admits(fields.filter, filter), 0.0));
            Some(Box::new(BooleanQuery::new(vec![
                (Occur::Must, asked),
                (Occur::Must, admitted),
            ])))
        }
    }
}

/// One clause per term and field. Every term counts once, however often the question repeats it.
fn clauses(fields: &Fields, question: &str) -> Clauses {
    let terms = analyse(question);
    let words: BTreeSet<&str> = terms
        .words
        .iter()
        .take(MOST_TERMS)
        .map(String::as_str)
        .collect();
    let grams: BTreeSet<&str> = terms
        .grams
        .iter()
        .take(MOST_TERMS)
        .map(String::as_str)
        .collect();
    let telling: BTreeSet<&str> = words
        .iter()
        .copied()
        .filter(|word| carries_meaning(word))
        .collect();
    // A question of nothing but such words asks for them: `The Who`.
    let words = if telling.is_empty() && grams.is_empty() {
        words
    } else {
        telling
    };
    let words = words
        .into_iter()
        .flat_map(|word| both(word, fields, |sides| sides.words));
    let grams = grams
        .into_iter()
        .flat_map(|gram| both(gram, fields, |sides| sides.grams));
    words.chain(grams).collect()
}

fn both(term: &str, fields: &Fields, side: fn(&Sides) -> Field) -> [(Occur, Box<dyn Query>); 2] {
    let find = |field| -> Box<dyn Query> {
        Box::new(TermQuery::new(
            Term::from_field_text(field, term),
            IndexRecordOption::WithFreqs,
        ))
    };
    let headed = BoostQuery::new(find(side(&fields.heading)), HEADING);
    [
        (Occur::Should, find(side(&fields.text))),
        (Occur::Should, Box::new(headed)),
    ]
}

/// The chunks that a filter admits.
fn admits(field: Field, filter: &TermFilter) -> Box<dyn Query> {
    let each =
        |filters: &[TermFilter]| filters.iter().map(|filter| admits(field, filter)).collect();
    match filter {
        TermFilter::All => Box::new(AllQuery),
        TermFilter::None => Box::new(EmptyQuery),
        TermFilter::Any(terms) => Box::new(TermSetQuery::new(
            terms.iter().map(|term| Term::from_field_text(field, term)),
        )),
        TermFilter::And(filters) => Box::new(BooleanQuery::intersection(each(filters))),
        TermFilter::Or(filters) => Box::new(BooleanQuery::union(each(filters))),
        TermFilter::Not(filter) => {
            let clauses: Clauses = vec![
                (Occur::Must, Box::new(AllQuery)),
                (Occur::MustNot, admits(field, filter)),
            ];
            Box::new(BooleanQuery::new(clauses))
        }
    }
}
