//! DOCX → blocks: what the reader of the page sees, tracked changes accepted.

mod body;
mod math;
mod numbering;
mod package;
mod paragraph;
mod styles;
mod symbol;
mod table;
mod title_line;
mod xml;

use super::Read;
use super::blocks::{Block, Composer};
use super::encoding::decode;
use super::error::ParseError;
use super::html;
use super::settings::Limits;
use body::Body;
use lore_types::DocumentFormat;
use numbering::Numbering;
use package::{Package, Relations, malformed};
use std::collections::HashMap;
use styles::Styles;
use xml::Element;

/// Titles that programs fill in themselves.
const NO_TITLES: &[&str] = &[
    "untitled",
    "document",
    "document1",
    "title",
    "word document",
    "powerpoint presentation",
    "microsoft word",
];

/// The text of a Word document.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Read, ParseError> {
    let mut package = Package::open(bytes, limits)?;
    let main = main_part(&mut package)?;
    let root = package
        .xml(&main)?
        .ok_or_else(|| malformed(format!("its main part `{main}` is missing")))?;
    check_kind(&root, &main)?;
    let relations = package.relations(&main)?;
    let styles = part(&mut package, &relations, "styles")?
        .map(|root| Styles::read(&root))
        .unwrap_or_default();
    let numbering = part(&mut package, &relations, "numbering")?
        .map(|root| Numbering::read(&root))
        .unwrap_or_default();
    let language = styles.language.clone();
    let mut body = Body::new(styles, numbering);
    body.notes = notes(&mut package, &relations)?;
    body.extras = extras(&mut package, &relations, limits)?;
    let blocks = body.read(&root);
    let own_title = body.title.take();
    let title = own_title.or(core_title(&mut package)?);
    let mut warnings = package.warnings;
    warnings.append(&mut body.warnings);
    warnings.dedup();
    warnings.truncate(20);
    if blocks.is_empty() {
        return Err(nothing_left(warnings));
    }
    let composed = Composer::compose(blocks, limits.max_text)?;
    Ok(Read {
        composed,
        title,
        language,
        warnings,
    })
}

/// Why there is no text: damage, where there was some.
fn nothing_left(warnings: Vec<String>) -> ParseError {
    match warnings.into_iter().next() {
        Some(reason) => malformed(reason),
        None => ParseError::NoText {
            format: DocumentFormat::Docx,
            detail: "it holds no paragraph with text".to_owned(),
        },
    }
}

/// The name of the main part.
fn main_part(package: &mut Package<'_>) -> Result<String, ParseError> {
    let relations = package.relations("")?;
    Ok(relations
        .of_kind("officeDocument")
        .unwrap_or("word/document.xml")
        .to_owned())
}

/// Refuses archives of the same family that are no Word documents.
fn check_kind(root: &Element, main: &str) -> Result<(), ParseError> {
    if root.name == "w:document"
        || root
            .descendants()
            .iter()
            .any(|element| element.name == "w:body")
    {
        return Ok(());
    }
    if root.name.is_empty() {
        return Err(malformed(format!(
            "its main part `{main}` is not readable XML"
        )));
    }
    let looks_like = format!(
        "an Office archive whose main part is `{}`, not a Word document",
        root.name
    );
    Err(ParseError::Unsupported {
        looks_like,
        remedy: "open it in the program that made it and export it as PDF or .docx".to_owned(),
    })
}

/// A part that the main one refers to, or its usual name where the reference is lost.
fn part(
    package: &mut Package<'_>,
    relations: &Relations,
    kind: &str,
) -> Result<Option<Element>, ParseError> {
    let name = relations
        .of_kind(kind)
        .map_or_else(|| format!("word/{kind}.xml"), str::to_owned);
    package.xml(&name)
}

/// The footnotes and endnotes by kind and id.
fn notes(
    package: &mut Package<'_>,
    relations: &Relations,
) -> Result<HashMap<(bool, String), Element>, ParseError> {
    let mut notes = HashMap::new();
    for (is_end, kind) in [(false, "footnotes"), (true, "endnotes")] {
        let Some(root) = part(package, relations, kind)? else {
            continue;
        };
        for note in root.elements().filter(|note| {
            !matches!(
                note.attribute("type"),
                Some("separator" | "continuationSeparator")
            )
        }) {
            notes.insert(
                (is_end, note.attribute("id").unwrap_or_default().to_owned()),
                note.clone(),
            );
        }
    }
    Ok(notes)
}

/// What other parts put into the text: embedded pages and diagrams, by the id of the reference.
fn extras(
    package: &mut Package<'_>,
    relations: &Relations,
    limits: &Limits,
) -> Result<HashMap<String, Vec<Block>>, ParseError> {
    let mut extras = HashMap::new();
    for id in relations.ids() {
        let Some((kind, target)) = relations.get(id) else {
            continue;
        };
        match kind {
            "aFChunk" => {
                let bytes = package.bytes(target)?.unwrap_or_default();
                extras.insert(id.to_owned(), embedded(&bytes, target, limits));
            }
            "diagramData" => {
                let root = package.xml(target)?.unwrap_or_default();
                extras.insert(id.to_owned(), diagram(&root));
            }
            _ => {}
        }
    }
    Ok(extras)
}

/// The blocks of an embedded HTML or text part.
fn embedded(bytes: &[u8], name: &str, limits: &Limits) -> Vec<Block> {
    let text = decode(bytes, None).text;
    if text.trim_start().starts_with('<') || name.to_lowercase().contains(".htm") {
        html::fragment(&text, limits)
    } else if bytes.starts_with(b"PK") || bytes.starts_with(b"{\\rtf") {
        Vec::new()
    } else {
        text.split("\n\n")
            .map(|paragraph| Block::Paragraph(paragraph.to_owned()))
            .collect()
    }
}

/// The texts of a diagram, one line each.
fn diagram(root: &Element) -> Vec<Block> {
    let points = root
        .descendants()
        .into_iter()
        .filter(|element| element.name == "dgm:pt");
    let texts = points.map(|point| {
        let runs = point
            .descendants()
            .into_iter()
            .filter(|element| element.name == "a:t");
        runs.map(Element::text).collect::<String>()
    });
    texts
        .filter(|text| !text.trim().is_empty())
        .map(|text| Block::Item {
            depth: 0,
            marker: "-".to_owned(),
            text,
        })
        .collect()
}

/// The title in the document's properties, unless a program made it up.
fn core_title(package: &mut Package<'_>) -> Result<Option<String>, ParseError> {
    let Some(root) = package.xml("docProps/core.xml")? else {
        return Ok(None);
    };
    let title = root
        .child("dc:title")
        .map(Element::text)
        .unwrap_or_default();
    let plain = title.trim().to_lowercase();
    let made_up = plain.is_empty()
        || NO_TITLES.contains(&plain.as_str())
        || plain.starts_with("microsoft word -");
    Ok((!made_up).then(|| title.trim().to_owned()))
}
