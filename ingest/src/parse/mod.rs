//! Here is a file, give me its text: format by content, encoding, headings, tables and pages, in a child process.
//!
//! *Useful for* text, Markdown, HTML, PDF and DOCX from anywhere: every input ends in a [`Parsed`] or in a [`ParseError`]
//! that a person understands, within the time and the memory that [`ParserPool`] allows. *Not useful for* layout: what
//! comes out is text to search and to quote, not pages to look at.
//!
//! Every format is reduced to the same few blocks (heading, paragraph, list item, table row, verbatim text), and one composer
//! writes those as text, so that the same table reads the same whether it came in HTML or in Word.

mod blocks;
mod clean;
mod detect;
mod docx;
mod encoding;
mod error;
mod grid;
mod html;
mod language;
mod markdown;
mod parsed;
mod pdf;
mod settings;
mod signature;
mod text;
mod worker;

pub use error::ParseError;
pub use parsed::{Heading, Parsed};
pub use settings::{Limits, ParseSettings};
pub use worker::{ParseRequest, ParserPool, PoolSettings, WorkerCommand, worker_main};

use blocks::Composed;
use lore_types::DocumentFormat;

/// What the parser of one format finds.
#[derive(Debug)]
struct Read {
    composed: Composed,
    title: Option<String>,
    /// The language that the document declares, as a BCP 47 tag.
    language: Option<String>,
    warnings: Vec<String>,
}

/// The text of the document in `bytes`, in this process and on this thread.
///
/// *Useful for* tests and for the worker behind [`ParserPool`]; a hostile document can take all memory or crash the process,
/// so a service uses the pool.
///
/// # Errors
/// Everything in [`ParseError`] that is the document's own fault, and [`ParseError::Unavailable`] where PDFium is missing.
pub fn parse(
    bytes: &[u8],
    name: &str,
    declared_type: Option<&str>,
    settings: &ParseSettings,
) -> Result<Parsed, ParseError> {
    let format = detect::detect(bytes, name, declared_type)?;
    let read = read(bytes, format, declared_type, settings)?;
    finish(format, read)
}

fn read(
    bytes: &[u8],
    format: DocumentFormat,
    declared: Option<&str>,
    settings: &ParseSettings,
) -> Result<Read, ParseError> {
    match format {
        DocumentFormat::Text => read_text(bytes, declared, settings),
        DocumentFormat::Markdown => {
            let decoded = decode_text(bytes, charset(declared))?;
            let mut read = markdown::parse(&decoded.text, &settings.limits)?;
            read.warnings.extend(decoded.warning());
            Ok(read)
        }
        DocumentFormat::Html => html::parse(bytes, charset(declared), &settings.limits),
        DocumentFormat::Pdf => pdf::parse(bytes, settings),
        DocumentFormat::Docx => docx::parse(bytes, &settings.limits),
    }
}

fn read_text(
    bytes: &[u8],
    declared: Option<&str>,
    settings: &ParseSettings,
) -> Result<Read, ParseError> {
    let decoded = decode_text(bytes, charset(declared))?;
    let composed = text::parse(&decoded, &settings.limits)?;
    Ok(Read {
        composed,
        title: None,
        language: None,
        warnings: decoded.warning().into_iter().collect(),
    })
}

/// The text of `bytes`, or an error where they are no text in any encoding.
fn decode_text(bytes: &[u8], label: Option<&str>) -> Result<encoding::Decoded, ParseError> {
    let decoded = encoding::decode(bytes, label);
    let total = decoded.text.chars().count();
    let junk = |c: char| {
        c == char::REPLACEMENT_CHARACTER
            || (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{C}' | '\u{1B}'))
    };
    let strange = decoded.text.chars().filter(|c| junk(*c)).count();
    // One strange character in twenty is more than any damage to a text leaves.
    if strange * 20 > total && strange > 2 {
        return Err(ParseError::Unsupported {
            looks_like: "binary data".to_owned(),
            remedy: "send a document: text, Markdown, HTML, PDF or .docx".to_owned(),
        });
    }
    Ok(decoded)
}

/// The `charset` parameter of a MIME type.
fn charset(declared: Option<&str>) -> Option<&str> {
    let parameters = declared?.split(';').skip(1);
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

/// Title, language and the check that there is something to read.
fn finish(format: DocumentFormat, read: Read) -> Result<Parsed, ParseError> {
    let Composed {
        text,
        headings,
        pages,
    } = read.composed;
    if text.trim().is_empty() {
        let detail = "nothing is left after removing what is not text".to_owned();
        return Err(ParseError::NoText { format, detail });
    }
    let title = read
        .title
        .map(|title| clean::one_line(&title))
        .filter(|title| !title.is_empty());
    let title = title.or_else(|| top_heading(&headings));
    let language = language::language(&text, read.language.as_deref());
    Ok(Parsed {
        text,
        format,
        title,
        language,
        pages,
        headings,
        warnings: read.warnings,
    })
}

/// The first heading of the highest level that is used.
fn top_heading(headings: &[Heading]) -> Option<String> {
    headings
        .iter()
        .min_by_key(|heading| heading.level)
        .map(|heading| heading.text.clone())
}
