//! Bytes → text: byte order marks, declarations, UTF-16 and UTF-32 without a mark, then statistics.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes that the statistics look at.
const SAMPLE: usize = 1 << 20;

/// Reads the four bytes of a UTF-32 character in one of the two orders.
type ReadWord = fn([u8; 4]) -> u32;

/// Text, and how it was found in the bytes.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The text; bytes that fit no character are U+FFFD.
    pub(crate) text: String,
    /// The encoding's name.
    pub(crate) encoding: &'static str,
}

impl Decoded {
    /// Number of characters that could not be read.
    pub(crate) fn unreadable(&self) -> usize {
        self.text
            .chars()
            .filter(|c| *c == char::REPLACEMENT_CHARACTER)
            .count()
    }

    /// A warning where some bytes fit no character.
    pub(crate) fn warning(&self) -> Option<String> {
        let count = self.unreadable();
        (count > 0).then(|| format!("{count} characters could not be read as {}", self.encoding))
    }
}

/// The text of `bytes`. `label` is the encoding that the document or its sender names, trusted only where it fits.
pub(crate) fn decode(bytes: &[u8], label: Option<&str>) -> Decoded {
    marked(bytes)
        .or_else(|| escaped(bytes))
        .or_else(|| wide(bytes))
        .or_else(|| utf8(bytes))
        .or_else(|| labelled(bytes, label))
        .unwrap_or_else(|| guessed(bytes, label))
}

/// What a byte order mark says.
fn marked(bytes: &[u8]) -> Option<Decoded> {
    if let Some(rest) = bytes.strip_prefix(&[0xFF, 0xFE, 0, 0]) {
        return Some(utf32(rest, u32::from_le_bytes, "UTF-32LE"));
    }
    if let Some(rest) = bytes.strip_prefix(&[0, 0, 0xFE, 0xFF]) {
        return Some(utf32(rest, u32::from_be_bytes, "UTF-32BE"));
    }
    let (encoding, length) = Encoding::for_bom(bytes)?;
    bytes.get(length..).map(|rest| with(encoding, rest))
}

/// ISO-2022-JP, whose bytes are all ASCII: escape sequences switch its alphabets.
fn escaped(bytes: &[u8]) -> Option<Decoded> {
    let switches = bytes.windows(2).any(|pair| pair == b"\x1B$");
    let decoded = (switches && bytes.is_ascii()).then(|| with(ISO_2022_JP, bytes))?;
    (decoded.unreadable() == 0).then_some(decoded)
}

/// UTF-32 and UTF-16 without a mark.
fn wide(bytes: &[u8]) -> Option<Decoded> {
    if let Some(decoded) = wide_32(bytes) {
        return Some(decoded);
    }
    // An odd byte at the end is a cut file, not another encoding.
    let sample = bytes
        .get(..bytes.len().min(4096) & !1)
        .filter(|sample| sample.len() >= 2)?;
    if sample.len() < 4 && !sample.contains(&0) {
        return None;
    }
    [UTF_16LE, UTF_16BE]
        .into_iter()
        .find(|encoding| is_likely_utf16(sample, encoding))
        .map(|encoding| with(encoding, bytes))
}

fn wide_32(bytes: &[u8]) -> Option<Decoded> {
    let sample = bytes
        .get(..bytes.len().min(4096) & !3)
        .filter(|sample| sample.len() >= 8)?;
    let reads: [(ReadWord, &str); 2] = [
        (u32::from_le_bytes, "UTF-32LE"),
        (u32::from_be_bytes, "UTF-32BE"),
    ];
    for (read, name) in reads {
        let fits = |unit: &[u8]| {
            unit.try_into()
                .is_ok_and(|unit| matches!(read(unit), 9..=0x10_FFFF))
        };
        if sample.chunks_exact(4).all(fits) {
            return Some(utf32(bytes, read, name));
        }
    }
    None
}

/// Whether nearly all of `sample`, read as UTF-16, is ordinary text: ASCII, or one of the wide scripts with its own marks.
fn is_likely_utf16(sample: &[u8], encoding: &'static Encoding) -> bool {
    if std::str::from_utf8(sample).is_ok() && !sample.contains(&0) {
        return false;
    }
    let (text, _) = encoding.decode_without_bom_handling(sample);
    let total = text.chars().count();
    let count = |test: fn(char) -> bool| text.chars().filter(|c| test(*c)).count();
    let basic = count(|c| matches!(c, ' '..='~' | '\n' | '\r' | '\t'));
    let han = count(
        |c| matches!(c, '\u{4E00}'..='\u{9FA5}' | '\u{3000}'..='\u{30FF}' | '\u{FF00}'..='\u{FFEF}'),
    );
    let hangul = count(|c| matches!(c, '\u{AC00}'..='\u{D7A3}'));
    let alphabets = count(|c| matches!(c, '\u{A0}'..='\u{6FF}' | '\u{2010}'..='\u{2030}'));
    let script = if sample.contains(&0) {
        alphabets + hangul.max(han)
    } else {
        hangul.max(han)
    };
    basic > 0 && (basic + script) * 20 >= total * 19
}

fn utf32(bytes: &[u8], read: ReadWord, encoding: &'static str) -> Decoded {
    let units = bytes.chunks(4).map(|unit| unit.try_into().ok().map(read));
    let text = units
        .map(|unit| {
            unit.and_then(char::from_u32)
                .unwrap_or(char::REPLACEMENT_CHARACTER)
        })
        .collect();
    Decoded { text, encoding }
}

/// UTF-8, where every byte fits, or nearly every one of a text that has more than ASCII in it.
fn utf8(bytes: &[u8]) -> Option<Decoded> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(Decoded {
            text: text.to_owned(),
            encoding: "UTF-8",
        });
    }
    let decoded = with(UTF_8, bytes);
    let wide = decoded
        .text
        .chars()
        .filter(|c| !c.is_ascii() && *c != char::REPLACEMENT_CHARACTER)
        .count();
    (decoded.unreadable() * 50 < wide).then_some(decoded)
}

/// What the document says of itself, where all of it fits.
fn labelled(bytes: &[u8], label: Option<&str>) -> Option<Decoded> {
    let encoding = Encoding::for_label(label?.trim().as_bytes())?;
    // A page that can be read byte by byte so far is not UTF-16, whatever it says.
    if encoding == UTF_16LE || encoding == UTF_16BE || encoding == UTF_8 {
        return None;
    }
    let (text, failed) = encoding.decode_without_bom_handling(bytes);
    let controls = text.chars().any(|c| matches!(c, '\u{80}'..='\u{9F}'));
    (!failed && !controls).then(|| Decoded {
        text: text.into_owned(),
        encoding: encoding.name(),
    })
}

/// What the statistics of the bytes say; the label wins where it reads them with fewer faults.
fn guessed(bytes: &[u8], label: Option<&str>) -> Decoded {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
    detector.feed(sample, true);
    let guess = with(detector.guess(None, Utf8Detection::Allow), bytes);
    let named = label
        .and_then(|label| Encoding::for_label(label.trim().as_bytes()))
        .map(|encoding| with(encoding, bytes));
    match named {
        Some(named) if named.unreadable() < guess.unreadable() => named,
        _ => guess,
    }
}

fn with(encoding: &'static Encoding, bytes: &[u8]) -> Decoded {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    Decoded {
        text: text.into_owned(),
        encoding: encoding.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHINESE: &str =
        "员工手册规定，年假为十五天，病假需要医生证明。加班须经主管批准，\n并在次月内调休。";
    const JAPANESE: &str =
        "社員は年に十五日の有給休暇を取得できます。病気の場合は診断書が必要です。";
    const KOREAN: &str =
        "직원은 일 년에 십오 일의 연차 휴가를 사용할 수 있습니다. 병가는 진단서가 필요합니다.";
    const CZECH: &str =
        "Zaměstnanci mají nárok na pětadvacet dní dovolené, žádost musí schválit přímý nadřízený.";
    const RUSSIAN: &str = "Сотрудники имеют право на двадцать восемь дней отпуска в году.";
    const TRADITIONAL: &str =
        "員工手冊規定，年假為十五天，病假需要醫生證明。加班須經主管批准，並在次月內調休。";

    fn encoded(text: &str, label: &str) -> Vec<u8> {
        let encoding = Encoding::for_label(label.as_bytes()).expect("a known label");
        encoding.encode(text).0.into_owned()
    }

    #[test]
    fn legacy_encodings_are_told_from_their_bytes() {
        for (text, label) in [
            (CHINESE, "gb18030"),
            (TRADITIONAL, "big5"),
            (JAPANESE, "shift_jis"),
            (JAPANESE, "euc-jp"),
            (JAPANESE, "iso-2022-jp"),
            (KOREAN, "euc-kr"),
            (CZECH, "windows-1250"),
            (RUSSIAN, "windows-1251"),
            (RUSSIAN, "koi8-r"),
            ("Das Büro schließt um sechs, café à côté.", "windows-1252"),
        ] {
            assert_eq!(decode(&encoded(text, label), None).text, text, "{label}");
        }
    }

    #[test]
    fn wide_encodings_are_told_with_and_without_a_mark() {
        for text in [
            "Plain English text, line one.\nLine two.",
            CHINESE,
            KOREAN,
            RUSSIAN,
        ] {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            let words: Vec<u8> = text
                .chars()
                .flat_map(|c| u32::from(c).to_le_bytes())
                .collect();
            for bytes in [&little, &big, &words] {
                assert_eq!(decode(bytes, None).text, text);
            }
            assert_eq!(
                decode(&[&[0xFF, 0xFE], little.as_slice()].concat(), None).text,
                text
            );
        }
    }

    #[test]
    fn a_label_is_trusted_only_where_it_fits() {
        assert_eq!(
            decode(&encoded(RUSSIAN, "koi8-r"), Some("koi8-r")).text,
            RUSSIAN
        );
        assert_eq!(decode(CHINESE.as_bytes(), Some("gb2312")).text, CHINESE);
        assert_eq!(
            decode(&encoded(CHINESE, "gb18030"), Some("utf-8")).text,
            CHINESE
        );
    }

    #[test]
    fn one_broken_byte_does_not_change_the_encoding() {
        let mut bytes = CHINESE.repeat(4).into_bytes();
        bytes.push(0xE5);
        let decoded = decode(&bytes, None);
        assert_eq!((decoded.encoding, decoded.unreadable()), ("UTF-8", 1));
        assert!(decoded.warning().is_some());
    }
}
