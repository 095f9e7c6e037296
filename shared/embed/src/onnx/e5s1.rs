//! The `E5S1` file: multilingual-e5-small in blocks of 4 bits.
//!
//! Layout, little endian, as measured on the file of the catalogue: magic `E5S1` and a version (u32); hidden size, layers,
//! heads, feed-forward size, vocabulary, positions, token types (i32 each); epsilon (f32); bits' kind (i32); pieces, bos,
//! eos, pad, unk (i32 each); the length of the pieces' text (u64), `pieces + 1` offsets (u32), `pieces` scores (f32), the
//! text; the normaliser (i32, then its length u32 and bytes); the number of tensors (i32), and for each its name's length
//! (u16), name, kind (u8), elements (u32), offset in the file (u64) and bytes (u64). A tensor of 4 bytes per element is
//! float32; any other holds blocks of 18 bytes for 32 elements: a float16 scale, then 16 bytes whose low halves are the
//! first 16 elements and whose high halves are the last 16, each minus 8 (ggml's `Q4_0`).

use crate::EmbedError;
use half::f16;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// First bytes of the file.
pub(crate) const MAGIC: &[u8; 4] = b"E5S1";
/// Elements of a block.
pub(crate) const BLOCK: usize = 32;
/// Bytes of a block.
const BLOCK_BYTES: usize = 18;

/// An open `E5S1` file.
#[derive(Debug)]
pub(crate) struct E5s1 {
    path: PathBuf,
    file: File,
    pub(crate) header: Header,
    tensors: HashMap<String, Entry>,
}

/// Sizes of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub positions: usize,
    pub token_types: usize,
    pub epsilon: f32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    elements: usize,
    offset: u64,
    bytes: u64,
}

impl Entry {
    fn is_quantised(self) -> bool {
        self.bytes != 4 * self.elements as u64
    }
}

impl E5s1 {
    pub(crate) fn open(path: &Path) -> Result<Self, EmbedError> {
        let file = File::open(path).map_err(EmbedError::read(path))?;
        let size = file.metadata().map_err(EmbedError::read(path))?.len();
        let mut reader = BufReader::new(&file);
        let broken =
            |e: io::Error| EmbedError::invalid(path, format!("not a whole E5S1 file: {e}"));
        let header = read_header(&mut reader).map_err(broken)?;
        skip_tokenizer(&mut reader).map_err(broken)?;
        let tensors = read_directory(&mut reader, size).map_err(broken)?;
        Ok(Self {
            path: path.into(),
            file,
            header,
            tensors,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self, name: &str) -> Option<usize> {
        self.tensors.get(name).map(|entry| entry.elements)
    }

    /// Whether the tensor is stored in blocks whose values and scales can be taken as they are.
    pub(crate) fn is_quantised(&self, name: &str) -> bool {
        self.tensors
            .get(name)
            .is_some_and(|entry| entry.is_quantised())
    }

    pub(crate) fn read(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>, EmbedError> {
        let entry = self.entry(name)?;
        if !entry.is_quantised() {
            let bytes = self.bytes(entry, name, 4 * range.start..4 * range.end)?;
            return Ok(bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect());
        }
        let (first, last) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
        let (values, scales) = (
            self.values(name, first..last)?,
            self.scales(name, first..last)?,
        );
        let whole = values.iter().zip(scales.iter().flat_map(|s| [*s; BLOCK]));
        let skip = range.start - first * BLOCK;
        Ok(whole
            .map(|(value, scale)| f32::from(*value) * scale)
            .skip(skip)
            .take(range.len())
            .collect())
    }

    /// The integers of blocks `blocks`, each in -8..=7.
    pub(crate) fn values(&self, name: &str, blocks: Range<usize>) -> Result<Vec<i8>, EmbedError> {
        let bytes = self.blocks(name, blocks)?;
        let mut values = Vec::with_capacity(bytes.len() / BLOCK_BYTES * BLOCK);
        for block in bytes.as_chunks::<BLOCK_BYTES>().0 {
            let [_, _, halves @ ..] = block;
            values.extend(halves.iter().map(|b| (b & 15) as i8 - 8));
            values.extend(halves.iter().map(|b| (b >> 4) as i8 - 8));
        }
        Ok(values)
    }

    /// The scales of blocks `blocks`.
    pub(crate) fn scales(&self, name: &str, blocks: Range<usize>) -> Result<Vec<f32>, EmbedError> {
        let bytes = self.blocks(name, blocks)?;
        let scale =
            |[low, high, ..]: &[u8; BLOCK_BYTES]| f16::from_le_bytes([*low, *high]).to_f32();
        Ok(bytes
            .as_chunks::<BLOCK_BYTES>()
            .0
            .iter()
            .map(scale)
            .collect())
    }

    fn blocks(&self, name: &str, blocks: Range<usize>) -> Result<Vec<u8>, EmbedError> {
        self.bytes(
            self.entry(name)?,
            name,
            blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES,
        )
    }

    fn entry(&self, name: &str) -> Result<Entry, EmbedError> {
        let missing = || EmbedError::invalid(&self.path, format!("tensor `{name}` is missing"));
        self.tensors.get(name).copied().ok_or_else(missing)
    }

    fn bytes(&self, entry: Entry, name: &str, range: Range<usize>) -> Result<Vec<u8>, EmbedError> {
        if range.end as u64 > entry.bytes {
            return Err(EmbedError::invalid(
                &self.path,
                format!("tensor `{name}` is shorter than it says"),
            ));
        }
        let mut bytes = vec![0; range.len()];
        let offset = entry.offset + range.start as u64;
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(EmbedError::read(&self.path))?;
        Ok(bytes)
    }
}

fn read_header(from: &mut impl Read) -> io::Result<Header> {
    let mut magic = [0; 4];
    from.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(io::Error::other("it does not begin with `E5S1`"));
    }
    read_u32(from)?; // version
    let header = Header {
        hidden: read_size(from)?,
        layers: read_size(from)?,
        heads: read_size(from)?,
        feed_forward: read_size(from)?,
        vocabulary: read_size(from)?,
        positions: read_size(from)?,
        token_types: read_size(from)?,
        epsilon: f32::from_bits(read_u32(from)?),
    };
    read_u32(from)?; // kind of blocks
    Ok(header)
}

/// Skips the tokenizer, which is read from its own `tokenizer.json`.
fn skip_tokenizer(from: &mut impl Read) -> io::Result<()> {
    let pieces = read_size(from)? as u64;
    skip(from, 4 * 4)?; // bos, eos, pad, unk
    let text = read_u64(from)?;
    skip(from, (pieces + 1) * 4 + pieces * 4)?;
    skip(from, text)?;
    read_u32(from)?; // kind of normaliser
    let normaliser = read_u32(from)?;
    skip(from, normaliser.into())
}

fn read_directory(from: &mut impl Read, file_size: u64) -> io::Result<HashMap<String, Entry>> {
    let count = read_size(from)?;
    let mut tensors = HashMap::new();
    for _ in 0..count {
        let (name, entry) = read_entry(from)?;
        if entry.offset.saturating_add(entry.bytes) > file_size {
            return Err(io::Error::other(format!(
                "tensor `{name}` reaches beyond the file's end"
            )));
        }
        if entry.is_quantised()
            && entry.bytes * BLOCK as u64 != (entry.elements * BLOCK_BYTES) as u64
        {
            return Err(io::Error::other(format!(
                "tensor `{name}` is neither float32 nor Q4_0"
            )));
        }
        tensors.insert(name, entry);
    }
    Ok(tensors)
}

fn read_entry(from: &mut impl Read) -> io::Result<(String, Entry)> {
    let mut length = [0; 2];
    from.read_exact(&mut length)?;
    let mut name = vec![0; u16::from_le_bytes(length).into()];
    from.read_exact(&mut name)?;
    skip(from, 1)?; // kind; the number of bytes tells it too
    let elements = read_u32(from)? as usize;
    let entry = Entry {
        elements,
        offset: read_u64(from)?,
        bytes: read_u64(from)?,
    };
    Ok((String::from_utf8(name).map_err(io::Error::other)?, entry))
}

fn read_u32(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_u64(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A non-negative 32-bit number.
fn read_size(from: &mut impl Read) -> io::Result<usize> {
    let number = read_u32(from)?.cast_signed();
    usize::try_from(number).map_err(|_| io::Error::other(format!("a size of {number}")))
}

fn skip(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut from.take(bytes), &mut io::sink())?;
    if skipped == bytes {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
