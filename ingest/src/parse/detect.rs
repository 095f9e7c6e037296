//! What a document is: its bytes first, then what its sender says, then its name.

use super::error::ParseError;
use super::signature::{self, Found};
use lore_types::DocumentFormat;

/// Bytes in which a PDF's header may stand.
const PDF_HEADER: usize = 1024;
/// Bytes in which a page's first element is looked for.
const HTML_HEAD: usize = 64 << 10;

/// The format of `bytes`, or why Lore cannot read them.
pub(crate) fn detect(
    bytes: &[u8],
    name: &str,
    declared_type: Option<&str>,
) -> Result<DocumentFormat, ParseError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ParseError::Empty);
    }
    let said = declared_type
        .and_then(from_declared)
        .or_else(|| from_extension(name));
    match signature::find(bytes) {
        Some(Found::Format(DocumentFormat::Docx))
            if is_other_office(name) && said.is_none() && !signature::is_word(bytes) =>
        {
            return Err(unsupported(
                "a damaged Office document",
                "open it in the program that made it and export it as PDF or .docx",
            ));
        }
        Some(Found::Format(format)) => return Ok(format),
        Some(Found::Encrypted(format))
            if said.is_none_or(|said| said == format) && !is_other_office(name) =>
        {
            return Err(ParseError::Encrypted { format });
        }
        Some(Found::Encrypted(_)) => {
            return Err(unsupported(
                "an encrypted Office document",
                "remove its password and save it as .docx or PDF",
            ));
        }
        Some(Found::Other { looks_like, remedy }) => return Err(unsupported(looks_like, remedy)),
        Some(Found::BrokenZip) if said == Some(DocumentFormat::Docx) => {
            return Ok(DocumentFormat::Docx);
        }
        Some(Found::BrokenZip) => {
            return Err(unsupported(
                "a damaged zip archive",
                "unpack it and send the documents in it one by one",
            ));
        }
        None => {}
    }
    if head(bytes, PDF_HEADER)
        .windows(5)
        .any(|window| window == b"%PDF-")
    {
        return Ok(DocumentFormat::Pdf);
    }
    text_format(bytes, name, said)
}

/// The format of bytes without a signature.
fn text_format(
    bytes: &[u8],
    name: &str,
    said: Option<DocumentFormat>,
) -> Result<DocumentFormat, ParseError> {
    if let Some(other) = signature::find_text(head(bytes, HTML_HEAD), name)
        && said.is_none()
    {
        return Err(unsupported(other.0, other.1));
    }
    match said {
        Some(DocumentFormat::Pdf) => Err(ParseError::Malformed {
            format: DocumentFormat::Pdf,
            reason: "it has no `%PDF-` header".to_owned(),
        }),
        Some(DocumentFormat::Docx) => Err(ParseError::Malformed {
            format: DocumentFormat::Docx,
            reason: "it is not a zip archive".to_owned(),
        }),
        // Markdown often starts with an HTML element, but a page's own root is never meant as Markdown.
        Some(DocumentFormat::Markdown | DocumentFormat::Text) | None if starts_as_page(bytes) => {
            Ok(DocumentFormat::Html)
        }
        Some(format) => Ok(format),
        None => Ok(DocumentFormat::Text),
    }
}

/// Whether the first element is the root of a page, in any encoding that keeps ASCII or interleaves it with zeros.
fn starts_as_page(bytes: &[u8]) -> bool {
    let ascii: Vec<u8> = head(bytes, HTML_HEAD)
        .iter()
        .copied()
        .filter(|byte| byte.is_ascii() && *byte != 0)
        .collect();
    let text = String::from_utf8_lossy(&ascii).to_ascii_lowercase();
    let mut rest = text.trim_start();
    while let Some(after) = rest
        .strip_prefix("<!--")
        .or_else(|| rest.strip_prefix("<?"))
    {
        let Some((_, next)) = after.split_once('>') else {
            return false;
        };
        rest = next.trim_start();
    }
    ["<!doctype html", "<html", "<head>", "<body"]
        .iter()
        .any(|root| rest.starts_with(root))
}

/// What a MIME type or a format's name says.
fn from_declared(declared: &str) -> Option<DocumentFormat> {
    let essence = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "text/markdown" | "text/x-markdown" | "markdown" | "md" => Some(DocumentFormat::Markdown),
        "text/html" | "application/xhtml+xml" | "html" | "htm" | "xhtml" => {
            Some(DocumentFormat::Html)
        }
        "application/pdf" | "application/x-pdf" | "pdf" => Some(DocumentFormat::Pdf),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" | "docx" => {
            Some(DocumentFormat::Docx)
        }
        "text" | "txt" => Some(DocumentFormat::Text),
        // `text/plain` is what senders say who do not know: the name knows better.
        _ => None,
    }
}

/// What a name's extension says.
fn from_extension(name: &str) -> Option<DocumentFormat> {
    let (_, extension) = name.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "md" | "markdown" | "mdown" | "mkd" | "mkdn" | "mdx" | "qmd" | "rmd" => {
            Some(DocumentFormat::Markdown)
        }
        "html" | "htm" | "xhtml" | "xht" | "shtml" => Some(DocumentFormat::Html),
        "pdf" => Some(DocumentFormat::Pdf),
        "docx" | "docm" | "dotx" | "dotm" => Some(DocumentFormat::Docx),
        "txt" | "text" | "log" => Some(DocumentFormat::Text),
        _ => None,
    }
}

/// Whether the name is that of an Office document of another kind.
fn is_other_office(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default();
    matches!(
        extension.as_str(),
        "xlsx" | "xlsm" | "xlsb" | "pptx" | "pptm"
    )
}

fn unsupported(looks_like: &str, remedy: &str) -> ParseError {
    ParseError::Unsupported {
        looks_like: looks_like.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// At most the first `length` of `bytes`.
fn head(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}
