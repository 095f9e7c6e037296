use super::body::choice;
use super::math;
use super::styles::Styles;
use super::symbol::symbol;
use super::xml::Element;

/// What the runs of a paragraph hold.
#[derive(Debug, Default)]
pub(crate) struct Runs<'a> {
    pub(crate) text: String,
    /// Text boxes that hang on the paragraph.
    pub(crate) boxes: Vec<&'a Element>,
    /// Notes that it refers to: whether it is an endnote, and its id.
    pub(crate) notes: Vec<(bool, String)>,
    /// References to embedded parts.
    pub(crate) extras: Vec<String>,
    /// Whether the paragraph's style is bold.
    pub(crate) style_is_bold: bool,
    /// Bytes of text in bold runs, and in others.
    pub(crate) bold: usize,
    pub(crate) plain: usize,
}

impl<'a> Runs<'a> {
    /// Adds all that stands below `parent`.
    pub(crate) fn read(&mut self, parent: &'a Element, styles: &Styles) {
        for element in parent.elements() {
            self.element(element, styles);
        }
    }

    fn element(&mut self, element: &'a Element, styles: &Styles) {
        match element.name.as_str() {
            "w:r" => self.run(element, styles),
            // What was deleted or moved away, and what fields are made of.
            "w:del" | "w:moveFrom" | "w:delText" | "w:instrText" | "w:pPr" | "w:rPr"
            | "w:sdtPr" | "w:rt" | "w:commentReference" => {}
            "w:t" => self.text.push_str(&element.text()),
            "w:tab" | "w:ptab" => self.text.push('\t'),
            "w:br" | "w:cr" => self.text.push('\n'),
            "w:noBreakHyphen" => self.text.push('-'),
            "w:sym" => self
                .text
                .extend(symbol(element.attribute("font"), element.attribute("char"))),
            "w:footnoteReference" | "w:endnoteReference" => {
                let id = element.attribute("id").unwrap_or_default().to_owned();
                self.notes.push((element.name == "w:endnoteReference", id));
            }
            "w:drawing" | "w:pict" | "w:object" => self.drawing(element),
            "mc:AlternateContent" => {
                if let Some(choice) = choice(element) {
                    self.read(choice, styles);
                }
            }
            "m:oMath" | "m:oMathPara" => {
                self.text.push(' ');
                self.text.push_str(&math::linear(element));
                self.text.push(' ');
            }
            _ => self.read(element, styles),
        }
    }

    /// A run: text of one look. Hidden ones are left out.
    fn run(&mut self, run: &'a Element, styles: &Styles) {
        let properties = run.child("w:rPr");
        let hidden = properties
            .is_some_and(|own| own.switched("w:vanish") || styles.is_hidden(own.value("w:rStyle")));
        if hidden {
            return;
        }
        let raised = properties.is_some_and(|own| own.value("w:vertAlign") == Some("superscript"));
        let start = self.text.len();
        self.read(run, styles);
        let length = self.text.get(start..).map_or(0, |text| text.trim().len());
        if self.is_bold(properties, styles) {
            self.bold += length;
        } else {
            self.plain += length;
        }
        if raised {
            self.raise(start);
        }
    }

    /// Whether a run with these properties is bold.
    fn is_bold(&self, properties: Option<&Element>, styles: &Styles) -> bool {
        let Some(own) = properties else {
            return self.style_is_bold;
        };
        match own.child("w:b") {
            Some(_) => own.switched("w:b"),
            None => self.style_is_bold || styles.is_bold(own.value("w:rStyle")),
        }
    }

    /// Puts `^` before a raised number from `start` on that follows a number or a unit, so that 10⁶ does not become 106.
    fn raise(&mut self, start: usize) {
        let (before, raised) = self.text.split_at_checked(start).unwrap_or_default();
        let is_number = !raised.is_empty()
            && raised
                .chars()
                .all(|c| c.is_ascii_digit() || "+-−–,.".contains(c));
        if is_number && before.ends_with(|c: char| c.is_alphanumeric() || c == ')') {
            self.text.insert(start, '^');
        }
    }

    /// Text boxes, descriptions of pictures and diagrams.
    fn drawing(&mut self, drawing: &'a Element) {
        let mut open: Vec<&Element> = vec![drawing];
        while let Some(element) = open.pop() {
            match element.name.as_str() {
                "w:txbxContent" => {
                    self.boxes.push(element);
                    continue;
                }
                "wp:docPr" => self.describe(element.attribute("descr")),
                "v:shape" | "v:imagedata" => self.describe(element.attribute("alt")),
                "v:textpath" => self.describe(element.attribute("string")),
                "dgm:relIds" => self
                    .extras
                    .extend(element.attribute("r:dm").map(str::to_owned)),
                "mc:AlternateContent" => {
                    open.extend(choice(element));
                    continue;
                }
                _ => {}
            }
            let below = open.len();
            open.extend(element.elements());
            if let Some(added) = open.get_mut(below..) {
                added.reverse();
            }
        }
    }

    fn describe(&mut self, description: Option<&str>) {
        let Some(description) = description.map(str::trim).filter(|text| !text.is_empty()) else {
            return;
        };
        // Word says so itself under descriptions that it made up.
        let own = description.lines().next().unwrap_or_default();
        if !self.text.is_empty() && !self.text.ends_with(char::is_whitespace) {
            self.text.push('\n');
        }
        self.text.push_str(own);
        self.text.push('\n');
    }
}
