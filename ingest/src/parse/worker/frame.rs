use std::io::{self, Read, Write};

/// Bytes that one frame may hold: more than any document's text and places.
pub(crate) const MAX_FRAME: u64 = 1 << 30;

/// Reads a frame's body, or `None` at the end of the stream.
pub(crate) fn read(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; 8];
    match input.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = length(header)?;
    let mut body = Vec::new();
    input.take(length).read_to_end(&mut body)?;
    Ok((body.len() as u64 == length).then_some(body))
}

/// Writes `body` as a frame.
pub(crate) fn write(output: &mut impl Write, body: &[u8]) -> io::Result<()> {
    output.write_all(&(body.len() as u64).to_le_bytes())?;
    output.write_all(body)?;
    output.flush()
}

/// The length in a frame's header.
pub(crate) fn length(header: [u8; 8]) -> io::Result<u64> {
    let length = u64::from_le_bytes(header);
    if length <= MAX_FRAME {
        return Ok(length);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a frame of {length} bytes exceeds the limit of {MAX_FRAME}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_cut_ones_end_the_stream() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"one").expect("writing to memory");
        write(&mut bytes, b"").expect("writing to memory");
        bytes.extend([9, 0, 0, 0, 0, 0, 0, 0, b'x']);
        let mut input = bytes.as_slice();
        assert_eq!(read(&mut input).expect("a frame"), Some(b"one".to_vec()));
        assert_eq!(read(&mut input).expect("a frame"), Some(Vec::new()));
        assert_eq!(read(&mut input).expect("the end"), None);
        assert!(read(&mut [0xFF_u8; 8].as_slice()).is_err());
    }
}
