//! Markers in what a model wrote: `[1]`, `[1, 2]`, `[1][2]`, `[1-3]`, `【1】`, `［１］`, `[passage 1]`, `[资料1]`.

use crate::sentences::code_spans;

/// Words that models write before the number.
const LABELS: [&str; 14] = [
    "passage", "passages", "source", "sources", "doc", "document", "ref", "citation", "^", "资料",
    "段落", "来源", "文档", "参考",
];

/// Brackets that open a marker.
pub(crate) const OPENING: [char; 4] = ['[', '【', '［', '〔'];
/// Brackets that close one.
pub(crate) const CLOSING: [char; 4] = [']', '】', '］', '〕'];
/// Characters between them at most, the closing one included.
pub(crate) const MARKER_CHARS: usize = 40;

/// A text without its markers, and where they stood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unmarked {
    /// The text without markers.
    pub text: String,
    /// Byte of `text` at which a marker stood, with its number; in order.
    pub marks: Vec<(usize, usize)>,
    /// Numbers that name no passage.
    pub invalid: usize,
}

/// Takes the markers out of `answer`; numbers outside `1..=passages` are counted and dropped. Code is left as it is.
pub(crate) fn unmark(answer: &str, passages: usize) -> Unmarked {
    let code = code_spans(answer);
    let mut out = Unmarked {
        text: String::with_capacity(answer.len()),
        marks: Vec::new(),
        invalid: 0,
    };
    let mut rest = answer;
    while let Some(c) = rest.chars().next() {
        let at = answer.len() - rest.len();
        let found = marker(rest).filter(|_| !code.iter().any(|span| span.range().contains(&at)));
        if let Some((length, numbers)) = found {
            take(&mut out, &numbers, passages);
            rest = rest.get(length..).unwrap_or_default();
        } else {
            out.text.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

fn take(out: &mut Unmarked, numbers: &[usize], passages: usize) {
    // The space before a marker goes with it.
    let kept = out.text.trim_end_matches([' ', '\u{a0}']).len();
    if kept > 0 && !out.text.ends_with('\n') {
        out.text.truncate(kept);
    }
    for number in numbers {
        if (1..=passages).contains(number) {
            out.marks.push((out.text.len(), *number));
        } else {
            out.invalid += 1;
        }
    }
}

/// The marker at the start of `rest`: its length in bytes and its numbers.
fn marker(rest: &str) -> Option<(usize, Vec<usize>)> {
    let open = rest.chars().next().filter(|c| OPENING.contains(c))?;
    let inside = rest.get(open.len_utf8()..)?;
    let close = inside
        .char_indices()
        .take(MARKER_CHARS)
        .find(|(_, c)| CLOSING.contains(c))?;
    let numbers = numbers(inside.get(..close.0)?)?;
    Some((open.len_utf8() + close.0 + close.1.len_utf8(), numbers))
}

/// The numbers between a marker's brackets: at most three digits each, so that `[2024]` stays text.
fn numbers(inside: &str) -> Option<Vec<usize>> {
    let plain: String = inside.chars().map(narrow).collect();
    let mut out = Vec::new();
    for part in plain.split([',', ';', '、', '&']) {
        let part = unlabelled(part);
        match part.split_once(['-', '–', '—']) {
            Some((from, to)) => {
                let (from, to) = (number(from)?, number(to)?);
                (from <= to && to - from < 20).then(|| out.extend(from..=to))?;
            }
            None => out.push(number(part)?),
        }
    }
    Some(out)
}

fn unlabelled(part: &str) -> &str {
    let part = part.trim();
    let lower = part.to_lowercase();
    let label = LABELS
        .iter()
        .filter(|label| lower.starts_with(**label))
        .map(|label| label.len())
        .max();
    let rest = label.and_then(|length| part.get(length..)).unwrap_or(part);
    rest.trim_start_matches([' ', '#', ':', '：'])
        .split('†')
        .next()
        .unwrap_or_default()
        .trim()
}

fn number(text: &str) -> Option<usize> {
    let text = text.trim();
    (1..=3).contains(&text.len()).then_some(())?;
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Full-width characters as their ASCII twins.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_marker_is_read() {
        for (text, numbers) in [
            ("a [1].", vec![1]),
            ("a [1, 2].", vec![1, 2]),
            ("a [1][3].", vec![1, 3]),
            ("a [1-3].", vec![1, 2, 3]),
            ("a【2】.", vec![2]),
            ("a ［３］.", vec![3]),
            ("a [Passage 2].", vec![2]),
            ("a [资料1、3].", vec![1, 3]),
            ("a [^2].", vec![2]),
        ] {
            let unmarked = unmark(text, 3);
            assert_eq!(
                unmarked.marks.iter().map(|mark| mark.1).collect::<Vec<_>>(),
                numbers,
                "{text}"
            );
            assert_eq!(unmarked.text, "a.", "{text}");
        }
    }

    #[test]
    fn a_number_without_a_passage_is_dropped_and_counted() {
        let unmarked = unmark("Yes [7].", 3);
        assert_eq!(
            (
                unmarked.text.as_str(),
                unmarked.invalid,
                unmarked.marks.len()
            ),
            ("Yes.", 1, 0)
        );
    }

    #[test]
    fn code_years_and_words_are_no_markers() {
        for text in ["`a[1]` and [2024] and [sic]", "```\nx[1] = 2\n```"] {
            assert_eq!(unmark(text, 3).text, text);
        }
    }
}
