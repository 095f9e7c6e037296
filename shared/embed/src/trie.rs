/// A trie over bytes, in three arrays: nodes in order of breadth, so that the children of each lie together.
pub(crate) struct Trie {
    /// Where each node's children begin; those of the next node begin where they end.
    children: Vec<u32>,
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// The value of each node; [`NONE`] where no key ends.
    values: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Trie {
    /// The trie of these keys; the last of equal keys holds.
    pub(crate) fn new(mut keys: Vec<(&[u8], u32)>) -> Self {
        keys.sort(); // equal keys by value, which rises
        let mut trie = Self {
            children: Vec::new(),
            labels: vec![0],
            values: Vec::new(),
        };
        // The keys below each node of one depth.
        let mut level = vec![0..keys.len()];
        let mut depth = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for below in level {
                trie.add(&keys, below, depth, &mut next);
            }
            level = next;
            depth += 1;
        }
        trie.children.push(trie.count());
        trie
    }

    fn count(&self) -> u32 {
        u32::try_from(self.labels.len()).unwrap_or(NONE)
    }

    /// Adds the value and the children of the next node, below which these keys are.
    fn add(
        &mut self,
        keys: &[(&[u8], u32)],
        mut below: std::ops::Range<usize>,
        depth: usize,
        next: &mut Vec<std::ops::Range<usize>>,
    ) {
        let mut value = NONE;
        while let Some((key, ending)) = keys.get(below.start).filter(|_| !below.is_empty())
            && key.len() == depth
        {
            value = *ending;
            below.start += 1;
        }
        self.values.push(value);
        self.children.push(self.count());
        while let Some((key, _)) = keys.get(below.start).filter(|_| !below.is_empty()) {
            let label = key.get(depth);
            let same = keys[below.clone()].partition_point(|(key, _)| key.get(depth) <= label);
            self.labels.extend(label);
            next.push(below.start..below.start + same);
            below.start += same;
        }
    }

    /// The node to which `label` leads.
    fn child(&self, node: usize, label: u8) -> Option<usize> {
        let (from, to) = (*self.children.get(node)?, *self.children.get(node + 1)?);
        let labels = self.labels.get(from as usize..to as usize)?;
        let at = labels.binary_search(&label).ok()?;
        Some(from as usize + at)
    }

    /// The keys with which `text` begins, shortest first: their lengths and values.
    pub(crate) fn prefixes<'a>(
        &'a self,
        text: &'a [u8],
    ) -> impl Iterator<Item = (usize, u32)> + 'a {
        let mut node = Some(0);
        let steps = text.iter().zip(1..).map_while(move |(label, length)| {
            node = self.child(node?, *label);
            node.map(|node| (length, self.values[node]))
        });
        steps.filter(|(_, value)| *value != NONE)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<u32> {
        let mut labels = key.iter();
        let node = labels.try_fold(0, |node, label| self.child(node, *label))?;
        self.values
            .get(node)
            .copied()
            .filter(|value| *value != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_nothing_else() {
        let keys: [&str; 6] = ["b", "abc", "a", "abd", "没有", "没"];
        let trie = Trie::new(keys.iter().map(|key| key.as_bytes()).zip(0..).collect());
        for (key, value) in keys.iter().zip(0..) {
            assert_eq!(trie.get(key.as_bytes()), Some(value), "{key}");
        }
        for absent in ["", "ab", "abcd", "c", "有"] {
            assert_eq!(trie.get(absent.as_bytes()), None, "{absent}");
        }
        assert_eq!(trie.prefixes(b"abdz").collect::<Vec<_>>(), [(1, 2), (3, 3)]);
        assert_eq!(
            trie.prefixes("没有了".as_bytes()).collect::<Vec<_>>(),
            [(3, 5), (6, 4)]
        );
        assert_eq!(trie.prefixes(b"").count(), 0);
    }

    #[test]
    fn the_last_of_equal_keys_holds() {
        let trie = Trie::new(vec![(b"a".as_slice(), 0), (b"a".as_slice(), 7)]);
        assert_eq!(trie.get(b"a"), Some(7));
        assert_eq!(Trie::new(Vec::new()).get(b"a"), None);
    }
}
