//! Sentences, as places to cut.

use unicode_segmentation::UnicodeSegmentation;

/// Words that end with a full stop and no sentence with them, lowercase.
const ABBREVIATIONS: &[&str] = &[
    "dr", "mr", "mrs", "ms", "prof", "st", "vs", "etc", "e.g", "i.e", "cf", "fig", "figs", "eq",
    "no", "nos", "vol", "pp", "p", "ch", "sec", "al", "approx", "inc", "ltd", "co", "corp", "jr",
    "sr", "art", "nr", "bzw", "z.b", "d.h", "u.a", "ca", "usw", "abs", "jan", "feb", "mar", "apr",
    "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
];

/// The ends of the sentences of `text`, in bytes, ascending, the last one at its end. Line ends within it are spaces.
pub(crate) fn ends(text: &str) -> Vec<usize> {
    // A space has the length of a line end, so every place stays what it is.
    let line = text.replace('\n', " ");
    let mut ends: Vec<usize> = Vec::new();
    let mut at = 0;
    for sentence in line.split_sentence_bounds() {
        at += sentence.len();
        if !is_open(sentence) {
            ends.push(at);
        }
    }
    if ends.last() != Some(&text.len()) && !text.is_empty() {
        ends.push(text.len());
    }
    ends
}

/// Whether the sentence goes on: it ends with an abbreviation or with somebody's initial.
fn is_open(sentence: &str) -> bool {
    let Some(rest) = sentence.trim_end().strip_suffix('.') else {
        return false;
    };
    let word = rest
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or_default();
    let mut letters = word.chars();
    let initial = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
    initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        let mut start = 0;
        ends(text)
            .into_iter()
            .filter_map(|end| {
                text.get(std::mem::replace(&mut start, end)..end)
                    .map(str::trim)
            })
            .collect()
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        assert_eq!(
            sentences("Dr. J. Smith left (cf. Fig. 3). He\ncame back! Why?"),
            ["Dr. J. Smith left (cf. Fig. 3).", "He\ncame back!", "Why?"]
        );
        assert_eq!(
            sentences("年假十五天。病假呢？需要证明！"),
            ["年假十五天。", "病假呢？", "需要证明！"]
        );
        assert_eq!(
            sentences("Version 1.2 is out. ok"),
            ["Version 1.2 is out. ok"]
        );
    }
}
