use super::{Read, ParseError, ParseSettings};
pub(crate) fn parse(_bytes: &[u8], _s: &ParseSettings) -> Result<Read, ParseError> { Err(ParseError::Empty) }
