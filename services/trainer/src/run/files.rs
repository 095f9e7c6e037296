use super::error::{RunError, file};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

/// SHA-256 of a file, in hexadecimal, read piece by piece.
pub(crate) fn sha256(path: &Path) -> Result<String, RunError> {
    let mut reader = File::open(path).map_err(file("open", path))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = reader.read(&mut piece).map_err(file("read", path))?;
        if count == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(piece.get(..count).unwrap_or_default());
    }
}

/// SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file whole or not at all, and has it on disk.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let partial = path.with_extension("part");
    let mut writer = File::create(&partial).map_err(file("make", &partial))?;
    writer
        .write_all(bytes)
        .and_then(|()| writer.sync_all())
        .map_err(file("write", &partial))?;
    fs::rename(&partial, path).map_err(file("name", path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), RunError> {
    let opened = File::open(folder).map_err(file("open", folder))?;
    opened.sync_all().map_err(file("sync", folder))
}
