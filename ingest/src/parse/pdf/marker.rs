//! What stands before the items of lists.

/// Signs that mark an item.
const BULLETS: [&str; 25] = [
    "•", "●", "○", "◦", "▪", "■", "□", "‣", "–", "—", "-", "*", "·", "∙", "→", "✓", "➢", "❖", "☐",
    "◆", "➤", "►", "▶", "", "o",
];

/// The marker of an item (`-` for every sign), and the text after it.
pub(crate) fn marker(text: &str) -> Option<(&str, &str)> {
    let (head, rest) = text.trim_start().split_once(' ').unwrap_or((text, ""));
    let shown = if BULLETS.contains(&head) { "-" } else { head };
    (is_marker(head) && !rest.trim().is_empty()).then_some((shown, rest.trim_start()))
}

/// Whether a word is the marker of an item: a sign, `12.`, `3)`, `(4)`, `a)`, `(a)`.
pub(crate) fn is_marker(word: &str) -> bool {
    let core = word.strip_prefix('(').unwrap_or(word);
    let number = core.strip_suffix(['.', ')']).unwrap_or_default();
    let is_letter = number.len() == 1
        && number.bytes().all(|byte| byte.is_ascii_lowercase())
        && word.ends_with(')');
    let is_number =
        (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    BULLETS.contains(&word) || is_letter || is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_told_from_text() {
        assert_eq!(marker("• one two"), Some(("-", "one two")));
        assert_eq!(marker("12. one"), Some(("12.", "one")));
        assert_eq!(marker("(a) one"), Some(("(a)", "one")));
        for text in ["2024. A year", "e.g. this", "I. Roman", "word", "• "] {
            assert_eq!(marker(text), None, "{text}");
        }
    }
}
