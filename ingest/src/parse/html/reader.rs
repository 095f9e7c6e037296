use super::element::{Keep, Role, role};
use super::table;
use super::walk::{Visitor, alternative, formula, raise, walk};
use crate::parse::blocks::Block;
use ego_tree::NodeRef;
use scraper::Node;
use scraper::node::Element;

/// The blocks below `root`.
pub(crate) fn read(root: NodeRef<'_, Node>, keep: Keep) -> Vec<Block> {
    let mut reader = Reader {
        keep,
        blocks: Vec::new(),
        inline: String::new(),
        heading: None,
        verbatim: 0,
        lists: Vec::new(),
        line: None,
    };
    walk(root, &mut reader);
    reader.flush();
    reader.blocks
}

/// Where the reader stands.
struct Reader {
    keep: Keep,
    blocks: Vec<Block>,
    /// Text of the block at hand.
    inline: String,
    heading: Option<u8>,
    /// Open elements whose layout is kept.
    verbatim: usize,
    /// Open lists, outermost first: the next number, where it is numbered.
    lists: Vec<Option<i64>>,
    /// The line of a list at hand: its depth and what stands before its text.
    line: Option<(usize, String)>,
}

impl Visitor for Reader {
    fn text(&mut self, text: &str) {
        if self.verbatim > 0 {
            self.inline.push_str(text);
        } else {
            // A line end in the source is a space; only `<br>` ends a line.
            self.inline.extend(text.chars().map(|c| {
                if matches!(c, '\n' | '\r' | '\u{C}') {
                    ' '
                } else {
                    c
                }
            }));
        }
    }

    fn enter(&mut self, node: NodeRef<'_, Node>, element: &Element) -> bool {
        match role(element, self.keep) {
            Role::Dropped => return false,
            Role::Inline => {}
            Role::Break => self.inline.push('\n'),
            Role::Image => self.inline.push_str(&alternative(element)),
            Role::Raised => raise(&mut self.inline, node),
            Role::Math => {
                self.inline.push_str(&formula(node, element));
                return false;
            }
            Role::Table if table::is_data(node, self.keep) => {
                self.flush();
                self.blocks.extend(table::rows(node, self.keep));
                return false;
            }
            shape => self.open(shape, element),
        }
        true
    }

    fn leave(&mut self, element: &Element) {
        match role(element, self.keep) {
            Role::Dropped
            | Role::Inline
            | Role::Break
            | Role::Image
            | Role::Raised
            | Role::Math => {}
            shape => self.close(shape),
        }
    }
}

impl Reader {
    /// Starts an element that stands apart.
    fn open(&mut self, shape: Role, element: &Element) {
        self.flush();
        match shape {
            Role::Heading(level) => self.heading = Some(level),
            Role::Verbatim => self.verbatim += 1,
            Role::List { numbered } => {
                let start = element
                    .attr("start")
                    .and_then(|start| start.parse().ok())
                    .unwrap_or(1);
                self.lists.push(numbered.then_some(start));
            }
            Role::Item => {
                self.line = Some((self.lists.len().saturating_sub(1), self.marker(element)))
            }
            Role::Definition(depth) => self.line = Some((self.lists.len() + depth, String::new())),
            _ => {}
        }
    }

    /// Ends an element that stands apart.
    fn close(&mut self, shape: Role) {
        self.flush();
        match shape {
            Role::Heading(_) => self.heading = None,
            Role::Verbatim => self.verbatim = self.verbatim.saturating_sub(1),
            Role::List { .. } => {
                self.lists.pop();
                // What follows a list inside an item belongs to that item.
                self.line = (!self.lists.is_empty()).then(|| (self.lists.len(), String::new()));
            }
            Role::Item | Role::Definition(_) => self.line = None,
            _ => {}
        }
    }

    /// What stands before the next item of the innermost list.
    fn marker(&mut self, element: &Element) -> String {
        let Some(Some(next)) = self.lists.last_mut() else {
            return "-".to_owned();
        };
        let number = element
            .attr("value")
            .and_then(|value| value.parse().ok())
            .unwrap_or(*next);
        *next = number.saturating_add(1);
        format!("{number}.")
    }

    /// Ends the block at hand.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.inline);
        if text.trim().is_empty() {
            return;
        }
        let block = if let Some(level) = self.heading {
            Block::Heading { level, text }
        } else if self.verbatim > 0 {
            Block::Verbatim(text)
        } else if let Some((depth, marker)) = self.line.take() {
            // Further paragraphs of the same item go under its text.
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
