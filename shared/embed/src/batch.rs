use crate::{embedder::TextKind, fastembed_files::write_ids, tokens::TokenIds};
use std::collections::VecDeque;

/// Padded tokens of one computation. More is slower, for the states no longer fit into the processor's caches: all-MiniLM-L6-v2 took
/// 43 ms of CPU time for a passage of 128 tokens at 1024 tokens together, 52 at 2048, 64 at 8192. And a waiting query
/// cannot interrupt a computation.
pub(crate) const GROUP_TOKENS: usize = 1024;

/// What a computation costs beside its tokens, in tokens: multilingual-e5-small took 3 ms, and 0.13 ms for each token.
const GROUP_COST: usize = 24;

/// Vectors of some texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// Unit vectors, in the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that the model read of each text, special tokens and prefix counted.
    pub tokens: Vec<usize>,
    /// Which texts were too long, so that their end has no part in their vector; ascending.
    pub truncated: Vec<usize>,
}

/// Texts on their way to vectors: grouped by length, so that little is computed on padding.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What the texts are.
    pub(crate) kind: TextKind,
    /// The tokens' ids of each text, as [`write_ids`] writes them.
    texts: Vec<String>,
    groups: VecDeque<Vec<usize>>,
    result: Embeddings,
}

impl Batch {
    /// No texts yet.
    pub(crate) fn new(kind: TextKind) -> Self {
        Self {
            kind,
            texts: Vec::new(),
            groups: VecDeque::new(),
            result: Embeddings::default(),
        }
    }

    /// Number of texts.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Adds a text.
    pub(crate) fn add(&mut self, tokens: &TokenIds) {
        self.result
            .truncated
            .extend(tokens.truncated.then_some(self.texts.len()));
        self.result.tokens.push(tokens.ids.len());
        self.result.vectors.push(Vec::new());
        self.texts.push(write_ids(&tokens.ids));
    }

    /// Groups the texts. `single` puts each into its own group.
    pub(crate) fn form_groups(&mut self, single: bool) {
        self.groups = group(&self.result.tokens, if single { 0 } else { GROUP_TOKENS });
    }

    /// Takes the next group: indices of texts.
    pub(crate) fn next_group(&mut self) -> Option<Vec<usize>> {
        self.groups.pop_front()
    }

    /// The ids of a group's texts.
    pub(crate) fn texts_of(&self, group: &[usize]) -> Vec<&str> {
        group
            .iter()
            .filter_map(|index| self.texts.get(*index).map(String::as_str))
            .collect()
    }

    pub(crate) fn set(&mut self, index: usize, vector: Vec<f32>) {
        if let Some(slot) = self.result.vectors.get_mut(index) {
            *slot = vector;
        }
    }

    pub(crate) fn finish(self) -> Embeddings {
        self.result
    }
}

/// Groups of similar length whose padded size is at most `budget`, or of one text: those that cost least, counting padded tokens
/// and [`GROUP_COST`]. The longest come first, so that what a batch needs most memory for comes at its beginning.
pub(crate) fn group(tokens: &[usize], budget: usize) -> VecDeque<Vec<usize>> {
    let mut order: Vec<(usize, usize)> = tokens.iter().copied().enumerate().collect();
    order.sort_by_key(|(index, tokens)| (std::cmp::Reverse(*tokens), *index));
    let mut rest = order.as_slice();
    let mut groups = VecDeque::new();
    for size in sizes(&order, budget) {
        let (group, tail) = rest.split_at(size);
        groups.push_back(group.iter().map(|(index, _)| *index).collect());
        rest = tail;
    }
    groups
}

/// The sizes of the groups into which texts, the longest first, are cut at the least cost.
fn sizes(order: &[(usize, usize)], budget: usize) -> Vec<usize> {
    // Of the texts from each on: the least cost, and the size of the first group.
    let mut best = vec![(0, 0); order.len() + 1];
    for (first, (_, longest)) in order.iter().enumerate().rev() {
        let fitting = (budget / (*longest).max(1)).clamp(1, order.len() - first);
        best[first] = (1..=fitting)
            .map(|size| (size * longest + GROUP_COST + best[first + size].0, size))
            .min()
            .unwrap_or_default();
    }
    let mut first = 0;
    std::iter::from_fn(|| {
        let size = best.get(first)?.1;
        first += size;
        (size > 0).then_some(size)
    })
    .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_text_once_within_the_budget() {
        let tokens = [5, 900, 12, 300, 300, 2000, 1, 7];
        let groups = group(&tokens, 1024);
        let mut all: Vec<usize> = groups.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..tokens.len()).collect::<Vec<_>>());
        for group in groups.iter().filter(|group| group.len() > 1) {
            let longest = group.iter().map(|i| tokens[*i]).max().unwrap();
            assert!(longest * group.len() <= 1024, "{group:?}");
        }
    }

    #[test]
    fn a_short_text_is_not_padded_to_a_long_one() {
        assert_eq!(
            group(&[60, 250, 245, 58, 240], 1024),
            [vec![1, 2, 4], vec![0, 3]]
        );
        assert_eq!(group(&[20, 18, 25], 1024), [vec![2, 0, 1]]);
    }

    #[test]
    fn a_budget_of_nothing_makes_single_texts() {
        assert_eq!(group(&[3, 9, 4], 0), [vec![1], vec![2], vec![0]]);
        assert!(group(&[], 1024).is_empty());
    }
}
