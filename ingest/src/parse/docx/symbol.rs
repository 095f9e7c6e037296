//! Characters of symbol fonts.

/// Greek letters as the font Symbol places them on the Latin ones, `A` to `Z` and `a` to `z`.
const GREEK_UPPER: &str = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ";
const GREEK_LOWER: &str = "αβχδεφγηιϕκλμνοπθρστυϖωξψζ";

/// The character behind a `w:sym` element, where it has a meaning in text.
pub(crate) fn symbol(font: Option<&str>, code: Option<&str>) -> Option<char> {
    let code = u32::from_str_radix(code?, 16).ok()?;
    let font = font.unwrap_or_default().to_lowercase();
    // Symbol fonts live in the private area from F000 on.
    let place = if (0xF000..=0xF0FF).contains(&code) {
        code - 0xF000
    } else {
        code
    };
    if font.starts_with("symbol") {
        return of_symbol(place);
    }
    if font.starts_with("wingdings") {
        return of_wingdings(place);
    }
    char::from_u32(code).filter(|c| !('\u{E000}'..='\u{F8FF}').contains(c))
}

fn of_symbol(place: u32) -> Option<char> {
    let letter =
        |letters: &str, first: u32| letters.chars().nth(usize::try_from(place - first).ok()?);
    match place {
        0x41..=0x5A => letter(GREEK_UPPER, 0x41),
        0x61..=0x7A => letter(GREEK_LOWER, 0x61),
        0xA3 => Some('≤'),
        0xA5 => Some('∞'),
        0xAC => Some('←'),
        0xAE => Some('→'),
        0xB0 => Some('°'),
        0xB1 => Some('±'),
        0xB3 => Some('≥'),
        0xB4 => Some('×'),
        0xB7 => Some('•'),
        0xB8 => Some('÷'),
        0xB9 => Some('≠'),
        0xBB => Some('≈'),
        0xD6 => Some('√'),
        0xE5 => Some('∑'),
        0xDE => Some('⇒'),
        0x20..=0x40 => char::from_u32(place),
        _ => None,
    }
}

fn of_wingdings(place: u32) -> Option<char> {
    match place {
        0x6C | 0x6E | 0x9F | 0xA7 => Some('•'),
        0x6F | 0x71 | 0x72 | 0xA8 => Some('☐'),
        0xFB | 0x78 | 0xFD => Some('☒'),
        0xFC | 0xFE => Some('☑'),
        0xDF | 0xE7 => Some('←'),
        0xE0 | 0xE8 | 0xF0 => Some('→'),
        0x4A => Some('☺'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_their_meaning() {
        assert_eq!(symbol(Some("Symbol"), Some("F061")), Some('α'));
        assert_eq!(symbol(Some("Symbol"), Some("F05A")), Some('Ζ'));
        assert_eq!(symbol(Some("Wingdings"), Some("F0FC")), Some('☑'));
        assert_eq!(symbol(Some("Arial"), Some("2265")), Some('≥'));
        assert_eq!(symbol(Some("Unknown"), Some("F123")), None);
    }
}
