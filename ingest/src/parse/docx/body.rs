use super::numbering::Numbering;
use super::paragraph::Runs;
use super::styles::Styles;
use super::table;
use super::title_line;
use super::xml::Element;
use crate::parse::blocks::Block;
use crate::parse::clean::one_line;
use std::collections::{HashMap, HashSet};

/// Reads the body of a document, with all that its paragraphs refer to.
pub(crate) struct Body {
    pub(crate) styles: Styles,
    pub(crate) numbering: Numbering,
    /// Footnotes (`false`) and endnotes (`true`) by id; a note is taken out when it is read, so each is read once.
    pub(crate) notes: HashMap<(bool, String), Element>,
    /// Blocks of embedded parts by the id of the reference.
    pub(crate) extras: HashMap<String, Vec<Block>>,
    /// The text of the first paragraph with the style of a title.
    pub(crate) title: Option<String>,
    pub(crate) warnings: Vec<String>,
    /// Texts of short paragraphs that are bold throughout.
    bold: HashSet<String>,
}

impl Body {
    pub(crate) fn new(styles: Styles, numbering: Numbering) -> Self {
        Self {
            styles,
            numbering,
            notes: HashMap::new(),
            extras: HashMap::new(),
            title: None,
            warnings: Vec::new(),
            bold: HashSet::new(),
        }
    }

    /// The blocks of the document `root`.
    pub(crate) fn read(&mut self, root: &Element) -> Vec<Block> {
        let mut blocks = Vec::new();
        let body = root.child("w:body").unwrap_or(root);
        self.blocks(body, &mut blocks);
        title_line::promote(blocks, &self.bold)
    }

    /// Adds the blocks below `parent`. The depth of the tree is bounded by the reader of XML.
    pub(crate) fn blocks(&mut self, parent: &Element, out: &mut Vec<Block>) {
        for element in parent.elements() {
            match element.name.as_str() {
                "w:p" => self.paragraph(element, out),
                "w:tbl" => table::read(self, element, out),
                "w:altChunk" => self.extra(element, out),
                "mc:AlternateContent" => {
                    if let Some(choice) = choice(element) {
                        self.blocks(choice, out);
                    }
                }
                "w:sdt" | "w:sdtContent" | "w:ins" | "w:moveTo" | "w:smartTag" | "w:customXml"
                | "w:body" | "w:txbxContent" => {
                    self.blocks(element, out);
                }
                "m:oMathPara" | "m:oMath" => {
                    out.push(Block::Paragraph(super::math::linear(element)))
                }
                _ => {}
            }
        }
    }

    /// Adds what a paragraph says, then what hangs on it: text boxes and notes.
    fn paragraph(&mut self, element: &Element, out: &mut Vec<Block>) {
        let properties = element.child("w:pPr");
        let style = properties
            .and_then(|properties| properties.value("w:pStyle"))
            .map(str::to_owned);
        let style = style.as_deref();
        let mut runs = Runs {
            style_is_bold: self.styles.is_bold(style),
            ..Runs::default()
        };
        if !self.is_contents(style) && !self.styles.is_hidden(style) {
            runs.read(element, &self.styles);
        }
        let text = runs.text.trim().to_owned();
        if !text.is_empty() {
            if runs.bold > 0 && runs.plain == 0 && title_line::is_like_heading(&text) {
                self.bold.insert(text.clone());
            }
            let block = self.shape(properties, style, text);
            out.push(block);
        }
        for id in &runs.extras {
            out.extend(self.extras.get(id).cloned().unwrap_or_default());
        }
        for text_box in &runs.boxes {
            self.blocks(text_box, out);
        }
        for note in runs.notes {
            if let Some(note) = self.notes.remove(&note) {
                self.blocks(&note, out);
            }
        }
    }

    /// The kind of block that a paragraph with these properties is.
    fn shape(&mut self, properties: Option<&Element>, style: Option<&str>, text: String) -> Block {
        let direct = properties
            .and_then(|own| own.value("w:outlineLvl"))
            .and_then(|level| level.parse::<u8>().ok());
        let level = direct
            .filter(|level| *level < 9)
            .map(|level| (level + 1).min(6))
            .or_else(|| self.styles.heading_level(style));
        let marker = self.marker(properties, style);
        let is_title = self.styles.is_called(style, "title");
        if is_title && self.title.is_none() {
            self.title = Some(one_line(&text));
        }
        match (level, marker) {
            // A heading is short; whole paragraphs with an outline level are numbered text of contracts and the like.
            (Some(level), marker) if text.chars().count() <= 300 => {
                let number = marker
                    .map(|(_, marker)| marker)
                    .filter(|marker| !marker.is_empty() && marker != "-");
                let text = number.map_or_else(|| text.clone(), |number| format!("{number} {text}"));
                Block::Heading { level, text }
            }
            (_, Some((depth, marker))) => Block::Item {
                depth,
                marker,
                text,
            },
            _ if self.styles.is_called(style, "html preformatted") => Block::Verbatim(text),
            _ => Block::Paragraph(text),
        }
    }

    /// The depth and the marker of a paragraph that is an item of a list.
    fn marker(
        &mut self,
        properties: Option<&Element>,
        style: Option<&str>,
    ) -> Option<(usize, String)> {
        let direct = properties.and_then(|properties| properties.child("w:numPr"));
        let (of_style, level_of_style) = self.styles.numbering(style);
        let list = direct
            .and_then(|own| own.value("w:numId"))
            .or(of_style)?
            .to_owned();
        let level = direct
            .and_then(|own| own.value("w:ilvl"))
            .and_then(|level| level.parse().ok());
        let level = level
            .or_else(|| self.numbering.level_of_style(&list, style))
            .or(level_of_style)
            .unwrap_or(0);
        self.numbering
            .next(&list, level)
            .map(|marker| (level, marker))
    }

    /// Whether the paragraph belongs to a table of contents: it says the headings again.
    fn is_contents(&self, style: Option<&str>) -> bool {
        style.is_some()
            && (self.styles.is_called(style, "toc")
                || self.styles.is_called(style, "table of figures"))
    }

    fn extra(&mut self, element: &Element, out: &mut Vec<Block>) {
        let found = element
            .attribute("r:id")
            .and_then(|id| self.extras.get(id))
            .cloned()
            .unwrap_or_default();
        if found.is_empty() {
            self.warnings
                .push("an embedded document could not be read".to_owned());
        }
        out.extend(found);
    }
}

/// Of several versions of the same content, the one to read: the first that holds text.
pub(crate) fn choice(alternatives: &Element) -> Option<&Element> {
    let has_text = |version: &&Element| {
        version
            .descendants()
            .iter()
            .any(|element| element.name.ends_with(":t") || element.name == "wp:docPr")
    };
    alternatives
        .elements()
        .find(has_text)
        .or_else(|| alternatives.elements().next())
}
