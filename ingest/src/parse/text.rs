//! Plain text: its characters, and nothing else to find.

use super::blocks::Composed;
use super::clean::verbatim;
use super::encoding::Decoded;
use super::error::ParseError;
use super::settings::Limits;

/// The text as it stands, with clean line ends.
pub(crate) fn parse(decoded: &Decoded, limits: &Limits) -> Result<Composed, ParseError> {
    if decoded.text.len() > limits.max_text {
        return Err(ParseError::TooLarge {
            what: "its text".to_owned(),
            limit: format!("{} MiB", limits.max_text >> 20),
        });
    }
    Ok(Composed {
        text: verbatim(&decoded.text),
        headings: Vec::new(),
        pages: Vec::new(),
    })
}
