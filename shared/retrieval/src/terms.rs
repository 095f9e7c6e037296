//! Texts as terms that can be compared: stemmed words, names, numbers in one spelling, pairs of Chinese characters.

use crate::language::is_han;
use crate::{numbers, words};
use unicode_segmentation::UnicodeSegmentation;

/// What a term is, which decides how much it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word that carries meaning.
    Word,
    /// A capitalised word inside a sentence, or one with digits or several capitals.
    Name,
    /// A number.
    Number,
    /// Two neighbouring Chinese characters (or one that stands alone).
    Han,
    /// A word that carries no meaning of its own; kept because negation and order look at it.
    Stop,
    /// A word that negates what follows.
    Negation,
    /// The border between two cells of a table's row; what stands before it does not negate what stands after it.
    Border,
}

/// One term of a text, at a byte offset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    /// Comparable form.
    pub text: String,
    /// What it is.
    pub kind: Kind,
    /// Byte at which it starts.
    pub start: usize,
    /// How much it counts before rarity, 0..=2.
    pub weight: f32,
}

impl Term {
    /// Whether it says something.
    pub fn is_content(&self) -> bool {
        self.weight > 0.0
    }
}

/// The terms of `text`, in order.
pub(crate) fn terms(text: &str) -> Vec<Term> {
    let mut out = Vec::new();
    let mut han: Vec<(usize, char)> = Vec::new();
    let mut previous_end = 0;
    for (start, word) in text.unicode_word_indices() {
        if text
            .get(previous_end..start)
            .is_some_and(|between| between.contains('|'))
        {
            flush_han(&mut han, &mut out);
            push_border(start, &mut out);
        }
        let mut chars = word.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if is_han(c) => {
                if start != previous_end {
                    flush_han(&mut han, &mut out);
                }
                han.push((start, c));
            }
            _ => {
                flush_han(&mut han, &mut out);
                push_word(text, start, word, &mut out);
            }
        }
        previous_end = start + word.len();
    }
    flush_han(&mut han, &mut out);
    out
}

fn push_word(text: &str, start: usize, word: &str, out: &mut Vec<Term>) {
    let lower = word.to_lowercase();
    if let Some((value, used)) = numbers::leading(word) {
        push_number(start, value, out);
        if let Some(rest) = word
            .get(used..)
            .filter(|rest| !matches!(*rest, "" | "st" | "nd" | "rd" | "th" | "s"))
        {
            push_plain(text, start + used, rest, &rest.to_lowercase(), out);
        }
    } else if let Some(value) = numbers::english(&lower) {
        push_number(start, value, out);
    } else if let (
        Some(factor),
        Some(Term {
            kind: Kind::Number, ..
        }),
    ) = (numbers::magnitude(&lower), out.last())
    {
        multiply(factor, out);
    } else {
        push_plain(text, start, word, &lower, out);
    }
}

fn multiply(factor: f64, out: &mut [Term]) {
    if let Some(last) = out.last_mut()
        && let Ok(value) = last.text.parse::<f64>()
    {
        last.text = numbers::spelling(value * factor);
    }
}

fn push_border(start: usize, out: &mut Vec<Term>) {
    out.push(Term {
        text: "|".to_owned(),
        kind: Kind::Border,
        start,
        weight: 0.0,
    });
}

fn push_number(start: usize, value: f64, out: &mut Vec<Term>) {
    out.push(Term {
        text: numbers::spelling(value),
        kind: Kind::Number,
        start,
        weight: 1.5,
    });
}

fn push_plain(text: &str, start: usize, word: &str, lower: &str, out: &mut Vec<Term>) {
    let (kind, weight) = if words::is_negation(lower) {
        (Kind::Negation, 0.0)
    } else if is_name(text, start, word) {
        (Kind::Name, 1.5)
    } else if words::is_stop(lower) {
        (Kind::Stop, 0.0)
    } else {
        (Kind::Word, 1.0)
    };
    out.push(Term {
        text: words::stem(lower),
        kind,
        start,
        weight,
    });
}

fn is_name(text: &str, start: usize, word: &str) -> bool {
    let capitals = word.chars().filter(|c| c.is_uppercase()).count();
    let digits = word.chars().any(|c| c.is_ascii_digit());
    let first = word.chars().next().is_some_and(char::is_uppercase);
    capitals > 1
        || (digits && word.chars().any(char::is_alphabetic))
        || (first && word.len() > 1 && !opens_sentence(text, start))
}

/// Whether nothing but space and opening marks stands between `at` and the end of the sentence before it.
fn opens_sentence(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let last = before
        .trim_end_matches(|c: char| c.is_whitespace() || "\"'“‘(（「《*#->|".contains(c))
        .chars()
        .next_back();
    last.is_none_or(|c| ".!?。！？:：;；\n".contains(c))
}

fn flush_han(run: &mut Vec<(usize, char)>, out: &mut Vec<Term>) {
    let mut rest: &[(usize, char)] = run;
    while let Some((first, _)) = rest
        .iter()
        .enumerate()
        .find(|(at, _)| number_at(rest, *at).is_some())
    {
        let length = number_at(rest, first).unwrap_or(1);
        push_pairs(rest.get(..first).unwrap_or_default(), out);
        push_han_number(rest.get(first..first + length).unwrap_or_default(), out);
        rest = rest.get(first + length..).unwrap_or_default();
    }
    push_pairs(rest, out);
    run.clear();
}

fn push_han_number(run: &[(usize, char)], out: &mut Vec<Term>) {
    let chars: Vec<char> = run.iter().map(|(_, c)| *c).collect();
    let starts_with_unit = chars
        .first()
        .and_then(|c| numbers::magnitude(&c.to_string()));
    match (
        starts_with_unit,
        out.last(),
        run.first(),
        numbers::chinese(&chars),
    ) {
        (
            Some(factor),
            Some(Term {
                kind: Kind::Number, ..
            }),
            ..,
        ) => multiply(factor, out),
        (_, _, Some((start, _)), Some(value)) => push_number(*start, value, out),
        _ => {}
    }
}

/// How many characters of a number start at `at`: a run of numerals that is a number and not part of a word.
fn number_at(run: &[(usize, char)], at: usize) -> Option<usize> {
    const COUNTED: &str =
        "天年月日个次周岁元位名条项小分秒层楼倍章节届国米公里吨克度点岛人家种类座号期版世级度";
    let char_at = |at: usize| run.get(at).map(|(_, c)| *c);
    let length = (at..run.len())
        .take_while(|at| char_at(*at).is_some_and(numbers::is_numeral))
        .count();
    if length == 0 {
        return None;
    }
    let after_digits = at == 0 && matches!(char_at(at), Some('万' | '亿' | '千' | '百'));
    let counted = char_at(at + length).is_some_and(|next| COUNTED.contains(next));
    let ordinal = at > 0 && char_at(at - 1) == Some('第');
    let alone = length == 1 && char_at(at) != Some('一') && (counted || ordinal);
    let whole = length > 1
        && !matches!(
            (char_at(at), char_at(at + 1)),
            (Some('千'), Some('万')) | (Some('万'), Some('一'))
        );
    (alone || whole || after_digits).then_some(length)
}

fn push_pairs(run: &[(usize, char)], out: &mut Vec<Term>) {
    if let [(start, only)] = run {
        let kind = if words::negates(*only) {
            Kind::Negation
        } else {
            Kind::Han
        };
        let weight = if words::is_stop_char(*only) || kind == Kind::Negation {
            0.0
        } else {
            0.5
        };
        out.push(Term {
            text: only.to_string(),
            kind,
            start: *start,
            weight,
        });
    }
    for pair in run.windows(2) {
        let [(start, first), (_, second)] = pair else {
            continue;
        };
        if words::negates(*first) {
            out.push(Term {
                text: first.to_string(),
                kind: Kind::Negation,
                start: *start,
                weight: 0.0,
            });
        }
        let stops =
            usize::from(words::is_stop_char(*first)) + usize::from(words::is_stop_char(*second));
        let weight = [0.6, 0.15, 0.0].get(stops).copied().unwrap_or(0.0);
        out.push(Term {
            text: format!("{first}{second}"),
            kind: Kind::Han,
            start: *start,
            weight,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Vec<String> {
        terms(text)
            .into_iter()
            .filter(Term::is_content)
            .map(|term| term.text)
            .collect()
    }

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(content("1,000"), content("１０００"));
        assert_eq!(content("fifteen"), content("十五"));
        assert_eq!(content("3 million"), content("3,000,000"));
        assert_eq!(content("3万"), content("30000"));
    }

    #[test]
    fn words_are_stemmed_and_stop_words_do_not_count() {
        assert_eq!(
            content("the refunds are returned"),
            content("a refund returns")
        );
    }

    #[test]
    fn chinese_is_cut_into_pairs() {
        assert_eq!(content("退款期限"), ["退款", "款期", "期限"]);
        assert_eq!(content("第三章"), ["第", "3", "章"]);
    }
}
