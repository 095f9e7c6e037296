//! Lines from glyphs, and the parts of a line that stand far apart.

use super::beside::joined;
use super::glyph::Glyph;
use super::marker::is_marker;

/// A gap of so many font sizes parts a line into cells.
pub(crate) const CELL_GAP: f32 = 1.5;

/// Characters without a space between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) x0: f32,
    pub(crate) x1: f32,
}

/// Words on one base line, without a wide gap between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) words: Vec<Word>,
}

impl Cell {
    /// Its words in a row.
    pub(crate) fn text(&self) -> String {
        self.words
            .iter()
            .map(|word| word.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Puts a word at its place; letters right behind a number, such as the `th` of 18th, belong to it.
    pub(crate) fn place(&mut self, word: Word) {
        let place = self
            .words
            .iter()
            .take_while(|other| other.x0 < word.x0)
            .count();
        let is_ordinal = matches!(
            word.text.as_str(),
            "th" | "st" | "nd" | "rd" | "er" | "re" | "e" | "o" | "a" | "º" | "ª"
        );
        match place
            .checked_sub(1)
            .and_then(|place| self.words.get_mut(place))
        {
            Some(number) if is_ordinal && number.text.ends_with(|c: char| c.is_ascii_digit()) => {
                number.text.push_str(&word.text);
                number.x1 = number.x1.max(word.x1);
            }
            _ => self.words.insert(place, word),
        }
    }

    pub(crate) fn x0(&self) -> f32 {
        self.words
            .iter()
            .map(|word| word.x0)
            .fold(f32::INFINITY, f32::min)
    }

    pub(crate) fn x1(&self) -> f32 {
        self.words
            .iter()
            .map(|word| word.x1)
            .fold(f32::NEG_INFINITY, f32::max)
    }
}

/// A line of a page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// From left to right (from right to left where the script does).
    pub(crate) cells: Vec<Cell>,
    pub(crate) y0: f32,
    pub(crate) y1: f32,
    /// The size of most of its characters.
    pub(crate) size: f32,
    /// Whether nearly all of its characters are bold.
    pub(crate) bold: bool,
    /// Whether nearly all of its characters have one width.
    pub(crate) mono: bool,
}

impl Line {
    pub(crate) fn x0(&self) -> f32 {
        self.cells
            .iter()
            .map(Cell::x0)
            .fold(f32::INFINITY, f32::min)
    }

    pub(crate) fn x1(&self) -> f32 {
        self.cells
            .iter()
            .map(Cell::x1)
            .fold(f32::NEG_INFINITY, f32::max)
    }

    pub(crate) fn height(&self) -> f32 {
        (self.y1 - self.y0).max(0.1)
    }

    /// Its cells in a row.
    pub(crate) fn text(&self) -> String {
        self.cells
            .iter()
            .map(Cell::text)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The share of the lower line's height, 0..=1, on which both stand.
    pub(crate) fn level_with(&self, other: &Self) -> f32 {
        let shared = self.y1.min(other.y1) - self.y0.max(other.y0);
        (shared / self.height().min(other.height())).max(0.0)
    }
}

/// The lines of glyphs that are in the order of the page's content.
pub(crate) fn lines(glyphs: &[Glyph]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open: Vec<Glyph> = Vec::new();
    for glyph in glyphs {
        let ends = glyph.c == '\n'
            || last_visible(&open).is_some_and(|before| is_elsewhere(before, glyph));
        if ends {
            lines.extend(line(&open));
            open.clear();
        }
        if glyph.c != '\n' {
            open.push(*glyph);
        }
    }
    lines.extend(line(&open));
    joined(lines)
}

fn last_visible(glyphs: &[Glyph]) -> Option<&Glyph> {
    glyphs.iter().rev().find(|glyph| !glyph.c.is_whitespace())
}

/// Whether `next` stands on another base line than `before`, and not below it as in vertical writing.
fn is_elsewhere(before: &Glyph, next: &Glyph) -> bool {
    if next.c.is_whitespace() {
        return false;
    }
    let below = next.x1.min(before.x1) - next.x0.max(before.x0) > 0.7 * (next.x1 - next.x0)
        && (before.y0 - next.y1).abs() < 0.5 * before.size;
    if below && is_wide(before.c) && is_wide(next.c) {
        return false;
    }
    let (small, large) = (before.size.min(next.size), before.size.max(next.size));
    if small > 0.8 * large {
        return (before.y0 - next.y0).abs() > 0.5 * large;
    }
    // Raised and lowered letters stand at least beside a part of the others.
    before.y1.min(next.y1) - before.y0.max(next.y0) < 0.0
}

/// One line from its glyphs.
fn line(glyphs: &[Glyph]) -> Option<Line> {
    let visible: Vec<&Glyph> = glyphs
        .iter()
        .filter(|glyph| !glyph.c.is_whitespace())
        .collect();
    let size = most_frequent(visible.iter().map(|glyph| glyph.size))?;
    let most = visible.len() * 9 / 10;
    let own_size = |glyph: &&&Glyph| (glyph.size - size).abs() < size * 0.2;
    let ys = || visible.iter().filter(own_size);
    Some(Line {
        cells: with_marker(in_order(plain_hyphens(cells(glyphs)), size)),
        y0: ys().map(|glyph| glyph.y0).fold(f32::INFINITY, f32::min),
        y1: ys().map(|glyph| glyph.y1).fold(f32::NEG_INFINITY, f32::max),
        size,
        bold: visible.iter().filter(|glyph| glyph.bold).count() > most,
        mono: visible.iter().filter(|glyph| glyph.mono).count() > most,
    })
    .filter(|line| !line.cells.is_empty())
}

/// The glyphs of a line as words, parted at wide gaps.
fn cells(glyphs: &[Glyph]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let rtl = glyphs.iter().any(|glyph| is_right_to_left(glyph.c));
    let mut before: Option<&Glyph> = None;
    let mut spaced = false;
    for glyph in glyphs {
        if glyph.c.is_whitespace() {
            spaced = true;
            continue;
        }
        let gap = before.map_or(0.0, |before| {
            (glyph.x0 - before.x1).max(before.x0 - glyph.x1)
        });
        let parted =
            !rtl && gap > CELL_GAP * glyph.size.max(before.map_or(0.0, |before| before.size));
        if parted || cells.is_empty() {
            cells.push(Cell::default());
        }
        let is_new = parted
            || (spaced && !is_mark(glyph.c))
            || (rtl && gap > 0.18 * glyph.size && turns(before, glyph));
        if let Some(cell) = cells.last_mut() {
            add(cell, glyph, is_new, is_raised_digit(before, glyph));
        }
        before = Some(glyph);
        spaced = false;
    }
    cells
}

/// The cells with PDFium's sign for a cut word made a hyphen, but at the end of the line.
fn plain_hyphens(mut cells: Vec<Cell>) -> Vec<Cell> {
    let mut words: Vec<&mut Word> = cells
        .iter_mut()
        .flat_map(|cell| &mut cell.words)
        .filter(|word| word.text.contains('\u{2}'))
        .collect();
    if words
        .last()
        .is_some_and(|word| word.text.ends_with('\u{2}') && word.text.chars().count() > 1)
    {
        words.pop();
    }
    words
        .into_iter()
        .for_each(|word| word.text = word.text.replace('\u{2}', "-"));
    cells
}

/// The cells in the order of their places, where some were drawn after what stands right of them.
fn in_order(cells: Vec<Cell>, size: f32) -> Vec<Cell> {
    let mut words: Vec<&Word> = cells.iter().flat_map(|cell| &cell.words).collect();
    let rtl = words
        .iter()
        .any(|word| word.text.chars().any(is_right_to_left));
    let goes_back =
        |pair: &[&Word]| matches!(pair, [before, next] if next.x0 < before.x0 - 0.5 * size);
    if rtl || !words.windows(2).any(goes_back) {
        return cells;
    }
    words.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    let mut sorted: Vec<Cell> = Vec::new();
    for word in words {
        let end = sorted.last().map(Cell::x1);
        match sorted
            .last_mut()
            .zip(end)
            .filter(|(_, end)| word.x0 - end < CELL_GAP * size)
        {
            Some((cell, _)) => cell.place(word.clone()),
            None => sorted.push(Cell {
                words: vec![word.clone()],
            }),
        }
    }
    sorted
}

/// The marker of an item, which often stands far before its text, in one cell with it.
fn with_marker(mut cells: Vec<Cell>) -> Vec<Cell> {
    // The number of a note stands before a long text, that of a row before a short one.
    let is_note = |first: &str, text: &str| {
        first.len() <= 3 && first.bytes().all(|byte| byte.is_ascii_digit()) && text.len() > 40
    };
    let is_item = matches!(
        cells.as_slice(),
        [first, text] if is_marker(&first.text()) || is_note(&first.text(), &text.text())
    );
    if is_item && let Some(text) = cells.pop() {
        cells
            .iter_mut()
            .for_each(|marker| marker.words.extend(text.words.iter().cloned()));
    }
    cells
}

/// Adds a glyph to a cell, as the start of a word or to its last one.
fn add(cell: &mut Cell, glyph: &Glyph, is_new: bool, is_raised: bool) {
    if is_new || cell.words.is_empty() {
        cell.words.push(Word {
            text: String::new(),
            x0: glyph.x0,
            x1: glyph.x1,
        });
    }
    if let Some(word) = cell.words.last_mut() {
        if is_raised {
            word.text.push('^');
        }
        push(&mut word.text, glyph.c);
        word.x0 = word.x0.min(glyph.x0);
        word.x1 = word.x1.max(glyph.x1);
    }
}

/// Whether the direction of writing changes between two characters.
fn turns(before: Option<&Glyph>, next: &Glyph) -> bool {
    before.is_some_and(|before| {
        before.c.is_alphanumeric()
            && next.c.is_alphanumeric()
            && is_right_to_left(before.c) != is_right_to_left(next.c)
    })
}

/// Whether a character is a vowel mark of Hebrew or Arabic, which stands on the letter before it.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{591}'..='\u{5C7}' | '\u{64B}'..='\u{65F}' | '\u{670}')
}

/// Whether a small digit stands raised after another digit: 10⁶ must not become 106.
fn is_raised_digit(before: Option<&Glyph>, glyph: &Glyph) -> bool {
    let is_exponent = glyph.c.is_ascii_digit() || glyph.c == '-' || glyph.c == '−';
    before.is_some_and(|before| {
        is_exponent
            && before.c.is_ascii_digit()
            && glyph.size < before.size * 0.85
            && glyph.y0 > before.y0 + before.size * 0.15
    })
}

/// Adds a character, ligatures as the letters that they are.
fn push(text: &mut String, c: char) {
    match c {
        'ﬀ' => text.push_str("ff"),
        'ﬁ' => text.push_str("fi"),
        'ﬂ' => text.push_str("fl"),
        'ﬃ' => text.push_str("ffi"),
        'ﬄ' => text.push_str("ffl"),
        'ﬅ' | 'ﬆ' => text.push_str("st"),
        _ => text.push(c),
    }
}

/// The most frequent value, to a tenth of a point.
pub(crate) fn most_frequent(values: impl Iterator<Item = f32>) -> Option<f32> {
    let mut counts: std::collections::BTreeMap<i32, usize> = std::collections::BTreeMap::new();
    for value in values {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "font sizes in tenths of a point; absurd ones saturate"
        )]
        let tenths = (value * 10.0).round() as i32;
        *counts.entry(tenths).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(tenths, count)| (*count, *tenths));
    #[expect(clippy::cast_precision_loss, reason = "it was an f32 before")]
    most.map(|(tenths, _)| tenths as f32 / 10.0)
}

/// Whether a script runs from right to left.
pub(crate) fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}')
}

/// Whether a script is written without spaces, in square characters.
pub(crate) fn is_wide(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{303F}' | '\u{3041}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FF65}' | '\u{20000}'..='\u{323AF}')
}
