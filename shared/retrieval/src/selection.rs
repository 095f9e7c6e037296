//! From fused candidates to the passages that fit: repeated text goes, then the budget is filled.

use lore_types::{Passage, Span};
use std::collections::HashSet;

/// Share of the shorter of two neighbouring chunks above which they say the same. Chunks overlap by an eighth by default,
/// which stays; two versions of a splitter, or a very short last chunk, overlap by more.
const HEAVY_OVERLAP: f32 = 0.5;
/// Share of common word triples above which two texts are the same but for trifles.
const SAME_TEXT: f32 = 0.9;

/// Removes passages that repeat one before them: the same text, apart from space and letter case; the same but for trifles
/// (at least 90 % of the word triples of both); or a chunk of the same document that overlaps by more than half.
///
/// # Guarantees
/// The order stays, the first of a group is kept, and nothing is removed that has a tenth of its own to say.
pub fn without_repetition(passages: Vec<Passage>) -> Vec<Passage> {
    let mut kept: Vec<(Passage, HashSet<u64>)> = Vec::with_capacity(passages.len());
    for passage in passages {
        let shape = shingles(&passage.text);
        if !kept
            .iter()
            .any(|(other, other_shape)| overlaps(other, &passage) || same(other_shape, &shape))
        {
            kept.push((passage, shape));
        }
    }
    kept.into_iter().map(|(passage, _)| passage).collect()
}

fn overlaps(one: &Passage, other: &Passage) -> bool {
    if (one.document_id, one.version) != (other.document_id, other.version) {
        return false;
    }
    let common = Span::new(
        one.span.start.max(other.span.start),
        one.span.end.min(other.span.end),
    )
    .len();
    let shorter = one.span.len().min(other.span.len()).max(1);
    common as f32 / shorter as f32 > HEAVY_OVERLAP
}

fn same(one: &HashSet<u64>, other: &HashSet<u64>) -> bool {
    let common = one.intersection(other).count();
    common as f32 >= SAME_TEXT * one.len().max(other.len()).max(1) as f32
}

/// Hashes of every three words (or Chinese characters) in a row; of all of them where there are fewer.
fn shingles(text: &str) -> HashSet<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use unicode_segmentation::UnicodeSegmentation;
    let words: Vec<String> = text.unicode_words().map(str::to_lowercase).collect();
    let hash = |part: &[String]| {
        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        hasher.finish()
    };
    if words.len() < 3 {
        HashSet::from([hash(&words)])
    } else {
        words.windows(3).map(hash).collect()
    }
}

/// What [`pack`] chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The passages that fit, in the order they came.
    pub passages: Vec<Passage>,
    /// How many were left out because they did not fit.
    pub left_out: usize,
    /// Tokens of those that fit.
    pub tokens: usize,
}

/// Fills `budget` tokens with passages, best first; `count` gives the tokens of one passage as it stands in the prompt.
/// One that does not fit is left out, and the ones after it may still fit.
///
/// # Guarantees
/// The order stays; `tokens <= budget`; at most `limit` passages.
pub fn pack(
    passages: Vec<Passage>,
    budget: usize,
    limit: usize,
    mut count: impl FnMut(&Passage) -> usize,
) -> Packed {
    let mut packed = Packed {
        passages: Vec::new(),
        left_out: 0,
        tokens: 0,
    };
    for passage in passages {
        let tokens = if packed.passages.len() < limit {
            count(&passage)
        } else {
            usize::MAX
        };
        match packed
            .tokens
            .checked_add(tokens)
            .filter(|total| *total <= budget)
        {
            Some(total) => {
                packed.tokens = total;
                packed.passages.push(passage);
            }
            None => packed.left_out += 1,
        }
    }
    packed
}
