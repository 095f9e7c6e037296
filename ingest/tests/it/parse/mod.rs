mod archive;
mod formats;
mod pdf;
mod pool;
mod samples;
mod word;

use lore_ingest::parse::{ParseError, ParseSettings, Parsed, parse};
use std::path::{Path, PathBuf};

/// The PDFium library of this machine, or a loud word that it is missing.
fn pdfium() -> Option<PathBuf> {
    let models = std::env::var_os("LORE_MODELS_DIR").map(PathBuf::from);
    let models = models
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/lore/models")))?;
    let library = models.join("pdfium/libpdfium.so");
    if library.exists() {
        return Some(library);
    }
    eprintln!(
        "SKIPPED: {} is missing; fetch it with `lore models pull pdfium`",
        library.display()
    );
    None
}

fn settings() -> ParseSettings {
    ParseSettings {
        pdfium: pdfium(),
        ..ParseSettings::default()
    }
}

/// The folder of sample documents, or a loud word that it is missing.
pub(crate) fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/documents");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: the sample documents in {} are missing",
        folder.display()
    );
    None
}

fn read(bytes: &[u8], name: &str) -> Result<Parsed, ParseError> {
    parse(bytes, name, None, &settings())
}

fn text(bytes: &[u8], name: &str) -> String {
    read(bytes, name).expect("the document parses").text
}
