use super::clean::{one_line, squeeze, verbatim};
use super::error::ParseError;
use super::parsed::Heading;

/// One piece of a document, in reading order: what every parser reduces its format to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// A heading of level 1..=6.
    Heading { level: u8, text: String },
    /// A paragraph; line ends in it are meant.
    Paragraph(String),
    /// A line of a list: nesting from 0, what stands before it (`-`, `3.`, nothing for a continued item), and its text.
    Item {
        depth: usize,
        marker: String,
        text: String,
    },
    /// A row of a table; `first` starts a table.
    Row { first: bool, cells: Vec<String> },
    /// Text whose layout matters, such as code.
    Verbatim(String),
}

/// Writes blocks as one text and keeps the places of headings and pages.
#[derive(Debug)]
pub(crate) struct Composer {
    text: String,
    headings: Vec<Heading>,
    pages: Vec<usize>,
    /// Pages begun since the last block: their offset is that of the next one.
    waiting_pages: usize,
    last: Option<Join>,
    max_text: usize,
}

/// What a composer made.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) text: String,
    pub(crate) headings: Vec<Heading>,
    pub(crate) pages: Vec<usize>,
}

/// Which blocks follow each other without a blank line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Apart,
    Item,
    Row,
}

impl Composer {
    /// An empty text that may grow to `max_text` bytes.
    pub(crate) fn new(max_text: usize) -> Self {
        Self {
            text: String::new(),
            headings: Vec::new(),
            pages: Vec::new(),
            waiting_pages: 0,
            last: None,
            max_text,
        }
    }

    /// Every block of `blocks` as a text.
    pub(crate) fn compose(blocks: Vec<Block>, max_text: usize) -> Result<Composed, ParseError> {
        let mut composer = Self::new(max_text);
        for block in blocks {
            composer.push(block)?;
        }
        Ok(composer.finish())
    }

    /// Writes `block`; one without visible text changes nothing.
    pub(crate) fn push(&mut self, block: Block) -> Result<(), ParseError> {
        match block {
            Block::Heading { level, text } => self.heading(level, one_line(&text)),
            Block::Paragraph(text) => self.write(&squeeze(&text), Join::Apart, true),
            Block::Item {
                depth,
                marker,
                text,
            } => self.item(depth, &marker, &squeeze(&text)),
            Block::Row { first, cells } => self.row(first, &cells),
            Block::Verbatim(text) => self.write(&verbatim(&text), Join::Apart, true),
        }
        self.check_length()
    }

    /// Starts a page: the next block is its first.
    pub(crate) fn page(&mut self) {
        self.waiting_pages += 1;
    }

    /// Goes on with the last block, after `joint`; a page that was begun starts there.
    pub(crate) fn extend(&mut self, joint: &str, text: &str) -> Result<(), ParseError> {
        self.text.push_str(joint);
        self.settle_pages();
        self.text.push_str(text);
        self.check_length()
    }

    /// Takes `suffix` off the text where it ends so.
    pub(crate) fn cut(&mut self, suffix: char) {
        if self.text.ends_with(suffix) {
            self.text.pop();
        }
    }

    /// The text and the places in it.
    pub(crate) fn finish(mut self) -> Composed {
        self.settle_pages();
        Composed {
            text: self.text,
            headings: self.headings,
            pages: self.pages,
        }
    }

    fn heading(&mut self, level: u8, text: String) {
        if text.is_empty() {
            return;
        }
        self.write(&text, Join::Apart, true);
        let offset = self.text.len() - text.len();
        self.headings.push(Heading {
            offset,
            level: level.clamp(1, 6),
            text,
        });
    }

    fn item(&mut self, depth: usize, marker: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let indent = "  ".repeat(depth.min(12));
        let gap = if marker.is_empty() { "" } else { " " };
        let continued = format!(
            "\n{indent}{}",
            " ".repeat(marker.chars().count() + gap.len())
        );
        let line = format!("{indent}{marker}{gap}{}", text.replace('\n', &continued));
        self.write(&line, Join::Item, true);
    }

    fn row(&mut self, first: bool, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        if cells.iter().all(String::is_empty) {
            return;
        }
        let line = cells.join(" | ");
        self.write(line.trim(), Join::Row, first);
    }

    /// Appends `text` after the right kind of border; `apart` forces a blank line before a row.
    fn write(&mut self, text: &str, join: Join, apart: bool) {
        if text.is_empty() {
            return;
        }
        let tight = match join {
            Join::Apart => false,
            Join::Item => self.last == Some(Join::Item),
            Join::Row => !apart && self.last == Some(Join::Row),
        };
        // The first block must not begin with an indent: the text starts with a visible character.
        let text = if self.text.is_empty() {
            text.trim_start()
        } else {
            text
        };
        if !self.text.is_empty() {
            self.text.push_str(if tight { "\n" } else { "\n\n" });
        }
        self.settle_pages();
        self.text.push_str(text);
        self.last = Some(join);
    }

    fn settle_pages(&mut self) {
        self.pages
            .extend(std::iter::repeat_n(self.text.len(), self.waiting_pages));
        self.waiting_pages = 0;
    }

    fn check_length(&self) -> Result<(), ParseError> {
        if self.text.len() <= self.max_text {
            return Ok(());
        }
        Err(ParseError::TooLarge {
            what: "its text".to_owned(),
            limit: format!("{} MiB", self.max_text >> 20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(depth: usize, marker: &str, text: &str) -> Block {
        Block::Item {
            depth,
            marker: marker.to_owned(),
            text: text.to_owned(),
        }
    }

    fn row(first: bool, cells: &[&str]) -> Block {
        Block::Row {
            first,
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
        }
    }

    #[test]
    fn blocks_stand_apart_and_lines_of_a_list_or_table_together() {
        let blocks = vec![
            Block::Heading {
                level: 1,
                text: "Title".into(),
            },
            Block::Paragraph("One \n two".into()),
            item(0, "-", "a\nb"),
            item(1, "1.", "c"),
            row(true, &["x", ""]),
            row(false, &["1", "2"]),
            row(true, &["y", "z"]),
            Block::Paragraph("  ".into()),
            Block::Verbatim("  code".into()),
        ];
        let composed = Composer::compose(blocks, 1 << 20).expect("it is short");
        let expected = "Title\n\nOne\ntwo\n\n- a\n  b\n  1. c\n\nx |\n1 | 2\n\ny | z\n\n  code";
        assert_eq!(composed.text, expected);
        assert_eq!(
            composed.headings,
            [Heading {
                offset: 0,
                level: 1,
                text: "Title".into()
            }]
        );
    }

    #[test]
    fn a_page_starts_at_its_first_block_or_inside_a_continued_one() {
        let mut composer = Composer::new(1 << 20);
        composer.page();
        composer
            .push(Block::Paragraph("one".into()))
            .expect("it is short");
        composer.page();
        composer.page();
        composer.extend(" ", "two").expect("it is short");
        composer.page();
        let composed = composer.finish();
        assert_eq!(
            (composed.text.as_str(), composed.pages),
            ("one two", vec![0, 4, 4, 7])
        );
    }

    #[test]
    fn a_text_over_the_limit_is_refused() {
        let refused = Composer::compose(vec![Block::Paragraph("x".repeat(11))], 10);
        assert!(
            matches!(refused, Err(ParseError::TooLarge { .. })),
            "{refused:?}"
        );
    }
}
