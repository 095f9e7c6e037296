use super::xml::Element;
use std::collections::HashMap;

/// Styles that one chain may have.
const LONGEST_CHAIN: usize = 32;

/// The word for a heading in the style names of localised programs, lowercase.
const HEADING_WORDS: &[&str] = &[
    "heading",
    "überschrift",
    "titre",
    "título",
    "titulo",
    "titolo",
    "títol",
    "kop",
    "rubrik",
    "overskrift",
    "otsikko",
    "nagłówek",
    "nadpis",
    "címsor",
    "başlık",
    "заголовок",
    "επικεφαλίδα",
    "标题",
    "標題",
    "見出し",
    "제목",
    "titlu",
    "naslov",
    "pealkiri",
];

/// What the styles of a document say about paragraphs.
#[derive(Debug, Default)]
pub(crate) struct Styles {
    by_id: HashMap<String, Style>,
    default_paragraph: Option<String>,
    /// The language that the document declares.
    pub(crate) language: Option<String>,
}

/// One style, without what it inherits.
#[derive(Debug, Default)]
struct Style {
    name: String,
    based_on: Option<String>,
    outline: Option<u8>,
    numbering: Option<(Option<String>, Option<usize>)>,
    hidden: bool,
    bold: bool,
}

impl Styles {
    /// Reads `styles.xml`.
    pub(crate) fn read(root: &Element) -> Self {
        let mut styles = Self::default();
        for element in root.elements().filter(|element| element.name == "w:style") {
            let Some(id) = element.attribute("styleId") else {
                continue;
            };
            if element.attribute("type") == Some("paragraph")
                && matches!(element.attribute("default"), Some("1" | "true" | "on"))
            {
                styles.default_paragraph = Some(id.to_owned());
            }
            styles.by_id.insert(id.to_owned(), style(element));
        }
        let defaults = root.descendants();
        let language = defaults
            .iter()
            .find(|element| element.name == "w:lang")
            .and_then(|lang| lang.attribute("val"));
        styles.language = language.map(str::to_owned);
        styles
    }

    /// The level (1..=6) of a heading, for a paragraph of the style `id` (or of the default one).
    pub(crate) fn heading_level(&self, id: Option<&str>) -> Option<u8> {
        let chain = self.chain(id);
        let by_name = chain.iter().find_map(|style| level_of_name(&style.name));
        let by_outline = || chain.iter().find_map(|style| style.outline);
        // Level 10 (9 from zero) is Word's word for body text.
        by_name
            .or_else(|| {
                by_outline()
                    .filter(|level| *level < 9)
                    .map(|level| level + 1)
            })
            .map(|level| level.min(6))
    }

    /// The numbering of a style: the list's id and the level, as far as the chain says.
    pub(crate) fn numbering(&self, id: Option<&str>) -> (Option<&str>, Option<usize>) {
        let chain = self.chain(id);
        let numberings: Vec<_> = chain
            .into_iter()
            .filter_map(|style| style.numbering.as_ref())
            .collect();
        let list = numberings.iter().find_map(|(list, _)| list.as_deref());
        (list, numberings.iter().find_map(|(_, level)| *level))
    }

    /// Whether the style or one above it is called `name` (lowercase), or starts so and goes on with a number.
    pub(crate) fn is_called(&self, id: Option<&str>, name: &str) -> bool {
        self.chain(id).iter().any(|style| {
            let own = style.name.to_lowercase();
            own.strip_prefix(name)
                .is_some_and(|rest| rest.trim().chars().all(|c| c.is_ascii_digit()))
        })
    }

    /// Whether text of the style is hidden.
    pub(crate) fn is_hidden(&self, id: Option<&str>) -> bool {
        id.is_some() && self.chain(id).iter().any(|style| style.hidden)
    }

    /// Whether text of the style is bold.
    pub(crate) fn is_bold(&self, id: Option<&str>) -> bool {
        id.is_some() && self.chain(id).iter().any(|style| style.bold)
    }

    /// The style and those that it is based on.
    fn chain(&self, id: Option<&str>) -> Vec<&Style> {
        let mut next = id.or(self.default_paragraph.as_deref());
        let mut chain = Vec::new();
        while let Some(style) = next
            .and_then(|id| self.by_id.get(id))
            .filter(|_| chain.len() < LONGEST_CHAIN)
        {
            chain.push(style);
            next = style.based_on.as_deref();
        }
        chain
    }
}

fn style(element: &Element) -> Style {
    let paragraph = element.child("w:pPr");
    let numbering = paragraph
        .and_then(|paragraph| paragraph.child("w:numPr"))
        .map(|numbering| {
            (
                numbering.value("w:numId").map(str::to_owned),
                numbering
                    .value("w:ilvl")
                    .and_then(|level| level.parse().ok()),
            )
        });
    Style {
        name: element.value("w:name").unwrap_or_default().to_owned(),
        based_on: element.value("w:basedOn").map(str::to_owned),
        outline: paragraph
            .and_then(|paragraph| paragraph.value("w:outlineLvl"))
            .and_then(|level| level.parse().ok()),
        numbering,
        hidden: element
            .child("w:rPr")
            .is_some_and(|run| run.switched("w:vanish")),
        bold: element
            .child("w:rPr")
            .is_some_and(|run| run.switched("w:b")),
    }
}

/// The level in a style's name: `heading 2`, `Überschrift 2`, `标题 2`; a title counts as level 1.
fn level_of_name(name: &str) -> Option<u8> {
    let name = name.trim().to_lowercase();
    if name == "title" {
        return Some(1);
    }
    let rest = HEADING_WORDS
        .iter()
        .find_map(|word| name.strip_prefix(word))?
        .trim();
    let digit = rest.chars().next().filter(char::is_ascii_digit)?;
    let alone = rest.chars().nth(1).is_none_or(|c| !c.is_ascii_digit());
    digit
        .to_digit(10)
        .and_then(|level| u8::try_from(level).ok())
        .filter(|level| alone && *level > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headings_are_known_in_many_languages() {
        for (name, level) in [
            ("heading 1", Some(1)),
            ("Überschrift 3", Some(3)),
            ("标题 2", Some(2)),
            ("Title", Some(1)),
            ("heading", None),
            ("Body Text 2", None),
        ] {
            assert_eq!(level_of_name(name), level, "{name}");
        }
    }
}
