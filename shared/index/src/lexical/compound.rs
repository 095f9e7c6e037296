//! Here is a run of letters, digits and joints, give me its words.

use frostem::{Algorithm, Stemmer};
use sha2::{Digest, Sha256};

/// Longer words are replaced by their hash: they are keys and encodings, found as a whole or not at all.
const LONGEST_WORD: usize = 128;
/// Compounds of more parts than this are prose or paths, not names.
const MOST_PARTS: usize = 8;

/// Adds the words of a run: its parts, and the whole where it may be a name, a number or a code.
pub(super) fn compound(run: &[char], words: &mut Vec<String>) {
    let run = without_thousands(run);
    let parts: Vec<&[char]> = run
        .split(|character| is_joint(*character))
        .filter(|part| !part.is_empty())
        .collect();
    if let [part] = parts.as_slice() {
        if part.len() < run.len() {
            words.push(word(&run));
        }
        return piece(part, words);
    }
    if parts
        .iter()
        .all(|part| part.len() == 1 && part[0].is_alphabetic())
    {
        // U.S.A., e.g.
        return words.push(word(&parts.concat()));
    }
    if let Some(at) = run.iter().position(|character| *character == '\'') {
        return apostrophe(&run, at, words);
    }
    if is_name(&run, &parts) {
        words.push(whole(&run));
    }
    words.extend(number(&run).map(word));
    if !is_number(&run) {
        parts.iter().for_each(|part| piece(part, words));
    }
}

/// Adds one part, and what stands on both sides of a change between letters and digits.
fn piece(part: &[char], words: &mut Vec<String>) {
    words.push(word(part));
    let bounds: Vec<usize> = (1..part.len())
        .filter(|at| changes(part[at - 1], part[*at]))
        .collect();
    if bounds.is_empty() || bounds.len() > MOST_PARTS {
        return;
    }
    let starts = std::iter::once(0).chain(bounds.iter().copied());
    let ends = bounds.iter().copied().chain(std::iter::once(part.len()));
    words.extend(starts.zip(ends).map(|(start, end)| word(&part[start..end])));
}

/// Whether a word ends between two characters: `E|1042`, `max|Tokens`.
fn changes(left: char, right: char) -> bool {
    left.is_numeric() != right.is_numeric() || (left.is_lowercase() && right.is_uppercase())
}

/// Whether the whole run may be looked for as one name or code.
fn is_name(run: &[char], parts: &[&[char]]) -> bool {
    let digits = run.iter().any(|character| character.is_numeric());
    let prose = run
        .iter()
        .any(|character| matches!(character, '/' | ':' | ',' | '\''));
    parts.len() <= MOST_PARTS && (digits || !prose)
}

/// Whether the run is one number such as `3.14` or `2.1.3`, whose parts say nothing.
fn is_number(run: &[char]) -> bool {
    run.iter()
        .all(|character| character.is_numeric() || *character == '.')
}

/// The number in `v2.1.3` or `3.5mm`.
fn number(run: &[char]) -> Option<&[char]> {
    let first = run.iter().position(|character| character.is_numeric())?;
    let last = run.iter().rposition(|character| character.is_numeric())?;
    let core = run
        .get(first..=last)
        .filter(|core| core.len() < run.len())?;
    (core.contains(&'.') && is_number(core)).then_some(core)
}

/// A code as one word: hyphens and underscores are often left out, so they do not count.
fn whole(run: &[char]) -> String {
    let kept: Vec<char> = run
        .iter()
        .copied()
        .filter(|character| !matches!(character, '-' | '_'))
        .collect();
    word(&kept)
}

/// What stands before and after an apostrophe: `l'eau` is two words, `Lore's` is `Lore`, `don't` is `dont`.
fn apostrophe(run: &[char], at: usize, words: &mut Vec<String>) {
    let (left, right) = (&run[..at], &run[at + 1..]);
    match right.iter().collect::<String>().to_lowercase().as_str() {
        "s" => compound(left, words),
        "t" | "d" | "m" | "ll" | "re" | "ve" => words.push(word(&[left, right].concat())),
        _ => [left, right]
            .into_iter()
            .for_each(|part| compound(part, words)),
    }
}

/// `1,000,000` as `1000000`; other commas stay.
fn without_thousands(run: &[char]) -> Vec<char> {
    let group = |at: usize| {
        let digits = run[at + 1..]
            .iter()
            .take_while(|character| character.is_ascii_digit())
            .count();
        digits == 3 && at > 0 && run[at - 1].is_ascii_digit()
    };
    run.iter()
        .enumerate()
        .filter(|(at, character)| **character != ',' || !group(*at))
        .map(|(_, character)| *character)
        .collect()
}

fn is_joint(character: char) -> bool {
    !character.is_alphanumeric() && !unicode_normalization::char::is_combining_mark(character)
}

/// A term: lower case, stemmed as English, and hashed where it is too long.
fn word(characters: &[char]) -> String {
    let lower: String = characters
        .iter()
        .flat_map(|character| character.to_lowercase())
        .collect();
    if lower.len() > LONGEST_WORD {
        return Sha256::digest(lower.as_bytes())
            .iter()
            .fold("h:".to_owned(), |hash, byte| format!("{hash}{byte:02x}"));
    }
    Stemmer::new(Algorithm::English).stem(&lower).into_owned()
}
