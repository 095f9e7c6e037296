use std::ops::Range;

/// The positions that the token at `position` sees: itself and those before it, as far back as the window reaches.
pub(crate) fn visible(position: usize, window: Option<usize>) -> Range<usize> {
    let start = window.map_or(0, |window| (position + 1).saturating_sub(window));
    start..position + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_counts_the_token_itself() {
        assert_eq!(visible(5, Some(2)), 4..6);
        assert_eq!(visible(0, Some(2)), 0..1);
        assert_eq!(visible(5, None), 0..6);
    }
}
