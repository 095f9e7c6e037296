//! The characters of a page with their places, turned so that most of the text runs from left to right.

use pdfium_render::prelude::{PdfPageText, PdfPageTextChar, PdfRect};

/// A character and its box in points; y grows upwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Glyph {
    /// `\n` where PDFium ends a line.
    pub(crate) c: char,
    pub(crate) x0: f32,
    pub(crate) x1: f32,
    pub(crate) y0: f32,
    pub(crate) y1: f32,
    /// The font's size as drawn.
    pub(crate) size: f32,
    pub(crate) bold: bool,
    pub(crate) mono: bool,
    /// Quarter turns counterclockwise of its base line, before the page was turned.
    turn: u8,
}

/// The characters of a page.
#[derive(Debug, Default)]
pub(crate) struct PageGlyphs {
    /// By direction, the most frequent one first, each in the order of the page's content.
    pub(crate) runs: Vec<Vec<Glyph>>,
    /// Characters whose font does not say what they mean.
    pub(crate) unmapped: usize,
}

/// Reads the characters of a page that lie in its `visible` part.
pub(crate) fn read(text: &PdfPageText<'_>, visible: Option<PdfRect>) -> PageGlyphs {
    let mut glyphs: Vec<Glyph> = Vec::new();
    let mut unmapped = 0;
    let mut high = None;
    for char in text.chars().iter() {
        match decoded(char.unicode_value(), &mut high) {
            Decoded::Character(c) => {
                let before = glyphs.last().copied();
                let glyph = glyph(&char, c, before);
                glyphs.push(glyph);
            }
            Decoded::Nothing => {}
            Decoded::Unmapped => unmapped += 1,
        }
    }
    let is_shown =
        |glyph: &Glyph| glyph.c == '\n' || visible.is_none_or(|visible| is_inside(glyph, &visible));
    // A page whose visible part holds no text at all has a wrong box rather than hidden text.
    if glyphs
        .iter()
        .any(|glyph| !glyph.c.is_whitespace() && is_shown(glyph))
    {
        glyphs.retain(is_shown);
    }
    order_ligatures(&mut glyphs);
    PageGlyphs {
        runs: by_direction(&glyphs),
        unmapped,
    }
}

/// Whether the middle of a glyph lies in `visible`, give or take a point.
fn is_inside(glyph: &Glyph, visible: &PdfRect) -> bool {
    let (x, y) = (
        f32::midpoint(glyph.x0, glyph.x1),
        f32::midpoint(glyph.y0, glyph.y1),
    );
    (visible.left().value - 1.0..visible.right().value + 1.0).contains(&x)
        && (visible.bottom().value - 1.0..visible.top().value + 1.0).contains(&y)
}

/// Puts the letters of an Arabic ligature in order: PDFium turns what runs from right to left around, these letters included,
/// which share one box.
fn order_ligatures(glyphs: &mut [Glyph]) {
    let is_alef = |c: char| matches!(c, '\u{622}' | '\u{623}' | '\u{625}' | '\u{627}');
    for place in 1..glyphs.len() {
        let (head, tail) = glyphs.split_at_mut(place);
        if let (Some(first), Some(second)) = (head.last_mut(), tail.first_mut())
            && is_alef(first.c)
            && second.c == '\u{644}'
            && (first.x0 - second.x0).abs() < 0.1
        {
            std::mem::swap(&mut first.c, &mut second.c);
        }
    }
}

enum Decoded {
    Character(char),
    /// Half of a pair, or a mark without meaning.
    Nothing,
    Unmapped,
}

/// The character behind a value that may be half of a UTF-16 pair.
fn decoded(value: u32, high: &mut Option<u32>) -> Decoded {
    let first = high.take();
    match value {
        0xD800..=0xDBFF => {
            *high = Some(value);
            Decoded::Nothing
        }
        0xDC00..=0xDFFF => {
            let pair = first.and_then(|first| {
                char::from_u32(0x10000 + ((first - 0xD800) << 10) + (value - 0xDC00))
            });
            pair.map_or(Decoded::Unmapped, Decoded::Character)
        }
        // PDFium's sign for a hyphen at the end of a line.
        2 => Decoded::Character('\u{2}'),
        0xA | 0xD => Decoded::Character('\n'),
        0x9 => Decoded::Character(' '),
        0 | 0xFFFD | 0xFFFE | 0xFFFF => Decoded::Unmapped,
        1..=0x1F | 0x7F..=0x9F => Decoded::Unmapped,
        0xE000..=0xF8FF => private(value).map_or(Decoded::Unmapped, Decoded::Character),
        _ => char::from_u32(value).map_or(Decoded::Unmapped, Decoded::Character),
    }
}

/// What fonts of symbols put into the private area.
fn private(value: u32) -> Option<char> {
    match value {
        0xF0B7 | 0xF0A7 | 0xF06C | 0xF06E | 0xF09F | 0xF076 | 0xF0D8 => Some('•'),
        0xF0E0 | 0xF0E8 | 0xF0AE => Some('→'),
        0xF0FC | 0xF0FE => Some('✓'),
        0xF06F | 0xF0A8 | 0xF071 => Some('☐'),
        0xF020 => Some(' '),
        _ => None,
    }
}

fn glyph(char: &PdfPageTextChar<'_>, c: char, before: Option<Glyph>) -> Glyph {
    let matrix = char.matrix().ok();
    let scale = matrix.map_or(1.0, |matrix| matrix.c().hypot(matrix.d()));
    let size = char.unscaled_font_size().value * if scale > 0.0 { scale } else { 1.0 };
    let bounds = char.loose_bounds().ok();
    let place = bounds.map(|rect| {
        (
            rect.left().value,
            rect.right().value,
            rect.bottom().value,
            rect.top().value,
        )
    });
    let is_space = c.is_whitespace();
    // What PDFium makes up has no look of its own.
    let inherited = before.filter(|_| is_space || c == '\u{2}');
    let word_start =
        before.is_none_or(|before| before.c.is_whitespace() || (before.size - size).abs() > 0.1);
    let (bold, mono) = match before.filter(|_| !word_start) {
        Some(before) => (before.bold, before.mono),
        None if is_space => (false, false),
        None => look(char),
    };
    let (x0, x1, y0, y1) = place
        .or(before.map(|before| (before.x1, before.x1, before.y0, before.y1)))
        .unwrap_or_default();
    let turn = matrix.map_or(0, |matrix| quarter_turns(matrix.a(), matrix.b()));
    Glyph {
        c,
        x0: x0.min(x1),
        x1: x1.max(x0),
        y0: y0.min(y1),
        y1: y1.max(y0),
        size: inherited.map_or(size, |before| before.size).abs().max(0.1),
        bold: inherited.map_or(bold, |before| before.bold),
        mono: inherited.map_or(mono, |before| before.mono),
        turn: inherited.map_or(turn, |before| before.turn),
    }
}

/// Whether a font is bold, and whether all its characters have one width.
fn look(char: &PdfPageTextChar<'_>) -> (bool, bool) {
    let name = char.font_name().to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let bold = has(&["bold", "black", "heavy", "-semib", "demi", "cmbx", "medi"]);
    (
        bold,
        has(&[
            "mono",
            "courier",
            "consol",
            "cmtt",
            "typewriter",
            "menlo",
            "code",
            "fixed",
        ]),
    )
}

fn quarter_turns(a: f32, b: f32) -> u8 {
    if a.abs() >= b.abs() {
        if a >= 0.0 { 0 } else { 2 }
    } else if b > 0.0 {
        1
    } else {
        3
    }
}

/// The glyphs of each direction, turned upright.
fn by_direction(glyphs: &[Glyph]) -> Vec<Vec<Glyph>> {
    let mut runs: Vec<Vec<Glyph>> = (0..4)
        .map(|turn| {
            glyphs
                .iter()
                .filter(|glyph| glyph.turn == turn)
                .map(upright)
                .collect()
        })
        .collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
    runs.retain(|run| run.iter().any(|glyph| !glyph.c.is_whitespace()));
    runs
}

fn upright(glyph: &Glyph) -> Glyph {
    let Glyph { x0, x1, y0, y1, .. } = *glyph;
    let (x0, x1, y0, y1) = match glyph.turn {
        1 => (y0, y1, -x1, -x0),
        2 => (-x1, -x0, -y1, -y0),
        3 => (-y1, -y0, x0, x1),
        _ => (x0, x1, y0, y1),
    };
    Glyph {
        x0,
        x1,
        y0,
        y1,
        ..*glyph
    }
}
