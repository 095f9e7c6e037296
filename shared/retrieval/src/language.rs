use unicode_segmentation::UnicodeSegmentation;

/// The language whose rules, examples and fixed sentences Lore uses for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// English, and every language that Lore has no sentences of its own for.
    English,
    /// Chinese, in either script.
    Chinese,
}

impl Language {
    /// The language of `text`: Chinese where Chinese characters are at least half as many as the words of other scripts,
    /// because a Chinese question often names things in Latin letters. Kana tell Japanese apart, which counts as other.
    pub fn of(text: &str) -> Self {
        let han = text.chars().filter(|c| is_han(*c)).count();
        let kana = text.chars().any(|c| matches!(c, '\u{3041}'..='\u{30fa}'));
        let words = text
            .unicode_words()
            .filter(|word| !word.chars().any(is_han))
            .count();
        if han > 0 && !kana && han * 2 >= words {
            Self::Chinese
        } else {
            Self::English
        }
    }
}

/// Whether `c` is a Chinese character.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' | '〇')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chinese_question_with_latin_names_is_chinese() {
        assert_eq!(
            Language::of("GPT-4 的上下文长度是多少？"),
            Language::Chinese
        );
        assert_eq!(
            Language::of("What does 道 mean in this text?"),
            Language::English
        );
        assert_eq!(Language::of("これは何ですか"), Language::English);
        assert_eq!(Language::of(""), Language::English);
    }
}
