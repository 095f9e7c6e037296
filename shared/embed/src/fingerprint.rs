//! Tells whether weights have changed, without reading all of them.

use crate::EmbedError;
use std::{fs::File, os::unix::fs::FileExt, path::Path};

/// Raise it when the exporter writes other graphs.
const EXPORTER_VERSION: u64 = 2;
/// Places of the file that are read.
const SAMPLES: u64 = 256;
/// Bytes read at each.
const SAMPLE_BYTES: usize = 4096;

/// A name for the contents of `weights` and `config`: 16 hexadecimal digits.
///
/// The file's length and 256 samples of 4 KiB go into it: training changes all weights, so that other weights differ in
/// the samples too. It does not depend on the file's place or time.
pub(crate) fn fingerprint(weights: &Path, config: &Path) -> Result<String, EmbedError> {
    let mut hash = Fnv::default();
    hash.add(&EXPORTER_VERSION.to_le_bytes());
    let file = File::open(weights).map_err(EmbedError::read(weights))?;
    let length = file.metadata().map_err(EmbedError::read(weights))?.len();
    hash.add(&length.to_le_bytes());
    for sample in 0..SAMPLES {
        let offset = length / SAMPLES * sample;
        let mut bytes = vec![0; SAMPLE_BYTES.min((length - offset) as usize)];
        file.read_exact_at(&mut bytes, offset)
            .map_err(EmbedError::read(weights))?;
        hash.add(&bytes);
    }
    hash.add(&std::fs::read(config).unwrap_or_default()); // an E5S1 file has none
    Ok(format!("{:016x}", hash.0))
}

/// FNV-1a in 64 bits: small, and the same in every version of the standard library.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
