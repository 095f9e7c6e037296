/// Counts tokens as the embedder does.
pub trait Tokens {
    /// Number of tokens of `text`, without special tokens and prefix.
    fn count(&self, text: &str) -> usize;

    /// The bytes of each token of `text`, in order, without special tokens and prefix. Ends need not be character borders.
    fn offsets(&self, text: &str) -> Vec<(usize, usize)>;

    /// Tokens that every chunk has besides its text: special tokens and the embedder's prefix.
    fn overhead(&self) -> usize;
}

/// A token for each word between white space, and for each Chinese, Japanese or Korean character: for tests, and for texts that
/// no embedder will read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordTokens;

impl Tokens for WordTokens {
    fn count(&self, text: &str) -> usize {
        self.offsets(text).len()
    }

    fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut open = false;
        for (start, c) in text.char_indices() {
            let end = start + c.len_utf8();
            let wide = matches!(c, '\u{2E80}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..);
            match found.last_mut().filter(|_| open) {
                Some(word) if !wide && !c.is_whitespace() => word.1 = end,
                _ if c.is_whitespace() => open = false,
                _ => {
                    found.push((start, end));
                    open = !wide;
                }
            }
        }
        found
    }

    fn overhead(&self) -> usize {
        2
    }
}
