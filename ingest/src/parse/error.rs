use lore_types::DocumentFormat;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a document could not be read, in words for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ParseError {
    /// There are no bytes, or nothing but white space.
    #[error("the document is empty: it holds no text at all")]
    Empty,
    /// It is something that Lore does not read.
    #[error("this is {looks_like}, which Lore does not read")]
    Unsupported {
        /// What it looks like, with an article: `a legacy Word document (.doc)`.
        looks_like: String,
        /// What the user can do.
        remedy: String,
    },
    /// A password is needed.
    #[error("the {} is encrypted and cannot be read without its password", name(*format))]
    Encrypted {
        /// What it is.
        format: DocumentFormat,
    },
    /// It is fine, but there is no text in it.
    #[error("no text was found in the {}: {detail}", name(*format))]
    NoText {
        /// What it is.
        format: DocumentFormat,
        /// Why, as far as it can be told.
        detail: String,
    },
    /// It breaks the rules of its format beyond repair.
    #[error("the {} is damaged: {reason}", name(*format))]
    Malformed {
        /// What it claims to be.
        format: DocumentFormat,
        /// What is wrong.
        reason: String,
    },
    /// It goes over one of the [`Limits`](super::Limits).
    #[error("the document is too large: {what} exceeds the limit of {limit}")]
    TooLarge {
        /// Which quantity.
        what: String,
        /// The bound, with its unit.
        limit: String,
    },
    /// The parser did not end in time.
    #[error("reading the document took longer than the limit of {seconds} s")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// The parser asked for more memory than it may have.
    #[error("reading the document needs more memory than the limit of {mebibytes} MiB")]
    OutOfMemory {
        /// The limit.
        mebibytes: u64,
    },
    /// The parser died.
    #[error("the document crashed the parser ({cause})")]
    Crashed {
        /// Signal, exit code or panic message.
        cause: String,
    },
    /// The parser could not run at all; the document is not at fault.
    #[error("the parser cannot run: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

impl ParseError {
    /// A stable word to branch on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_document",
            Self::Unsupported { .. } => "unsupported_format",
            Self::Encrypted { .. } => "encrypted_document",
            Self::NoText { .. } => "no_text",
            Self::Malformed { .. } => "malformed_document",
            Self::TooLarge { .. } => "document_too_large",
            Self::TimedOut { .. } => "parser_timeout",
            Self::OutOfMemory { .. } => "parser_out_of_memory",
            Self::Crashed { .. } => "parser_crashed",
            Self::Unavailable { .. } => "parser_unavailable",
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty => "send a file that holds text",
            Self::Unsupported { remedy, .. } | Self::Unavailable { remedy, .. } => remedy,
            Self::Encrypted { .. } => {
                "remove the password in the program that set it, save the file and send it again"
            }
            Self::NoText {
                format: DocumentFormat::Pdf,
                ..
            } => {
                "run text recognition (OCR) over the file, for example with `ocrmypdf`, and send the result"
            }
            Self::NoText { .. } => "send a file that holds text",
            Self::Malformed { .. } => {
                "open the file in the program that made it, save it again and send the new file"
            }
            Self::TooLarge { .. } => "split the document into smaller ones",
            Self::TimedOut { .. } => "split the document, or raise `ingest.parse_timeout`",
            Self::OutOfMemory { .. } => "split the document, or raise `ingest.parse_memory`",
            Self::Crashed { .. } => {
                "save the file again in the program that made it, or convert it to another format"
            }
        };
        Some(hint.to_owned())
    }

    /// Whether the document is not at fault, so that trying again later may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// What a person calls the format.
pub(crate) fn name(format: DocumentFormat) -> &'static str {
    match format {
        DocumentFormat::Text => "text file",
        DocumentFormat::Markdown => "Markdown file",
        DocumentFormat::Html => "HTML page",
        DocumentFormat::Pdf => "PDF",
        DocumentFormat::Docx => "Word document (.docx)",
    }
}
