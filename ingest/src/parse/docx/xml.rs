//! XML parts as small trees: names made independent of prefixes and of the strict dialect, entities never expanded.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

/// An element with its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Canonical prefix and local name, such as `w:p`, whatever prefix the part uses.
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Child>,
}

/// What stands in an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Element(Element),
    Text(String),
}

/// A part as a tree, and what was wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) root: Element,
    /// Why the rest of it, or some of it, could not be read.
    pub(crate) damage: Option<String>,
}

impl Element {
    /// The value of the attribute called `name`, without prefix (`r:id` keeps its own).
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The child elements.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Child::Element(element) => Some(element),
            Child::Text(_) => None,
        })
    }

    /// The first child called `name`.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// The `val` of the first child called `name`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.child(name)?.attribute("val")
    }

    /// Whether the child called `name` is there and not switched off.
    pub(crate) fn switched(&self, name: &str) -> bool {
        self.child(name).is_some_and(|switch| {
            !matches!(
                switch.attribute("val"),
                Some("0" | "false" | "off" | "none")
            )
        })
    }

    /// Every element below, in document order.
    pub(crate) fn descendants(&self) -> Vec<&Element> {
        let mut found = Vec::new();
        let mut open: Vec<&Element> = self.elements().collect();
        open.reverse();
        while let Some(element) = open.pop() {
            found.push(element);
            let below = open.len();
            open.extend(element.elements());
            if let Some(added) = open.get_mut(below..) {
                added.reverse();
            }
        }
        found
    }

    /// The text right in it.
    pub(crate) fn text(&self) -> String {
        let texts = self.children.iter().filter_map(|child| match child {
            Child::Text(text) => Some(text.as_str()),
            Child::Element(_) => None,
        });
        texts.collect()
    }
}

/// Reads a part; elements deeper than `max_depth` are left out. What stands before damage is kept.
pub(crate) fn read(xml: &str, max_depth: usize) -> Part {
    let mut reader = NsReader::from_str(xml);
    let config = reader.config_mut();
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    config.allow_dangling_amp = true;
    let mut builder = Builder {
        open: vec![Element::default()],
        too_deep: 0,
        max_depth,
        damage: None,
    };
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => builder.start(element(&reader, &start)),
            Ok(Event::Empty(start)) => {
                builder.start(element(&reader, &start));
                builder.end();
            }
            Ok(Event::End(_)) => builder.end(),
            Ok(Event::Text(text)) => builder.text(&text.xml10_content()),
            Ok(Event::CData(text)) => builder.text(&text.xml10_content()),
            Ok(Event::GeneralRef(entity)) => builder.entity(&entity),
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => {
                let reason =
                    || format!("it breaks off at byte {}: {error}", reader.error_position());
                builder.damage.get_or_insert_with(reason);
                break;
            }
        }
    }
    builder.finish()
}

/// The tree as far as it is built.
struct Builder {
    /// Open elements, below them a root of our own.
    open: Vec<Element>,
    /// Open elements that are left out.
    too_deep: usize,
    max_depth: usize,
    damage: Option<String>,
}

impl Builder {
    fn start(&mut self, element: Element) {
        if self.too_deep > 0 || self.open.len() > self.max_depth {
            self.too_deep += 1;
            self.damage = Some(format!(
                "elements nested deeper than {} were left out",
                self.max_depth
            ));
        } else {
            self.open.push(element);
        }
    }

    fn end(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
        } else if self.open.len() > 1
            && let Some(element) = self.open.pop()
            && let Some(parent) = self.open.last_mut()
            && is_kept(parent, &element)
        {
            parent.children.push(Child::Element(element));
        }
    }

    fn text(&mut self, text: &str) {
        let Some(parent) = self.open.last_mut().filter(|_| self.too_deep == 0) else {
            return;
        };
        if let Some(Child::Text(before)) = parent.children.last_mut() {
            before.push_str(text);
        } else if !text.trim().is_empty() || parent.name.ends_with(":t") {
            parent.children.push(Child::Text(text.to_owned()));
        }
    }

    /// Characters by number and the five that XML knows; what a document declares itself is never expanded.
    fn entity(&mut self, entity: &BytesRef<'_>) {
        let known = match entity.xml10_content().as_ref() {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => entity.resolve_char_ref().ok().flatten(),
        };
        match known {
            Some(c) => self.text(c.encode_utf8(&mut [0; 4])),
            None => self.damage = Some("an entity that it declares itself was left out".to_owned()),
        }
    }

    fn finish(mut self) -> Part {
        self.too_deep = 0;
        while self.open.len() > 1 {
            self.end();
        }
        let root = self
            .open
            .pop()
            .and_then(|own| own.elements().next().cloned())
            .unwrap_or_default();
        Part {
            root,
            damage: self.damage,
        }
    }
}

/// Whether `element` says something about the text: most properties of runs only say how it looks.
fn is_kept(parent: &Element, element: &Element) -> bool {
    const RUN: [&str; 7] = [
        "w:b",
        "w:vanish",
        "w:rStyle",
        "w:vertAlign",
        "w:del",
        "w:lang",
        "w:webHidden",
    ];
    parent.name != "w:rPr" || RUN.contains(&element.name.as_str())
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Element {
    let (namespace, local) = reader.resolver().resolve_element(start.name());
    let local = local.as_ref();
    let name = match namespace {
        ResolveResult::Bound(Namespace(uri)) => format!("{}:{local}", prefix(uri)),
        ResolveResult::Unbound => local.to_owned(),
        ResolveResult::Unknown(prefix) => format!("{prefix}:{local}"),
    };
    let mut raw = start.attributes();
    let attributes = raw.with_checks(false).flatten().map(|attribute| {
        let key: &str = attribute.key.as_ref();
        let local = attribute.key.local_name();
        let key = if key.starts_with("r:") {
            key.to_owned()
        } else {
            local.as_ref().to_owned()
        };
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_or_else(|_| String::new(), std::borrow::Cow::into_owned);
        (key, value)
    });
    Element {
        name,
        attributes: attributes.collect(),
        children: Vec::new(),
    }
}

/// The usual prefix of a namespace, the same for the transitional and the strict dialect.
fn prefix(uri: &str) -> &'static str {
    let known = [
        ("wordprocessingml/2006/main", "w"),
        ("wordprocessingml/main", "w"),
        ("/wordprocessingDrawing", "wp"),
        ("/wordprocessingShape", "wps"),
        ("/wordprocessingGroup", "wpg"),
        ("drawingml/2006/main", "a"),
        ("drawingml/main", "a"),
        ("drawingml/2006/diagram", "dgm"),
        ("drawingml/diagram", "dgm"),
        ("markup-compatibility", "mc"),
        ("officeDocument/2006/math", "m"),
        ("officeDocument/math", "m"),
        ("schemas-microsoft-com:vml", "v"),
        ("package/2006/relationships", "rel"),
        ("purl.org/dc/elements", "dc"),
    ];
    known
        .iter()
        .find(|(part, _)| uri.contains(part))
        .map_or("other", |(_, prefix)| prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_depend_on_prefix_or_dialect() {
        for uri in [
            "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
            "http://purl.oclc.org/ooxml/wordprocessingml/main",
        ] {
            let part = read(
                &format!("<x:p xmlns:x='{uri}'><x:t x:val='1'>a &amp; &#98;</x:t></x:p>"),
                10,
            );
            let text = part.root.child("w:t").expect("the text element");
            assert_eq!(
                (
                    part.root.name.as_str(),
                    text.text().as_str(),
                    text.attribute("val")
                ),
                ("w:p", "a & b", Some("1"))
            );
        }
    }

    #[test]
    fn damage_and_depth_keep_what_stands_before() {
        let part = read("<a><b>one</b><c", 10);
        assert_eq!(
            part.root.child("b").map(Element::text).as_deref(),
            Some("one")
        );
        assert!(part.damage.is_some());
        let deep = read(&"<a>".repeat(100_000), 50);
        assert!(
            deep.damage
                .is_some_and(|damage| damage.contains("deeper than 50"))
        );
    }

    #[test]
    fn declared_entities_are_never_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY x 'boom'><!ENTITY y '&x;&x;'>]><a>1&y;2</a>";
        let part = read(bomb, 10);
        assert_eq!(part.root.text(), "12");
        assert!(part.damage.is_some());
    }
}
