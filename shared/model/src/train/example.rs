use crate::error::{ModelError, Result};

/// A label that does not count; transformers' `ignore_index`.
pub const IGNORED: i64 = -100;

/// One training sequence: it attends to itself alone, so several can be computed together without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// As many labels, aligned with the tokens as in transformers: the label at `i` is what the token at `i - 1` should
    /// predict; [`IGNORED`] where nothing is learned.
    pub labels: Vec<i64>,
}

impl Example {
    /// An example whose numbers of tokens and labels agree.
    ///
    /// # Errors
    /// When they do not, or a label is neither a token id nor [`IGNORED`].
    pub fn new(tokens: Vec<u32>, labels: Vec<i64>) -> Result<Self> {
        if tokens.is_empty() || tokens.len() != labels.len() {
            return Err(ModelError::Invalid(format!(
                "an example has {} tokens and {} labels",
                tokens.len(),
                labels.len()
            )));
        }
        if let Some(label) = labels
            .iter()
            .find(|label| **label != IGNORED && u32::try_from(**label).is_err())
        {
            return Err(ModelError::Invalid(format!(
                "label {label} is neither a token nor {IGNORED}"
            )));
        }
        Ok(Self { tokens, labels })
    }

    /// Positions that predict, and what: the label of the next token, where it counts.
    pub(super) fn predictions(&self) -> impl Iterator<Item = (u32, u32)> {
        let next = (0u32..).zip(self.labels.iter().skip(1));
        next.filter_map(|(position, label)| Some((position, u32::try_from(*label).ok()?)))
    }
}

/// Labels that count in all examples together: what the loss is divided by.
pub fn targets(examples: &[Example]) -> usize {
    examples
        .iter()
        .map(|example| example.predictions().count())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_decides_what_is_predicted_from_where() {
        for (labels, expected) in [
            (vec![IGNORED, IGNORED, IGNORED], vec![]),
            (vec![5, 6, 7], vec![(0, 6), (1, 7)]),
            (vec![5, IGNORED, 7], vec![(1, 7)]),
            (vec![IGNORED, 6, IGNORED], vec![(0, 6)]),
        ] {
            let example = Example::new(vec![5, 6, 7], labels).expect("an example");
            assert_eq!(example.predictions().collect::<Vec<_>>(), expected);
            assert_eq!(targets(std::slice::from_ref(&example)), expected.len());
        }
    }

    #[test]
    fn labels_that_cannot_be_are_refused() {
        assert!(Example::new(vec![1, 2], vec![1]).is_err());
        assert!(Example::new(vec![1, 2], vec![1, -5]).is_err());
        assert!(Example::new(vec![], vec![]).is_err());
    }
}
