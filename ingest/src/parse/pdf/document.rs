use super::block::{Kind, Piece};
use super::column;
use super::flow;
use super::furniture;
use super::glyph;
use super::heading;
use super::hyphen::Words;
use super::library::pdfium;
use super::line::{Line, is_wide, lines};
use super::outline;
use super::paragraph::pieces;
use crate::parse::Read;
use crate::parse::blocks::{Block, Composed, Composer};
use crate::parse::error::ParseError;
use crate::parse::settings::ParseSettings;
use lore_types::DocumentFormat;
use pdfium_render::prelude::{
    PdfDocument, PdfDocumentMetadataTagType, PdfiumError, PdfiumInternalError,
};

/// Pages that one document may have.
const MAX_PAGES: usize = 50_000;

/// The text of a PDF.
pub(crate) fn parse(bytes: &[u8], settings: &ParseSettings) -> Result<Read, ParseError> {
    let pdfium = pdfium(settings)?;
    let document = pdfium
        .load_pdf_from_byte_slice(bytes, None)
        .map_err(|error| refused(bytes, &error))?;
    let mut found = Found::read(&document)?;
    let page_count = found.pages.len();
    furniture::remove(&mut found.pages);
    let pieces = found.pieces(&document);
    let composed = compose(&pieces, page_count, settings.limits.max_text)?;
    if composed.text.trim().is_empty() {
        return Err(found.no_text(page_count));
    }
    Ok(Read {
        composed,
        title: title(&document),
        language: None,
        warnings: found.warnings(&document),
    })
}

/// Why PDFium did not open the document.
fn refused(bytes: &[u8], error: &PdfiumError) -> ParseError {
    let format = DocumentFormat::Pdf;
    match error {
        PdfiumError::PdfiumLibraryInternalError(
            PdfiumInternalError::PasswordError | PdfiumInternalError::SecurityError,
        ) => ParseError::Encrypted { format },
        _ if !bytes.trim_ascii_end().ends_with(b"%%EOF") => ParseError::Malformed {
            format,
            reason: "it is cut off or damaged, and its pages cannot be found".to_owned(),
        },
        _ => ParseError::Malformed {
            format,
            reason: "its structure cannot be read".to_owned(),
        },
    }
}

/// What was found on the pages.
#[derive(Default)]
struct Found {
    /// The lines of each page, in the order of its content.
    pages: Vec<Vec<Line>>,
    /// Lines that run in other directions, such as notes along the margin.
    sideways: Vec<Vec<Line>>,
    unreadable: Vec<usize>,
    unmapped: usize,
}

impl Found {
    fn read(document: &PdfDocument<'_>) -> Result<Self, ParseError> {
        let mut found = Self::default();
        let count = usize::try_from(document.pages().len()).unwrap_or(0);
        if count > MAX_PAGES {
            return Err(ParseError::TooLarge {
                what: format!("its number of pages, {count},"),
                limit: MAX_PAGES.to_string(),
            });
        }
        for number in 0..count {
            found.page(document, number);
        }
        Ok(found)
    }

    fn page(&mut self, document: &PdfDocument<'_>, number: usize) {
        let page = i32::try_from(number)
            .map_err(|_| PdfiumError::PageIndexOutOfBounds)
            .and_then(|index| document.pages().get(index));
        let visible = page
            .as_ref()
            .ok()
            .and_then(|page| page.boundaries().bounding().ok())
            .map(|boundary| boundary.bounds);
        let glyphs = page
            .as_ref()
            .ok()
            .and_then(|page| page.text().ok())
            .map(|text| glyph::read(&text, visible));
        let Some(glyphs) = glyphs else {
            self.unreadable.push(number + 1);
            self.pages.push(Vec::new());
            self.sideways.push(Vec::new());
            return;
        };
        self.unmapped += glyphs.unmapped;
        let mut runs = glyphs.runs.iter().map(|run| lines(run));
        self.pages.push(runs.next().unwrap_or_default());
        self.sideways.push(runs.flatten().collect());
    }

    /// The pieces of all pages, headings among them.
    fn pieces(&self, document: &PdfDocument<'_>) -> Vec<Piece> {
        let mut words = Words::default();
        self.pages
            .iter()
            .flatten()
            .for_each(|line| words.note(&line.text()));
        let mut found = Vec::new();
        for (number, (page, sideways)) in self.pages.iter().zip(&self.sideways).enumerate() {
            let main = pieces(&column::ordered(page.clone()), number, &words);
            found.extend(flow::after(main, pieces(sideways, number, &words)));
        }
        let mut found = flow::reunited(found, &words);
        heading::mark(&mut found, &outline::read(document));
        found
    }

    fn no_text(&self, pages: usize) -> ParseError {
        let format = DocumentFormat::Pdf;
        if pages == 0 || self.unreadable.len() == pages {
            return ParseError::Malformed {
                format,
                reason: "it has no page that can be read".to_owned(),
            };
        }
        let which = if pages == 1 {
            "its page has no text".to_owned()
        } else {
            format!("none of its {pages} pages has text")
        };
        ParseError::NoText {
            format,
            detail: format!("{which} that can be read, so it is blank, a scan or pictures only"),
        }
    }

    fn warnings(&self, document: &PdfDocument<'_>) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_blank =
            |(page, sideways): (&Vec<Line>, &Vec<Line>)| page.is_empty() && sideways.is_empty();
        let blank: Vec<usize> = (1..)
            .zip(self.pages.iter().zip(&self.sideways))
            .filter(|(_, page)| is_blank(*page))
            .map(|(number, _)| number)
            .collect();
        let blank: Vec<usize> = blank
            .into_iter()
            .filter(|number| !self.unreadable.contains(number))
            .collect();
        if !blank.is_empty() {
            warnings.push(format!(
                "no text on {} (blank, or pictures that need text recognition)",
                listed(&blank)
            ));
        }
        if !self.unreadable.is_empty() {
            warnings.push(format!("{} could not be read", listed(&self.unreadable)));
        }
        if self.unmapped > 0 {
            warnings.push(format!(
                "{} characters are missing, because their fonts do not say what they mean",
                self.unmapped
            ));
        }
        if document
            .permissions()
            .can_extract_text_and_graphics()
            .is_ok_and(|allowed| !allowed)
        {
            warnings.push("the document's permissions ask not to copy text from it".to_owned());
        }
        warnings
    }
}

/// Page numbers as a reader writes them: `page 3`, `pages 1–4, 9`.
fn listed(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == *number => *end = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let shown: Vec<String> = ranges
        .iter()
        .take(20)
        .map(|(start, end)| {
            if start == end {
                start.to_string()
            } else {
                format!("{start}–{end}")
            }
        })
        .collect();
    let more = if ranges.len() > 20 { " and others" } else { "" };
    format!(
        "page{} {}{more}",
        if numbers.len() == 1 { "" } else { "s" },
        shown.join(", ")
    )
}

/// Writes the pieces, with the pages they start on; a paragraph that goes on over a page stays one.
fn compose(pieces: &[Piece], pages: usize, max_text: usize) -> Result<Composed, ParseError> {
    let mut composer = Composer::new(max_text);
    let mut before: Option<&Piece> = None;
    let mut page = 0;
    for piece in pieces {
        let turned = piece.page + 1 > page;
        while page < piece.page + 1 {
            composer.page();
            page += 1;
        }
        match before.filter(|before| turned && flow::goes_on(before, piece)) {
            Some(before) => go_on(&mut composer, before, piece)?,
            None => composer.push(block(piece))?,
        }
        before = Some(piece);
    }
    (page..pages).for_each(|_| composer.page());
    Ok(composer.finish())
}

fn go_on(composer: &mut Composer, before: &Piece, piece: &Piece) -> Result<(), ParseError> {
    let text = piece.text().unwrap_or_default();
    let first = before.text().unwrap_or_default();
    let cut = first.ends_with('-') && text.starts_with(char::is_lowercase);
    if cut {
        composer.cut('-');
    }
    let wide = first.chars().next_back().is_some_and(is_wide);
    composer.extend(
        if cut || wide { "" } else { " " },
        &crate::parse::clean::squeeze(text),
    )
}

fn block(piece: &Piece) -> Block {
    match &piece.kind {
        Kind::Text(text) => Block::Paragraph(text.clone()),
        Kind::Item(marker, text) => Block::Item {
            depth: 0,
            marker: marker.clone(),
            text: text.clone(),
        },
        Kind::Row { first, cells } => Block::Row {
            first: *first,
            cells: cells.clone(),
        },
        Kind::Code(text) => Block::Verbatim(text.clone()),
        Kind::Heading(level, text) => Block::Heading {
            level: *level,
            text: text.clone(),
        },
    }
}

/// The title in the document's properties, unless a program made it up.
fn title(document: &PdfDocument<'_>) -> Option<String> {
    let title = document
        .metadata()
        .get(PdfDocumentMetadataTagType::Title)?
        .value()
        .trim()
        .to_owned();
    let plain = title.to_lowercase();
    let extension = plain.rsplit('.').next().unwrap_or_default();
    let is_file = plain.contains('.')
        && matches!(
            extension,
            "doc"
                | "docx"
                | "pdf"
                | "indd"
                | "tex"
                | "dvi"
                | "ppt"
                | "pptx"
                | "xls"
                | "qxd"
                | "fm"
                | "txt"
                | "pmd"
                | "wpd"
                | "ps"
                | "rtf"
                | "odt"
        );
    let made_up = is_file
        || plain.starts_with("microsoft ")
        || plain.contains("untitled")
        || plain.contains('\u{fffd}')
        || plain.chars().filter(|c| c.is_alphabetic()).count() < 3;
    (!made_up).then_some(title)
}
