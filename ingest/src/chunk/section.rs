use super::atom::{Atom, atoms};
use super::tokens::Tokens;
use crate::parse::Parsed;
use std::ops::Range;

/// A heading, or several in a row, with the text up to the next one.
#[derive(Debug)]
pub(crate) struct Section {
    /// The headings above its text, its own included, outermost first.
    pub(crate) path: Vec<String>,
    pub(crate) atoms: Vec<Atom>,
    /// The level of its first heading; 0 for text before any.
    level: u8,
}

/// A section's part of the text.
struct Part {
    range: Range<usize>,
    path: Vec<String>,
    level: u8,
    headings: Vec<Range<usize>>,
}

/// The sections of `parsed` in order, tiny ones joined with what follows.
pub(crate) fn sections(parsed: &Parsed, tokens: &dyn Tokens, limit: usize) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for part in parts(parsed) {
        let atoms = atoms(&parsed.text, part.range, &part.headings, tokens, limit);
        let section = Section {
            path: part.path,
            atoms,
            level: part.level,
        };
        match sections
            .last_mut()
            .filter(|before| is_joined(before, &section, limit))
        {
            Some(before) => before.atoms.extend(section.atoms),
            None if section.atoms.is_empty() => {}
            None => sections.push(section),
        }
    }
    sections
}

/// Whether `next` goes into the same section as `before`: that one is tiny, and `next` is not above it.
fn is_joined(before: &Section, next: &Section, limit: usize) -> bool {
    let size = |section: &Section| section.atoms.iter().map(|atom| atom.tokens).sum::<usize>();
    size(before) < limit / 8 && next.level >= before.level && size(before) + size(next) <= limit
}

/// The text cut before each heading that follows other text.
fn parts(parsed: &Parsed) -> Vec<Part> {
    let mut parts = vec![Part {
        range: 0..parsed.text.len(),
        path: Vec::new(),
        level: 0,
        headings: Vec::new(),
    }];
    let mut above: Vec<(u8, &str)> = Vec::new();
    for heading in &parsed.headings {
        above.retain(|(level, _)| *level < heading.level);
        above.push((heading.level, &heading.text));
        let path = above.iter().map(|(_, text)| (*text).to_owned()).collect();
        let line = heading.offset..heading.offset + heading.text.len();
        let Some(last) = parts.last_mut() else {
            continue;
        };
        let body = last
            .headings
            .last()
            .map_or(last.range.start, |heading| heading.end);
        let is_bare = parsed
            .text
            .get(body..heading.offset)
            .is_none_or(|text| text.trim().is_empty());
        if is_bare {
            last.path = path;
            last.headings.push(line);
            last.level = if last.headings.len() == 1 {
                heading.level
            } else {
                last.level
            };
        } else {
            last.range.end = heading.offset;
            parts.push(Part {
                range: heading.offset..parsed.text.len(),
                path,
                level: heading.level,
                headings: vec![line],
            });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::WordTokens;
    use crate::chunk::atom::Kind;
    use crate::parse::Heading;
    use lore_types::DocumentFormat;

    #[test]
    fn headings_go_with_the_text_below_them() {
        let text = "Intro words here\n\nTop\n\nSub\n\none two\n\nNext\n\nthree";
        let headings = [("Top", 1), ("Sub", 2), ("Next", 2)].map(|(text_of, level)| Heading {
            offset: text.find(text_of).expect("it is there"),
            level,
            text: text_of.to_owned(),
        });
        let parsed = Parsed {
            text: text.to_owned(),
            format: DocumentFormat::Text,
            title: None,
            language: None,
            pages: Vec::new(),
            headings: headings.to_vec(),
            warnings: Vec::new(),
        };
        let sections = sections(&parsed, &WordTokens, 8);
        let paths: Vec<String> = sections
            .iter()
            .map(|section| section.path.join(">"))
            .collect();
        assert_eq!(paths, ["", "Top>Sub", "Top>Next"]);
        let is_bare =
            |section: &Section| section.atoms.iter().all(|atom| atom.kind == Kind::Heading);
        assert!(!sections.iter().any(is_bare));
    }
}
