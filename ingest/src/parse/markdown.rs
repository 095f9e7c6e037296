//! Markdown → blocks.

use super::Read;
use super::blocks::{Block, Composer};
use super::error::ParseError;
use super::html;
use super::settings::Limits;
use pulldown_cmark::{
    CodeBlockKind, Event, HeadingLevel, MetadataBlockKind, Options, Parser, Tag, TagEnd,
};

/// The text of a Markdown document.
pub(crate) fn parse(markdown: &str, limits: &Limits) -> Result<Read, ParseError> {
    let markdown = markdown.strip_prefix('\u{FEFF}').unwrap_or(markdown);
    let mut reader = Reader {
        limits: *limits,
        ..Reader::default()
    };
    for event in Parser::new_ext(markdown, options()) {
        reader.event(event);
    }
    reader.flush();
    let title = front_value(&reader.front, "title");
    let language =
        front_value(&reader.front, "lang").or_else(|| front_value(&reader.front, "language"));
    let composed = Composer::compose(reader.blocks, limits.max_text)?;
    Ok(Read {
        composed,
        title,
        language,
        warnings: Vec::new(),
    })
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_GFM
}

/// The value of a top-level `key: value` (YAML) or `key = value` (TOML) of the front matter.
fn front_value(front: &str, key: &str) -> Option<String> {
    front.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?.trim_start();
        let value = rest
            .strip_prefix([':', '='])?
            .trim()
            .trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// Where the reader stands.
#[derive(Default)]
struct Reader {
    limits: Limits,
    blocks: Vec<Block>,
    /// Text of the block at hand.
    inline: String,
    heading: Option<u8>,
    verbatim: bool,
    /// HTML of the block at hand.
    html: String,
    front: String,
    in_front: bool,
    /// Open lists, outermost first: the next number, where it is numbered.
    lists: Vec<Option<u64>>,
    /// The line of a list at hand: its depth and what stands before its text.
    line: Option<(usize, String)>,
    /// The row at hand, and whether it starts a table.
    row: Option<(bool, Vec<String>)>,
    /// Tags of inline HTML that hide what stands between them.
    hidden: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_front => self.front.push_str(&text),
            Event::Text(text)
            | Event::Code(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text) => self.text(&text),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(html) => self.inline_html(&html),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.text("\n"),
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }),
            Event::Rule => self.flush(),
            // The note itself stands where the author put it.
            Event::FootnoteReference(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph
            | Tag::BlockQuote(_)
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::HtmlBlock => self.flush(),
            Tag::Heading { level, .. } => {
                self.flush();
                self.heading = Some(number(level));
            }
            Tag::CodeBlock(kind) => {
                self.flush();
                // A diagram in a code block is text like any other; only its layout has to stay.
                self.verbatim = matches!(kind, CodeBlockKind::Indented | CodeBlockKind::Fenced(_));
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::DefinitionListTitle => self.term(0),
            Tag::DefinitionListDefinition => self.term(1),
            Tag::Table(_) => self.flush(),
            Tag::TableHead => self.row = Some((true, Vec::new())),
            Tag::TableRow => self.row = Some((false, Vec::new())),
            Tag::MetadataBlock(MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle) => {
                self.in_front = true
            }
            Tag::TableCell
            | Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Superscript
            | Tag::Subscript => {}
            Tag::Link { .. } | Tag::Image { .. } => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.flush();
                self.heading = None;
            }
            TagEnd::CodeBlock => {
                self.flush();
                self.verbatim = false;
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
                self.line = (!self.lists.is_empty()).then(|| (self.lists.len(), String::new()));
            }
            TagEnd::Item | TagEnd::DefinitionListTitle | TagEnd::DefinitionListDefinition => {
                self.flush();
                self.line = None;
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.inline);
                if let Some((_, cells)) = &mut self.row {
                    cells.push(cell);
                }
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                let row = self
                    .row
                    .take()
                    .map(|(first, cells)| Block::Row { first, cells });
                self.blocks.extend(row);
            }
            TagEnd::MetadataBlock(_) => self.in_front = false,
            TagEnd::HtmlBlock => self.flush_html(),
            TagEnd::Paragraph
            | TagEnd::BlockQuote(_)
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::Table => self.flush(),
            TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript => {}
            TagEnd::Link | TagEnd::Image => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.hidden == 0 {
            self.inline.push_str(text);
        }
    }

    /// A tag within a line: line ends count, images give their text, scripts and styles hide theirs.
    fn inline_html(&mut self, html: &str) {
        let name: String = html
            .trim_start_matches(['<', '/'])
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        match (name.to_ascii_lowercase().as_str(), html.starts_with("</")) {
            ("br", _) => self.text("\n"),
            ("img", _) => self.text(&html::fragment_text(html)),
            ("script" | "style", false) => self.hidden += 1,
            ("script" | "style", true) => self.hidden = self.hidden.saturating_sub(1),
            ("td" | "th" | "p" | "div" | "li", _) => self.text(" "),
            _ => {}
        }
    }

    fn item(&mut self) {
        self.flush();
        let depth = self.lists.len().saturating_sub(1);
        let marker = match self.lists.last_mut() {
            Some(Some(next)) => {
                *next += 1;
                format!("{}.", *next - 1)
            }
            _ => "-".to_owned(),
        };
        self.line = Some((depth, marker));
    }

    fn term(&mut self, depth: usize) {
        self.flush();
        self.line = Some((self.lists.len() + depth, String::new()));
    }

    fn flush_html(&mut self) {
        self.flush();
        let html = std::mem::take(&mut self.html);
        if !html.is_empty() {
            self.blocks.extend(html::fragment(&html, &self.limits));
        }
    }

    /// Ends the block at hand.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.inline);
        if text.trim().is_empty() {
            return;
        }
        let block = if let Some(level) = self.heading {
            Block::Heading { level, text }
        } else if self.verbatim {
            Block::Verbatim(text)
        } else if let Some((depth, marker)) = self.line.take() {
            let further = if marker.is_empty() { depth } else { depth + 1 };
            self.line = Some((further, String::new()));
            Block::Item {
                depth,
                marker,
                text,
            }
        } else {
            Block::Paragraph(text)
        };
        self.blocks.push(block);
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(markdown: &str) -> String {
        parse(markdown, &Limits::default())
            .expect("it is short")
            .composed
            .text
    }

    #[test]
    fn structure_becomes_plain_lines() {
        let markdown = "# A *b*\n\nSee [the\ndocs](http://x) ![a fox](y.png).\n\n1. one\n2. two\n   - deep\n\n   more\n\n| k | v |\n|---|---|\n| a `x` | 1<br>2 |\n\n```rust\nfn f() {\n    1\n}\n```\n> quote";
        let expected = "A b\n\nSee the docs a fox.\n\n1. one\n2. two\n  - deep\n  more\n\nk | v\na x | 1 2\n\nfn f() {\n    1\n}\n\nquote";
        assert_eq!(text(markdown), expected);
    }

    #[test]
    fn front_matter_gives_the_title_and_no_text() {
        let read = parse(
            "---\ntitle: \"Leave policy\"\nlang: en\n---\nText.",
            &Limits::default(),
        )
        .expect("it is short");
        assert_eq!(
            (read.title.as_deref(), read.composed.text.as_str()),
            (Some("Leave policy"), "Text.")
        );
    }

    #[test]
    fn html_in_markdown_is_read_as_html() {
        let markdown = "<div align=\"center\">\n<h1>Lore</h1>\n<img alt=\"logo\" src=\"x\">\n</div>\n\nA <b>bold</b> word.<!-- hidden -->";
        assert_eq!(text(markdown), "Lore\n\nlogo\n\nA bold word.");
    }
}
