//! Headings of authors who do not use styles: short bold lines on their own.

use crate::parse::blocks::Block;
use std::collections::HashSet;

/// Characters of the longest line that is taken for a heading.
const LONGEST: usize = 100;

/// Makes headings of the bold lines, where the document has no other and most of its text is not bold.
pub(crate) fn promote(blocks: Vec<Block>, bold: &HashSet<String>) -> Vec<Block> {
    let is_bold = |block: &Block| matches!(block, Block::Paragraph(text) if bold.contains(text));
    let count = blocks.iter().filter(|block| is_bold(block)).count();
    let has_headings = blocks
        .iter()
        .any(|block| matches!(block, Block::Heading { .. }));
    let ends_bold = blocks.last().is_some_and(is_bold);
    if has_headings || count == 0 || count * 2 > blocks.len() || (ends_bold && count == 1) {
        return blocks;
    }
    let promoted = blocks.into_iter().map(|block| match block {
        Block::Paragraph(text) if bold.contains(&text) => Block::Heading { level: 1, text },
        other => other,
    });
    promoted.collect()
}

/// Whether a line reads like a heading: short, with letters, and no sentence.
pub(crate) fn is_like_heading(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let ends = [
        '.', ',', ';', ':', '!', '?', '。', '，', '；', '：', '！', '？',
    ];
    letters >= 2 && text.chars().count() <= LONGEST && !text.contains('\n') && !text.ends_with(ends)
}
