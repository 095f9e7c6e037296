use super::{Read, ParseError, Limits};
pub(crate) fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Read, ParseError> { Err(ParseError::Empty) }
