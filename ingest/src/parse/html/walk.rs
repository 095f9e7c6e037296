//! Walks over a page without recursion, so that no nesting can exhaust the stack.

use super::element::{Keep, Role, role};
use crate::parse::clean::one_line;
use ego_tree::NodeRef;
use scraper::Node;
use scraper::node::Element;

/// What is done at each node, in document order.
pub(crate) trait Visitor {
    /// Text.
    fn text(&mut self, text: &str);
    /// The start of an element; whether to go into it.
    fn enter(&mut self, node: NodeRef<'_, Node>, element: &Element) -> bool;
    /// The end of an element that was gone into.
    fn leave(&mut self, element: &Element);
}

/// Leads `visitor` through everything below `root`.
pub(crate) fn walk(root: NodeRef<'_, Node>, visitor: &mut impl Visitor) {
    let Some(mut node) = root.first_child() else {
        return;
    };
    loop {
        if let Some(text) = node.value().as_text() {
            visitor.text(text);
        }
        let inside = node
            .value()
            .as_element()
            .is_some_and(|element| visitor.enter(node, element));
        if inside && let Some(child) = node.first_child() {
            node = child;
            continue;
        }
        if inside && let Some(element) = node.value().as_element() {
            visitor.leave(element);
        }
        loop {
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent().filter(|parent| parent.id() != root.id()) else {
                return;
            };
            if let Some(element) = parent.value().as_element() {
                visitor.leave(element);
            }
            node = parent;
        }
    }
}

/// The visible text below `node`, on one line; blocks in it stand apart by a space.
pub(crate) fn inline_text(node: NodeRef<'_, Node>, keep: Keep) -> String {
    let mut inline = Inline {
        text: String::new(),
        keep,
    };
    walk(node, &mut inline);
    one_line(&inline.text)
}

/// Bytes of visible text below `node`.
pub(crate) fn text_length(node: NodeRef<'_, Node>, keep: Keep) -> usize {
    inline_text(node, keep).len()
}

/// Collects the text of one cell, heading or title.
struct Inline {
    text: String,
    keep: Keep,
}

impl Visitor for Inline {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn enter(&mut self, node: NodeRef<'_, Node>, element: &Element) -> bool {
        match role(element, self.keep) {
            Role::Dropped => return false,
            Role::Image => self.text.push_str(&alternative(element)),
            Role::Math => {
                self.text.push_str(&formula(node, element));
                return false;
            }
            Role::Raised => raise(&mut self.text, node),
            Role::Item => self.text.push_str(" - "),
            Role::Inline => {}
            _ => self.text.push(' '),
        }
        true
    }

    fn leave(&mut self, element: &Element) {
        if !matches!(
            role(element, self.keep),
            Role::Inline | Role::Raised | Role::Image
        ) {
            self.text.push(' ');
        }
    }
}

/// An image's alternative text, with spaces around.
pub(crate) fn alternative(element: &Element) -> String {
    element
        .attr("alt")
        .map(|alt| format!(" {} ", alt.trim()))
        .unwrap_or_default()
}

/// A formula as its author wrote it, where the page keeps that, else as its symbols.
pub(crate) fn formula(node: NodeRef<'_, Node>, element: &Element) -> String {
    let is_source = |element: &Element| {
        element.name() == "annotation"
            && element
                .attr("encoding")
                .is_some_and(|kind| kind.contains("tex"))
    };
    let source = node
        .descendants()
        .find(|node| node.value().as_element().is_some_and(is_source));
    let texts = source.unwrap_or(node).descendants();
    let text: String = texts
        .filter_map(|node| node.value().as_text().map(|text| text.trim().to_owned()))
        .collect();
    element
        .attr("alttext")
        .filter(|_| source.is_none())
        .map_or(text, str::to_owned)
}

/// Writes `^` before a raised number that follows a number or a unit, so that 10⁶ does not become 106.
pub(crate) fn raise(before: &mut String, node: NodeRef<'_, Node>) {
    let raised = inline_text(node, Keep::Everything);
    let is_number = !raised.is_empty()
        && raised
            .chars()
            .all(|c| c.is_ascii_digit() || "+-−–,.".contains(c));
    if is_number && before.ends_with(|c: char| c.is_alphanumeric() || c == ')') {
        before.push('^');
    }
}

/// `html` with the start tags beyond `max` open elements left out, and whether there were any: building the tree takes time
/// quadratic in the depth. The count is rough (it trusts end tags), which is good enough to stop floods.
pub(crate) fn limited_depth(html: &str, max: usize) -> (std::borrow::Cow<'_, str>, bool) {
    let opened = html.matches('<').count() - html.matches("</").count();
    if opened <= max {
        return (html.into(), false);
    }
    let mut out = String::with_capacity(html.len());
    let (mut depth, mut cut) = (0_usize, false);
    let mut raw = None;
    let mut parts = html.split('<');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let is_tag = raw.is_none() && part.starts_with(|c: char| c.is_ascii_alphabetic());
        if raw.is_some_and(|end| starts_with(part, end)) {
            raw = None;
        }
        if raw.is_none() && part.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else if is_tag && !is_void(part) {
            depth += 1;
            raw = [("script", "/script"), ("style", "/style")]
                .iter()
                .find(|(start, _)| starts_with(part, start))
                .map(|pair| pair.1);
        }
        if is_tag && depth > max {
            cut = true;
            out.push_str(part.split_once('>').map_or("", |(_, text)| text));
        } else {
            out.push('<');
            out.push_str(part);
        }
    }
    (out.into(), cut)
}

/// Whether `text` starts with `prefix`, whatever the case.
fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether the tag that `part` starts with has no end: void elements, and those whose end tag is usually left out.
fn is_void(part: &str) -> bool {
    const VOID: [&str; 24] = [
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param",
        "source", "track", "wbr", "p", "li", "tr", "td", "th", "dt", "dd", "option", "tbody",
        "thead",
    ];
    let end = part
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(part.len());
    let name = part.get(..end).unwrap_or_default();
    let tag = part.split('>').next().unwrap_or_default();
    tag.ends_with('/') || VOID.iter().any(|void| name.eq_ignore_ascii_case(void))
}
