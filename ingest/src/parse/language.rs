//! The main language of a text.

use std::collections::BTreeMap;
use whatlang::{Detector, Lang, Script};

/// Characters that are looked at: from the start, the middle and the end.
const SAMPLE: usize = 12_000;
/// Below so many letters an alphabet's language is a guess.
const ENOUGH_LETTERS: usize = 60;
/// A Chinese character says about as much as so many letters.
const HAN_WEIGHT: usize = 3;

/// Letters of a text by script.
#[derive(Default)]
struct Scripts {
    han: usize,
    kana: usize,
    hangul: usize,
    letters: usize,
}

/// The main language of `text`, ISO 639-1, or what the document `declares` (a BCP 47 tag) where the text is too short.
pub(crate) fn language(text: &str, declares: Option<&str>) -> Option<String> {
    let sample = sample(text);
    let scripts = count(&sample);
    if let Some(wide) = wide_script(&scripts) {
        return Some(wide.to_owned());
    }
    let found = Detector::new().detect(&sample);
    let sure = found
        .as_ref()
        .filter(|info| scripts.letters >= ENOUGH_LETTERS && info.is_reliable())
        .and_then(|info| code(info.lang()));
    let latin = found
        .as_ref()
        .is_some_and(|info| info.script() == Script::Latin);
    // In the Latin alphabet small words tell more than the statistics of letters, which a few names can mislead.
    let found_words = latin.then(|| common_words(&sample)).flatten();
    let declared = || declares.and_then(primary);
    let likely = || {
        found
            .as_ref()
            .filter(|info| scripts.letters >= 20 && info.confidence() > 0.5)
            .and_then(|info| code(info.lang()))
    };
    found_words
        .or(sure)
        .map(str::to_owned)
        .or_else(declared)
        .or_else(|| likely().map(str::to_owned))
}

/// The language whose small words a text in the Latin alphabet uses most, where it uses several, and clearly more than others'.
fn common_words(sample: &str) -> Option<&'static str> {
    let mut seen: [BTreeMap<String, usize>; COMMON_WORDS.len()] = Default::default();
    for word in sample
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
    {
        let word = word.to_lowercase();
        for (seen, (_, words)) in seen.iter_mut().zip(COMMON_WORDS) {
            if words.contains(&word.as_str()) {
                *seen.entry(word.clone()).or_default() += 1;
            }
        }
    }
    let count = |place: usize| {
        seen.get(place)
            .map_or(0, |seen| seen.values().sum::<usize>())
    };
    let best = (0..seen.len()).max_by_key(|place| (count(*place), usize::MAX - place))?;
    let second = (0..seen.len())
        .filter(|place| *place != best)
        .map(count)
        .max()
        .unwrap_or(0);
    let several = seen.get(best).is_some_and(|seen| seen.len() >= 2);
    (several && count(best) * 2 > second * 3)
        .then(|| COMMON_WORDS.get(best))
        .flatten()
        .map(|(language, _)| *language)
}

/// Small words that are frequent in a language and rare in its neighbours.
const COMMON_WORDS: [(&str, &[&str]); 17] = [
    (
        "en",
        &[
            "the", "of", "and", "to", "is", "for", "with", "that", "this", "are", "by", "from",
            "be", "may", "an", "not", "it", "you",
        ],
    ),
    (
        "de",
        &[
            "der", "die", "das", "und", "ist", "nicht", "mit", "für", "ein", "eine", "zu", "auf",
            "sich", "bei", "wird", "sind", "den",
        ],
    ),
    (
        "fr",
        &[
            "le", "les", "des", "et", "est", "une", "du", "dans", "pour", "qui", "sur", "pas",
            "au", "avec", "ce", "sont",
        ],
    ),
    (
        "es",
        &[
            "el", "los", "las", "y", "es", "una", "del", "por", "para", "con", "se", "su", "como",
            "más", "está",
        ],
    ),
    (
        "it",
        &[
            "il", "gli", "di", "è", "della", "che", "per", "con", "non", "sono", "dei", "nel",
            "una", "alla",
        ],
    ),
    (
        "pt",
        &[
            "o", "os", "do", "da", "não", "em", "um", "uma", "para", "com", "são", "ao", "dos",
            "das", "é",
        ],
    ),
    (
        "nl",
        &[
            "het", "een", "van", "en", "niet", "met", "voor", "zijn", "op", "te", "aan", "door",
            "wordt", "ook",
        ],
    ),
    (
        "sv",
        &[
            "och", "att", "det", "som", "är", "inte", "för", "på", "med", "av", "till", "ett",
        ],
    ),
    (
        "da",
        &[
            "og", "af", "ikke", "det", "der", "er", "til", "på", "med", "ved", "blev", "også",
        ],
    ),
    (
        "nb",
        &[
            "og", "ikke", "det", "er", "av", "til", "på", "med", "som", "ble", "også", "fra",
        ],
    ),
    (
        "fi",
        &[
            "ja", "on", "ei", "että", "oli", "myös", "tai", "kun", "ovat", "mutta", "joka",
        ],
    ),
    (
        "pl",
        &[
            "i", "w", "nie", "na", "się", "że", "jest", "do", "przez", "oraz", "są", "dla",
        ],
    ),
    (
        "cs",
        &[
            "je", "se", "na", "že", "v", "pro", "jsou", "nebo", "který", "podle", "také", "ve",
        ],
    ),
    (
        "tr",
        &[
            "ve", "bir", "bu", "için", "ile", "olarak", "da", "daha", "olan", "gibi",
        ],
    ),
    (
        "hu",
        &[
            "az", "és", "hogy", "nem", "egy", "is", "vagy", "meg", "volt", "kell",
        ],
    ),
    (
        "ro",
        &[
            "și", "este", "în", "nu", "care", "din", "pentru", "sunt", "cu", "pe",
        ],
    ),
    (
        "id",
        &[
            "yang", "dan", "di", "untuk", "dengan", "ini", "dari", "tidak", "adalah", "pada",
        ],
    ),
];

/// Chinese, Japanese or Korean, where their scripts outweigh the alphabets.
fn wide_script(scripts: &Scripts) -> Option<&'static str> {
    let wide = scripts.han + scripts.kana + scripts.hangul;
    if wide == 0 || wide * HAN_WEIGHT < scripts.letters {
        return None;
    }
    if scripts.hangul * 4 > wide {
        Some("ko")
    } else if scripts.kana * 10 > wide {
        Some("ja")
    } else {
        Some("zh")
    }
}

fn count(sample: &str) -> Scripts {
    let mut scripts = Scripts::default();
    for c in sample.chars() {
        match c {
            '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}' => {
                scripts.han += 1
            }
            '\u{3041}'..='\u{30FF}' | '\u{FF66}'..='\u{FF9D}' => scripts.kana += 1,
            '\u{1100}'..='\u{11FF}' | '\u{AC00}'..='\u{D7A3}' => scripts.hangul += 1,
            c if c.is_alphabetic() => scripts.letters += 1,
            _ => {}
        }
    }
    scripts
}

/// The start, the middle and the end of `text`, without what looks like an address or code.
fn sample(text: &str) -> String {
    let third = SAMPLE / 3;
    let middle = text.floor_char_boundary(text.len() / 2);
    let tail = text.floor_char_boundary(text.len().saturating_sub(third));
    let parts = if text.len() <= SAMPLE * 3 {
        vec![text]
    } else {
        [0, middle, tail]
            .into_iter()
            .filter_map(|start| text.get(start..))
            .collect()
    };
    let is_word = |word: &&str| !word.contains("://") && !word.contains('_') && !word.contains('@');
    let words = parts.iter().flat_map(|part| {
        part.split_whitespace()
            .filter(is_word)
            .scan(third * 4, |left, word| {
                *left = left.checked_sub(word.len() + 1)?;
                Some(word)
            })
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The primary subtag of a BCP 47 tag, where it is ISO 639-1.
fn primary(tag: &str) -> Option<String> {
    let first = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    (first.len() == 2 && first.bytes().all(|b| b.is_ascii_lowercase())).then_some(first)
}

/// ISO 639-1 of a detected language.
fn code(lang: Lang) -> Option<&'static str> {
    TWO_LETTERS
        .iter()
        .find(|(three, _)| *three == lang.code())
        .map(|(_, two)| *two)
}

/// ISO 639-3 → ISO 639-1, for the languages that whatlang knows.
const TWO_LETTERS: &[(&str, &str)] = &[
    ("afr", "af"),
    ("aka", "ak"),
    ("amh", "am"),
    ("ara", "ar"),
    ("aze", "az"),
    ("bel", "be"),
    ("ben", "bn"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("ces", "cs"),
    ("cmn", "zh"),
    ("cym", "cy"),
    ("dan", "da"),
    ("deu", "de"),
    ("ell", "el"),
    ("eng", "en"),
    ("epo", "eo"),
    ("est", "et"),
    ("fin", "fi"),
    ("fra", "fr"),
    ("guj", "gu"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("hye", "hy"),
    ("ind", "id"),
    ("ita", "it"),
    ("jav", "jv"),
    ("jpn", "ja"),
    ("kan", "kn"),
    ("kat", "ka"),
    ("khm", "km"),
    ("kor", "ko"),
    ("lat", "la"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("mal", "ml"),
    ("mar", "mr"),
    ("mkd", "mk"),
    ("mya", "my"),
    ("nep", "ne"),
    ("nld", "nl"),
    ("nob", "nb"),
    ("ori", "or"),
    ("pan", "pa"),
    ("pes", "fa"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron", "ro"),
    ("rus", "ru"),
    ("sin", "si"),
    ("slk", "sk"),
    ("slv", "sl"),
    ("sna", "sn"),
    ("spa", "es"),
    ("srp", "sr"),
    ("swe", "sv"),
    ("tam", "ta"),
    ("tel", "te"),
    ("tgl", "tl"),
    ("tha", "th"),
    ("tuk", "tk"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("urd", "ur"),
    ("uzb", "uz"),
    ("vie", "vi"),
    ("yid", "yi"),
    ("zul", "zu"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told() {
        for (text, expected) in [
            (
                "Employees may take fifteen days of leave a year; sick leave needs a note from a doctor.",
                "en",
            ),
            (
                "Die Beschäftigten haben Anspruch auf fünfzehn Urlaubstage; bei Krankheit ist ein Attest nötig.",
                "de",
            ),
            ("员工每年有十五天年假。", "zh"),
            ("請使用 PostgreSQL 資料庫儲存文件，並透過 API 查詢。", "zh"),
            ("社員は年に十五日の休暇を取得できます。", "ja"),
            ("직원은 일 년에 십오 일의 휴가를 사용할 수 있습니다.", "ko"),
            (
                "يحق للموظفين الحصول على خمسة عشر يوما من الإجازة السنوية في كل عام عمل",
                "ar",
            ),
            (
                "Сотрудники имеют право на пятнадцать дней отпуска каждый год работы в компании.",
                "ru",
            ),
        ] {
            assert_eq!(language(text, None).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_short_text_takes_what_is_declared() {
        assert_eq!(language("OK 42", Some("fr-CA")).as_deref(), Some("fr"));
        assert_eq!(language("OK 42", Some("x-klingon")), None);
    }

    #[test]
    fn every_known_language_has_two_letters_or_none_in_the_standard() {
        let without: Vec<_> = Lang::all()
            .iter()
            .filter(|lang| code(**lang).is_none())
            .map(|lang| lang.code())
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
