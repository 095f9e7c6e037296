use super::xml::Element;
use std::collections::{HashMap, HashSet};

/// Levels that a list can have.
const LEVELS: usize = 9;

/// The lists of a document, and how far each has counted.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    kinds: HashMap<String, Vec<Level>>,
    lists: HashMap<String, List>,
    /// By kind of list: the last number of each level.
    counted: HashMap<String, [Option<u64>; LEVELS]>,
    begun: HashSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Level {
    format: String,
    /// The marker with `%1` for the number of the first level, and so on.
    pattern: String,
    start: u64,
    style: Option<String>,
}

#[derive(Debug, Default)]
struct List {
    kind: String,
    /// Levels that start anew in this list.
    starts: Vec<(usize, u64)>,
    /// Levels that look different in this list.
    levels: Vec<(usize, Level)>,
}

impl Numbering {
    /// Reads `numbering.xml`.
    pub(crate) fn read(root: &Element) -> Self {
        let mut numbering = Self::default();
        for element in root.elements() {
            match element.name.as_str() {
                "w:abstractNum" => {
                    let mut levels = vec![Level::default(); LEVELS];
                    for (place, level) in element
                        .elements()
                        .filter(|child| child.name == "w:lvl")
                        .filter_map(numbered_level)
                    {
                        levels[place] = level;
                    }
                    numbering.kinds.insert(
                        element
                            .attribute("abstractNumId")
                            .unwrap_or_default()
                            .to_owned(),
                        levels,
                    );
                }
                "w:num" => {
                    numbering.lists.insert(
                        element.attribute("numId").unwrap_or_default().to_owned(),
                        list(element),
                    );
                }
                _ => {}
            }
        }
        numbering
    }

    /// The level of the list `id` that belongs to a paragraph style.
    pub(crate) fn level_of_style(&self, id: &str, style: Option<&str>) -> Option<usize> {
        let levels = self.kinds.get(&self.lists.get(id)?.kind)?;
        levels
            .iter()
            .position(|level| level.style.is_some() && level.style.as_deref() == style)
    }

    /// Counts one item of the list `id` at `level` (from 0): what stands before its text, empty for none. `None` without such a list.
    pub(crate) fn next(&mut self, id: &str, level: usize) -> Option<String> {
        let level = level.min(LEVELS - 1);
        let list = self.lists.get(id)?;
        let kind = self.kinds.get(&list.kind)?;
        let shape = |place: usize| {
            list.levels
                .iter()
                .find(|(own, _)| *own == place)
                .map(|(_, level)| level)
                .or_else(|| kind.get(place))
        };
        let counted = self.counted.entry(list.kind.clone()).or_default();
        if self.begun.insert(id.to_owned()) {
            for (place, start) in &list.starts {
                counted[*place] = start.checked_sub(1).or(Some(0));
                counted
                    .iter_mut()
                    .skip(place + 1)
                    .for_each(|deeper| *deeper = None);
            }
        }
        let start = shape(level).map_or(1, |level| level.start);
        counted[level] = Some(counted[level].map_or(start, |last| last.saturating_add(1)));
        counted
            .iter_mut()
            .skip(level + 1)
            .for_each(|deeper| *deeper = None);
        let marker = shape(level)?;
        Some(match marker.format.as_str() {
            "bullet" => "-".to_owned(),
            "none" => String::new(),
            _ => fill(&marker.pattern, &|place| {
                let format = shape(place).map_or("decimal", |level| level.format.as_str());
                number(counted.get(place).copied().flatten().unwrap_or(1), format)
            }),
        })
    }
}

fn numbered_level(element: &Element) -> Option<(usize, Level)> {
    let place: usize = element
        .attribute("ilvl")?
        .parse()
        .ok()
        .filter(|place| *place < LEVELS)?;
    let level = Level {
        format: element.value("w:numFmt").unwrap_or("decimal").to_owned(),
        pattern: element.value("w:lvlText").unwrap_or_default().to_owned(),
        start: element
            .value("w:start")
            .and_then(|start| start.parse().ok())
            .unwrap_or(1),
        style: element.value("w:pStyle").map(str::to_owned),
    };
    Some((place, level))
}

fn list(element: &Element) -> List {
    let mut list = List {
        kind: element
            .value("w:abstractNumId")
            .unwrap_or_default()
            .to_owned(),
        ..List::default()
    };
    for own in element
        .elements()
        .filter(|child| child.name == "w:lvlOverride")
    {
        let place = own
            .attribute("ilvl")
            .and_then(|place| place.parse().ok())
            .filter(|place| *place < LEVELS);
        let start = own
            .value("w:startOverride")
            .and_then(|start| start.parse().ok());
        list.starts.extend(place.zip(start));
        list.levels
            .extend(own.child("w:lvl").and_then(numbered_level));
    }
    list
}

/// `pattern` with `%n` replaced by the number of level n (from 1).
fn fill(pattern: &str, number_at: &dyn Fn(usize) -> String) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match chars
            .peek()
            .and_then(|next| next.to_digit(10))
            .filter(|_| c == '%')
        {
            Some(digit) if digit > 0 => {
                chars.next();
                out.push_str(&number_at(digit as usize - 1));
            }
            _ => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// `value` written in one of Word's number formats; those without a rule here are written in digits.
fn number(value: u64, format: &str) -> String {
    match format {
        "lowerLetter" => letters(value, b'a'),
        "upperLetter" => letters(value, b'A'),
        "lowerRoman" => roman(value).to_lowercase(),
        "upperRoman" => roman(value),
        "decimalZero" => format!("{value:02}"),
        "chineseCounting"
        | "chineseCountingThousand"
        | "ideographDigital"
        | "japaneseCounting"
        | "taiwaneseCountingThousand"
        | "taiwaneseCounting"
        | "chineseLegalSimplified" => chinese(value),
        _ => value.to_string(),
    }
}

/// a, b, … z, aa, bb, …
fn letters(value: u64, first: u8) -> String {
    let Some(place) = value.checked_sub(1) else {
        return "0".to_owned();
    };
    let letter = char::from(first + u8::try_from(place % 26).unwrap_or(0));
    std::iter::repeat_n(letter, usize::try_from(place / 26).unwrap_or(0).min(20) + 1).collect()
}

fn roman(value: u64) -> String {
    const STEPS: [(u64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if value == 0 || value > 4999 {
        return value.to_string();
    }
    let mut left = value;
    let mut out = String::new();
    for (step, digits) in STEPS {
        while left >= step {
            out.push_str(digits);
            left -= step;
        }
    }
    out
}

/// Chinese numerals below 100.
fn chinese(value: u64) -> String {
    const DIGITS: [&str; 10] = ["", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
    let digit = |value: u64| {
        usize::try_from(value)
            .ok()
            .and_then(|place| DIGITS.get(place))
            .copied()
            .unwrap_or_default()
    };
    match value {
        1..=9 => digit(value).to_owned(),
        10..=19 => format!("十{}", digit(value - 10)),
        20..=99 => format!("{}十{}", digit(value / 10), digit(value % 10)),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_words_formats() {
        for (value, format, expected) in [
            (28, "lowerLetter", "bb"),
            (4, "upperRoman", "IV"),
            (7, "decimalZero", "07"),
            (21, "chineseCounting", "二十一"),
            (3, "unknown", "3"),
        ] {
            assert_eq!(number(value, format), expected);
        }
    }
}
