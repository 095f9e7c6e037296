//! Joining the lines of a paragraph.

use super::line::is_wide;
use std::collections::HashSet;

/// The words that stand within lines somewhere in the document, lowercase: they tell a hyphen that belongs to a word from one
/// that only ends a line.
#[derive(Debug, Default)]
pub(crate) struct Words(HashSet<String>);

impl Words {
    /// Notes the words of a line, but for the last one where it is cut.
    pub(crate) fn note(&mut self, line: &str) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.last().is_some_and(|word| ends_cut(word)) {
            words.pop();
        }
        self.0.extend(
            words
                .iter()
                .map(|word| plain(word))
                .filter(|word| word.len() > 2),
        );
    }

    /// Adds `next` to the paragraph `text` so that both read as one.
    pub(crate) fn join(&self, text: &mut String, next: &str) {
        let next = next.trim_start();
        if text.is_empty() || next.is_empty() {
            text.push_str(next);
        } else if ends_cut(text) && next.starts_with(char::is_alphabetic) {
            self.join_word(text, next);
        } else {
            let wide = text.chars().next_back().is_some_and(is_wide)
                && next.chars().next().is_some_and(is_wide);
            if !wide {
                text.push(' ');
            }
            text.push_str(next);
        }
    }

    /// Joins the two halves of a word that was cut at the end of a line.
    fn join_word(&self, text: &mut String, next: &str) {
        let first = text.rsplit(char::is_whitespace).next().unwrap_or_default();
        let second = next.split(char::is_whitespace).next().unwrap_or_default();
        let hard = !text.ends_with('\u{AD}');
        let head = plain(first.trim_end_matches(CUTS));
        let tail = plain(second);
        let with_hyphen = self.0.contains(&format!("{head}-{tail}"));
        let without = self.0.contains(&format!("{head}{tail}"));
        // A capital or a digit starts a word of its own.
        let own_word = next.starts_with(char::is_uppercase)
            || first.contains(|c: char| c.is_ascii_digit())
            || head.chars().count() == 1;
        let keep =
            hard && !without && (with_hyphen || own_word || self.both_are_words(&head, &tail));
        text.truncate(text.trim_end_matches(CUTS).len());
        if keep {
            text.push('-');
        }
        text.push_str(next);
    }

    /// Whether both halves are long words of their own, as in `open-source`, and not a word that is always written as one.
    fn both_are_words(&self, head: &str, tail: &str) -> bool {
        let one_word = CLOSED.contains(&format!("{head}{tail}").as_str());
        !one_word
            && head.len() > 3
            && tail.len() > 3
            && self.0.contains(head)
            && self.0.contains(tail)
    }
}

/// Common words made of two words, written as one.
const CLOSED: [&str; 40] = [
    "furthermore",
    "moreover",
    "however",
    "therefore",
    "whereas",
    "sometimes",
    "something",
    "somewhere",
    "someone",
    "without",
    "within",
    "understand",
    "understanding",
    "overview",
    "overall",
    "another",
    "otherwise",
    "likewise",
    "whenever",
    "wherever",
    "nevertheless",
    "everyone",
    "everything",
    "everywhere",
    "database",
    "software",
    "hardware",
    "framework",
    "network",
    "workshop",
    "feedback",
    "benchmark",
    "background",
    "throughout",
    "outside",
    "timestamp",
    "headquarters",
    "straightforward",
    "afterwards",
    "themselves",
];

/// Hyphens at the end of a line: the common one, the soft one, and PDFium's sign.
const CUTS: [char; 4] = ['-', '\u{AD}', '\u{2010}', '\u{2}'];

/// Whether `text` ends with a letter and a hyphen.
fn ends_cut(text: &str) -> bool {
    let head = text.trim_end_matches(CUTS);
    head.len() < text.len() && head.ends_with(char::is_alphanumeric)
}

/// A word without the marks around it, lowercase.
fn plain(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_words_are_joined_and_hyphenated_ones_stay() {
        let mut words = Words::default();
        words.note("an open source tool for information and well-known cases, self-");
        for (text, next, expected) in [
            ("the infor-", "mation in", "the information in"),
            ("a well-", "known fact", "a well-known fact"),
            ("open-", "source code", "open-source code"),
            ("the Smith-", "Jones law", "the Smith-Jones law"),
            ("exam\u{2}", "ple", "example"),
            ("one", "two", "one two"),
            ("年假", "十五天", "年假十五天"),
            ("pages 3-", "5", "pages 3- 5"),
        ] {
            let mut joined = text.to_owned();
            words.join(&mut joined, next);
            assert_eq!(joined, expected);
        }
    }
}
