use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the parsers need to know besides the document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ParseSettings {
    /// The PDFium library (`libpdfium.so`); without it PDF files are refused with a remedy.
    pub pdfium: Option<PathBuf>,
    /// Bounds that hold whatever the document says.
    pub limits: Limits,
}

/// Bounds on what one document may ask of the parsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes that the XML parts of one archive may unpack to, all together.
    pub max_unpacked: u64,
    /// Bytes of text that may come out.
    pub max_text: usize,
    /// How deep XML and HTML elements may nest.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_unpacked: 256 << 20,
            max_text: 64 << 20,
            max_depth: 512,
        }
    }
}
