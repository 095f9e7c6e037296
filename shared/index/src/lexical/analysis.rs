//! Here is a text, give me the terms that BM25 counts. Documents and questions go through the same code.
//!
//! A text is made uniform (NFKC, lower case, no accents) and cut into runs by script. Runs of letters and digits give
//! *words*: English stems, with codes such as `E-1042`, `v2.1.3` or `6ES7-315/2` kept whole beside their parts. Runs of
//! scripts that put no space between words give *grams*: jieba's words for Chinese and pairs of characters for all. A
//! character belongs to one run only, so no term is counted on both sides.

use super::compound::compound;
use jieba_rs::Jieba;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// The terms of a text. No term is empty or holds a space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// From scripts that separate words, in order, repetitions included.
    pub(crate) words: Vec<String>,
    /// From scripts that do not, likewise.
    pub(crate) grams: Vec<String>,
}

/// How a character takes part in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Belongs to a word.
    Letter,
    /// Joins two letters to one word, and separates otherwise.
    Joint,
    /// Chinese characters, and the Japanese and Korean use of them.
    Han,
    /// Other scripts without spaces between words.
    Unspaced,
    /// Separates.
    Other,
}

/// Cuts a text into its terms.
pub(crate) fn analyse(text: &str) -> Terms {
    let text: Vec<char> = text.nfkc().flat_map(fold).collect();
    let mut terms = Terms::default();
    let mut rest = text.as_slice();
    while let Some(first) = rest.first() {
        let length = run_length(rest, class(*first));
        let (run, after) = rest.split_at(length);
        match class(*first) {
            Class::Letter => compound(run, &mut terms.words),
            Class::Han | Class::Unspaced => grams(run, &mut terms.grams),
            Class::Joint | Class::Other => {}
        }
        rest = after;
    }
    terms
}

/// How many characters from the start make one run.
fn run_length(text: &[char], first: Class) -> usize {
    let belongs = |at: usize| match first {
        Class::Letter => match class(text[at]) {
            Class::Letter => true,
            // A joint counts where a letter follows; `C++` and `C#` keep their ends.
            Class::Joint => {
                text.get(at + 1)
                    .is_some_and(|next| class(*next) == Class::Letter)
                    || ends_name(text, at)
            }
            _ => false,
        },
        Class::Han | Class::Unspaced => matches!(class(text[at]), Class::Han | Class::Unspaced),
        Class::Joint | Class::Other => matches!(class(text[at]), Class::Joint | Class::Other),
    };
    (1..text.len())
        .find(|at| !belongs(*at))
        .unwrap_or(text.len())
}

/// Whether the character is the `#` of `C#` or a `+` of `C++`.
fn ends_name(text: &[char], at: usize) -> bool {
    let plus = text[at] == '+' && (text.get(at + 1) == Some(&'+') || text[at - 1] == '+');
    (text[at] == '#' || plus)
        && text
            .first()
            .is_some_and(|first| first.is_ascii_alphabetic())
        && at <= 2
}

fn class(character: char) -> Class {
    match character {
        '-' | '_' | '.' | '/' | ':' | '@' | '+' | '#' | '&' | ',' | '\'' => Class::Joint,
        '\u{2e80}'..='\u{2fdf}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Class::Han,
        // Kana, Bopomofo, Hangul, Thai and Lao, Tibetan, Burmese, Khmer.
        '\u{3041}'..='\u{3096}'
        | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{31ff}'
        | '\u{1100}'..='\u{11ff}'
        | '\u{ac00}'..='\u{d7ff}'
        | '\u{0e01}'..='\u{0e3a}'
        | '\u{0e40}'..='\u{0e4e}'
        | '\u{0e81}'..='\u{0ece}'
        | '\u{0f40}'..='\u{0fbc}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17d3}' => Class::Unspaced,
        _ if character.is_alphanumeric() || is_combining_mark(character) => Class::Letter,
        _ => Class::Other,
    }
}

/// The character without accents, and other ways to write the same. Letter case stays: it shows where names join words.
fn fold(character: char) -> Vec<char> {
    match character {
        '\u{2018}' | '\u{2019}' | '\u{ff07}' => vec!['\''],
        '\u{2010}'..='\u{2015}' | '\u{2212}' => vec!['-'],
        'ß' => vec!['s', 's'],
        'æ' | 'Æ' => vec!['a', 'e'],
        'œ' | 'Œ' => vec!['o', 'e'],
        'ø' | 'Ø' => vec!['o'],
        'ł' | 'Ł' => vec!['l'],
        'đ' | 'Đ' | 'ð' | 'Ð' => vec!['d'],
        'þ' | 'Þ' => vec!['t', 'h'],
        'ı' => vec!['i'],
        // Soft hyphens, joiners and marks of direction are not seen, so they are not searched for.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' => {
            Vec::new()
        }
        // Accents, and the vowel points of Arabic and Hebrew.
        '\u{300}'..='\u{36f}'
        | '\u{591}'..='\u{5c7}'
        | '\u{640}'
        | '\u{64b}'..='\u{65f}'
        | '\u{670}' => Vec::new(),
        '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{52f}' | '\u{1e00}'..='\u{1fff}' => base(character),
        _ => vec![character],
    }
}

fn base(character: char) -> Vec<char> {
    let mut letters = Vec::new();
    decompose_canonical(character, |part| {
        if !is_combining_mark(part) {
            letters.push(part);
        }
    });
    letters
}

/// The terms of a run of a script without spaces: every Chinese character, every pair of neighbours, and the dictionary's
/// longer words. Words alone miss what is cut differently in text and question; pairs alone miss single characters.
fn grams(run: &[char], terms: &mut Vec<String>) {
    let single = |character: &&char| run.len() == 1 || class(**character) == Class::Han;
    terms.extend(run.iter().filter(single).map(char::to_string));
    terms.extend(run.windows(2).map(|pair| pair.iter().collect::<String>()));
    let chinese = run
        .split(|character| class(*character) != Class::Han)
        .filter(|part| part.len() > 2);
    for part in chinese {
        let text: String = part.iter().collect();
        let words = JIEBA.cut_for_search(&text, true);
        terms.extend(
            words
                .iter()
                .filter(|word| word.word.chars().count() > 2)
                .map(|word| word.word.to_owned()),
        );
    }
}
