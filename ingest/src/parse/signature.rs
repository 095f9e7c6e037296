//! Formats by their first bytes, the unsupported ones with what to do about them.

use lore_types::DocumentFormat;
use std::io::Cursor;
use zip::ZipArchive;

/// What a signature says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A format that Lore reads.
    Format(DocumentFormat),
    /// One that it would read without the password.
    Encrypted(DocumentFormat),
    /// A zip archive whose parts cannot be told.
    BrokenZip,
    /// Something else.
    Other {
        looks_like: &'static str,
        remedy: &'static str,
    },
}

const AS_DOCX: &str = "open it in Word or LibreOffice and save it as .docx or PDF";
const AS_PDF: &str = "export it as PDF or HTML and send that";
const AS_TEXT: &str = "save what it says as text, Markdown, HTML, PDF or .docx";
const UNPACK: &str = "unpack it and send the documents in it one by one";
const RECOGNISE: &str =
    "run text recognition (OCR) over it and send the text, or a PDF with a text layer";
const NOT_A_DOCUMENT: &str = "send a document: text, Markdown, HTML, PDF or .docx";

/// First bytes that settle it.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"{\\rtf", "a rich text document (.rtf)", AS_DOCX),
    (b"\x89PNG\r\n", "a PNG image", RECOGNISE),
    (b"\xFF\xD8\xFF", "a JPEG image", RECOGNISE),
    (b"GIF87a", "a GIF image", RECOGNISE),
    (b"GIF89a", "a GIF image", RECOGNISE),
    (b"II*\0", "a TIFF image", RECOGNISE),
    (b"MM\0*", "a TIFF image", RECOGNISE),
    (b"\0\0\x01\0", "an icon", RECOGNISE),
    (b"AT&TFORM", "a DjVu document", AS_PDF),
    (b"%!PS", "a PostScript document", AS_PDF),
    (b"\xC5\xD0\xD3\xC6", "a PostScript document", AS_PDF),
    (b"\x1F\x8B", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xFD7zXZ\0", "an xz archive", UNPACK),
    (b"\x28\xB5\x2F\xFD", "a zstd archive", UNPACK),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", UNPACK),
    (b"Rar!\x1A\x07", "a RAR archive", UNPACK),
    (b"\x7FELF", "a program", NOT_A_DOCUMENT),
    (b"MZ\x90\0", "a Windows program", NOT_A_DOCUMENT),
    (b"\xCA\xFE\xBA\xBE", "a program", NOT_A_DOCUMENT),
    (
        b"SQLite format 3\0",
        "a SQLite database",
        "export its tables as text or HTML",
    ),
    (b"PAR1", "a Parquet table", "export it as text or HTML"),
    (b"OggS", "an audio file", "send its transcript"),
    (b"ID3", "an audio file", "send its transcript"),
    (b"fLaC", "an audio file", "send its transcript"),
    (b"\x1A\x45\xDF\xA3", "a video file", "send its transcript"),
    (b"wOFF", "a font", NOT_A_DOCUMENT),
    (b"wOF2", "a font", NOT_A_DOCUMENT),
    (b"\0\x01\0\0\0", "a font", NOT_A_DOCUMENT),
    (b"GGUF", "a language model", NOT_A_DOCUMENT),
    (b"bplist00", "a binary property list", AS_TEXT),
    (
        b"ITSF",
        "a compiled HTML help file (.chm)",
        "unpack it to HTML",
    ),
    (b"\xFF\xFF\xFF\xFF\xFF", "binary data", NOT_A_DOCUMENT),
];

/// The names of streams in an OLE container, as UTF-16, and what they stand for.
const OLE: &[(&str, &str, &str)] = &[
    (
        "WordDocument",
        "a legacy Word document (.doc)",
        "open it in Word or LibreOffice and save it as .docx",
    ),
    ("Workbook", "a legacy Excel workbook (.xls)", AS_PDF),
    (
        "PowerPoint Document",
        "a legacy PowerPoint presentation (.ppt)",
        AS_PDF,
    ),
    (
        "__properties_version1.0",
        "an Outlook message (.msg)",
        "save the message as HTML or text",
    ),
    ("Book", "a legacy Excel workbook (.xls)", AS_PDF),
    ("VisioDocument", "a Visio drawing", AS_PDF),
    ("Quill", "a Publisher document", AS_PDF),
];

/// The start of a name inside a zip archive that tells what the archive is.
const ZIPPED: &[(&str, &str, &str)] = &[
    (
        "xl/",
        "an Excel workbook (.xlsx)",
        "save the sheets as text or HTML, or export it as PDF",
    ),
    ("ppt/", "a PowerPoint presentation (.pptx)", AS_PDF),
    (
        "META-INF/container.xml",
        "an e-book (.epub)",
        "convert it to HTML or PDF, for example with calibre",
    ),
    ("visio/", "a Visio drawing", AS_PDF),
    (
        "Index/Document.iwa",
        "an Apple iWork document",
        "export it as .docx or PDF",
    ),
    ("AndroidManifest.xml", "a program", NOT_A_DOCUMENT),
    ("META-INF/MANIFEST.MF", "a program", NOT_A_DOCUMENT),
];

/// What stands in the first, uncompressed part of an archive that is called `mimetype`.
const ZIPPED_TYPES: &[(&[u8], &str, &str)] = &[
    (
        b"application/epub+zip",
        "an e-book (.epub)",
        "convert it to HTML or PDF, for example with calibre",
    ),
    (
        b"opendocument.text",
        "an OpenDocument text (.odt)",
        "open it in LibreOffice and save it as .docx or PDF",
    ),
    (
        b"opendocument.spreadsheet",
        "an OpenDocument spreadsheet (.ods)",
        AS_PDF,
    ),
    (
        b"opendocument.presentation",
        "an OpenDocument presentation (.odp)",
        AS_PDF,
    ),
    (b"opendocument", "an OpenDocument file", AS_PDF),
];

/// What the first bytes of `bytes` say, where they say something.
pub(crate) fn find(bytes: &[u8]) -> Option<Found> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some(find_zip(bytes));
    }
    if bytes.starts_with(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1") {
        return Some(find_ole(bytes));
    }
    let magic = MAGIC.iter().find(|(magic, ..)| bytes.starts_with(magic));
    magic
        .map(|(_, looks_like, remedy)| Found::Other { looks_like, remedy })
        .or_else(|| find_inner(bytes))
}

/// Signatures that do not stand at the start.
fn find_inner(bytes: &[u8]) -> Option<Found> {
    let kind = bytes.get(8..12);
    let other = |looks_like, remedy| Some(Found::Other { looks_like, remedy });
    match (bytes.get(..4), bytes.get(4..8), kind) {
        (Some(b"RIFF"), _, Some(b"WEBP")) => other("a WebP image", RECOGNISE),
        (Some(b"RIFF"), _, Some(b"WAVE")) => other("an audio file", "send its transcript"),
        (Some(b"RIFF"), ..) => other("a video file", "send its transcript"),
        (_, Some(b"ftyp"), Some(b"heic" | b"heix" | b"avif" | b"mif1")) => {
            other("an image", RECOGNISE)
        }
        (_, Some(b"ftyp"), _) => other("a video or audio file", "send its transcript"),
        _ if bytes.get(257..262) == Some(b"ustar") => other("a tar archive", UNPACK),
        _ if bytes.starts_with(b"BM") && bytes.get(6..10) == Some(&[0; 4]) => {
            other("a bitmap image", RECOGNISE)
        }
        _ => None,
    }
}

/// What a zip archive holds. The names stand uncompressed in its headers, so a damaged one can be told as well.
fn find_zip(bytes: &[u8]) -> Found {
    let head = bytes.get(..256).unwrap_or(bytes);
    if let Some((_, looks_like, remedy)) =
        ZIPPED_TYPES.iter().find(|(mime, ..)| contains(head, mime))
    {
        return Found::Other { looks_like, remedy };
    }
    let names = names_in_zip(bytes);
    let has = |start: &str| names.iter().any(|name| name.starts_with(start));
    if has("word/") {
        return Found::Format(DocumentFormat::Docx);
    }
    match ZIPPED.iter().find(|(start, ..)| has(start)) {
        Some((_, looks_like, remedy)) => Found::Other { looks_like, remedy },
        None if has("[Content_Types].xml") => Found::Format(DocumentFormat::Docx),
        None if names.is_empty() => Found::BrokenZip,
        None => Found::Other {
            looks_like: "a zip archive",
            remedy: UNPACK,
        },
    }
}

/// Whether a zip archive holds the parts of a Word document.
pub(crate) fn is_word(bytes: &[u8]) -> bool {
    names_in_zip(bytes)
        .iter()
        .any(|name| name.starts_with("word/"))
}

/// The names of the parts: from the archive's directory, or from the parts' own headers where that is damaged.
fn names_in_zip(bytes: &[u8]) -> Vec<String> {
    let listed: Vec<String> = ZipArchive::new(Cursor::new(bytes))
        .map(|archive| {
            archive
                .file_names_raw()
                .map(|name| String::from_utf8_lossy(name).replace('\\', "/"))
                .collect()
        })
        .unwrap_or_default();
    if !listed.is_empty() {
        return listed;
    }
    let mut names = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|window| window == b"PK\x03\x04") {
        rest = rest.get(at + 4..).unwrap_or_default();
        // A part's header: the length of its name stands at byte 26, the name at byte 30.
        let length = rest
            .get(22..24)
            .map_or(0, |raw| usize::from(raw[0]) | usize::from(raw[1]) << 8);
        names.extend(
            rest.get(26..26 + length)
                .map(|name| String::from_utf8_lossy(name).into_owned()),
        );
    }
    names
}

/// What an OLE container holds.
fn find_ole(bytes: &[u8]) -> Found {
    let has = |name: &str| {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        contains(bytes, &wide)
    };
    if has("EncryptedPackage") {
        return Found::Encrypted(DocumentFormat::Docx);
    }
    let known = OLE.iter().find(|(stream, ..)| has(stream));
    let (_, looks_like, remedy) = known.unwrap_or(&("", "a legacy Office document", AS_DOCX));
    Found::Other { looks_like, remedy }
}

/// What a text without a signature is, where it is none of the formats that Lore reads: (what it looks like, the remedy).
pub(crate) fn find_text(head: &[u8], name: &str) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(head);
    let start = text.trim_start_matches(['\u{FEFF}', ' ', '\n', '\r', '\t']);
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default();
    if is_mail(start) {
        return Some((
            "an e-mail message (.eml)",
            "save the message as HTML or text",
        ));
    }
    let is_page = start.to_ascii_lowercase().contains("<html");
    if (start.starts_with("<?xml") || extension == "xml" || extension == "nxml") && !is_page {
        return Some(("an XML document", "convert it to HTML, Markdown or text"));
    }
    match extension.as_str() {
        "doc" | "dot" => Some(("a damaged legacy Word document (.doc)", AS_DOCX)),
        "xls" | "xlsx" | "ppt" | "pptx" | "odt" | "ods" | "odp" | "epub" | "msg" => Some((
            "a damaged office document or e-book",
            "open it in the program that made it and export it as PDF or HTML",
        )),
        "rtf" => Some(("a damaged rich text document (.rtf)", AS_DOCX)),
        "eml" | "mht" | "mhtml" => Some((
            "an e-mail message or web archive",
            "save it as HTML or text",
        )),
        _ => None,
    }
}

/// Whether `start` is a header of internet mail.
fn is_mail(start: &str) -> bool {
    const FIELDS: [&str; 10] = [
        "received",
        "return-path",
        "mime-version",
        "message-id",
        "from",
        "to",
        "date",
        "subject",
        "delivered-to",
        "content-type",
    ];
    let fields = start
        .lines()
        .take(40)
        .take_while(|line| !line.trim().is_empty());
    let known = fields
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| FIELDS.contains(&field.to_ascii_lowercase().as_str()));
    let strong = ["mime-version:", "message-id:", "received:", "return-path:"];
    let lower = start
        .get(..start.floor_char_boundary(4096))
        .unwrap_or_default()
        .to_ascii_lowercase();
    known.count() >= 3 && strong.iter().any(|field| lower.contains(field))
}

/// Whether `needle` stands somewhere in `bytes`.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return true;
    };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(needle) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}
