//! Numbers as one spelling: `1,000`, `１０００`, `1 thousand`, `一千` and `1000.0` are the same number.

/// The value of an English number word from two to ninety; `one` is left out because it is mostly a pronoun.
pub(crate) fn english(word: &str) -> Option<f64> {
    const WORDS: [&str; 28] = [
        "zero",
        "",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "thirty",
        "forty",
        "fifty",
        "sixty",
        "seventy",
        "eighty",
        "ninety",
    ];
    let place = WORDS
        .iter()
        .position(|known| !known.is_empty() && *known == word)?;
    Some(if place <= 20 {
        place as f64
    } else {
        (place - 18) as f64 * 10.0
    })
}

/// What a word multiplies the number before it by.
pub(crate) fn magnitude(word: &str) -> Option<f64> {
    match word {
        "hundred" | "百" => Some(1e2),
        "thousand" | "千" => Some(1e3),
        "万" => Some(1e4),
        "million" => Some(1e6),
        "亿" => Some(1e8),
        "billion" => Some(1e9),
        "trillion" => Some(1e12),
        _ => None,
    }
}

/// The number at the start of a word, and how many bytes of the word it takes: `10th` is 10, `15mg` is 15 and a rest.
pub(crate) fn leading(word: &str) -> Option<(f64, usize)> {
    let mut digits = String::new();
    let mut used = 0;
    for (at, c) in word.char_indices() {
        match c {
            '0'..='9' => digits.push(c),
            '０'..='９' => digits.push(char::from(
                b'0' + u8::try_from(c as u32 - '０' as u32).ok()?,
            )),
            '.' if !digits.contains('.') => digits.push('.'),
            ',' | '\'' => {}
            _ => break,
        }
        used = at + c.len_utf8();
    }
    let value = digits.trim_end_matches('.').parse().ok()?;
    Some((value, used))
}

/// One spelling for one value.
pub(crate) fn spelling(value: f64) -> String {
    format!("{value}")
}

/// The value of a run of Chinese numerals (`十五`, `二〇二四`, `三百二`), where it is one.
pub(crate) fn chinese(run: &[char]) -> Option<f64> {
    if run.iter().all(|c| digit(*c).is_some()) {
        return run
            .iter()
            .try_fold(0.0, |value, c| Some(value * 10.0 + digit(*c)?));
    }
    positional(run)
}

fn positional(run: &[char]) -> Option<f64> {
    let (mut total, mut section, mut current) = (0.0, 0.0, None);
    for c in run {
        if let Some(value) = digit(*c) {
            current = Some(value);
        } else {
            let unit = magnitude_of(*c)?;
            if unit >= 1e4 {
                total = (total + section + current.unwrap_or(0.0)).max(1.0) * unit;
                section = 0.0;
            } else {
                section += current.unwrap_or(1.0) * unit;
            }
            current = None;
        }
    }
    Some(total + section + current.unwrap_or(0.0))
}

/// Whether `c` can stand in a Chinese number.
pub(crate) fn is_numeral(c: char) -> bool {
    digit(c).is_some() || magnitude_of(c).is_some()
}

fn digit(c: char) -> Option<f64> {
    let value = match c {
        '零' | '〇' => 0,
        '一' => 1,
        '二' | '两' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    };
    Some(f64::from(value))
}

fn magnitude_of(c: char) -> Option<f64> {
    match c {
        '十' => Some(10.0),
        '百' => Some(1e2),
        '千' => Some(1e3),
        '万' => Some(1e4),
        '亿' => Some(1e8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_numerals_have_their_value() {
        for (text, value) in [
            ("十五", 15.0),
            ("二十", 20.0),
            ("三百零五", 305.0),
            ("二〇二四", 2024.0),
            ("一万二千", 12_000.0),
            ("三亿", 3e8),
        ] {
            assert_eq!(
                chinese(&text.chars().collect::<Vec<_>>()),
                Some(value),
                "{text}"
            );
        }
    }

    #[test]
    fn digits_are_read_up_to_what_is_not_a_number() {
        assert_eq!(leading("10th"), Some((10.0, 2)));
        assert_eq!(leading("1,000.50"), Some((1000.5, 8)));
        assert_eq!(leading("１５"), Some((15.0, 6)));
        assert_eq!(leading("mg"), None);
    }
}
