//! The PDFium library, loaded once in a process.

use crate::parse::error::ParseError;
use crate::parse::settings::ParseSettings;
use pdfium_render::prelude::{Pdfium, PdfiumError};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

static PDFIUM: OnceLock<Pdfium> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// PDFium from the path in `settings`; the first path that works serves the process.
pub(crate) fn pdfium(settings: &ParseSettings) -> Result<&'static Pdfium, ParseError> {
    let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pdfium) = PDFIUM.get() {
        return Ok(pdfium);
    }
    let path = settings.pdfium.as_deref().ok_or_else(|| {
        unavailable("no PDFium library is configured, so PDF files cannot be read")
    })?;
    let bindings =
        Pdfium::bind_to_library(path).map_err(|error| unavailable(&not_loaded(path, &error)))?;
    Ok(PDFIUM.get_or_init(|| Pdfium::new(bindings)))
}

fn not_loaded(path: &Path, error: &PdfiumError) -> String {
    format!(
        "the PDFium library {} cannot be loaded: {error:?}",
        path.display()
    )
}

fn unavailable(reason: &str) -> ParseError {
    ParseError::Unavailable {
        reason: reason.to_owned(),
        remedy: "fetch it with `lore models pull pdfium`".to_owned(),
    }
}
