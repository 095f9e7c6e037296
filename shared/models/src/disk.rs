//! Writing files so that a final name always means a whole file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{SourceError, io as io_error};

const BLOCK: usize = 1 << 20;

/// What is known of a file in advance. The length is checked first, because it says more to a person.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub(crate) sha256: Option<String>,
    pub(crate) size: Option<u64>,
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

impl Expected {
    pub(crate) fn check(&self, measured: &Measured) -> Result<(), SourceError> {
        if let Some(expected) = self.size.filter(|size| *size != measured.size) {
            return Err(SourceError::WrongSize {
                expected,
                actual: measured.size,
            });
        }
        match &self.sha256 {
            Some(expected) if *expected != measured.sha256 => Err(SourceError::WrongHash {
                expected: expected.clone(),
                actual: measured.sha256.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// Counts and hashes what is written through it, and tells the count.
pub(crate) struct Measuring<'a, W> {
    inner: W,
    hasher: Sha256,
    size: u64,
    tell: &'a dyn Fn(u64),
}

impl<'a, W: Write> Measuring<'a, W> {
    pub(crate) fn new(inner: W, tell: &'a dyn Fn(u64)) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size: 0,
            tell,
        }
    }

    /// Counts and hashes the first `length` bytes of `path` as if they had been written through it.
    pub(crate) fn skip(&mut self, path: &Path, length: u64) -> io::Result<()> {
        let mut before = File::open(path)?.take(length);
        let mut block = vec![0; BLOCK];
        loop {
            let read = before.read(&mut block)?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(block.get(..read).unwrap_or_default());
            self.size += read as u64;
        }
    }

    /// The writer, and what went through it.
    pub(crate) fn finish(self) -> (W, Measured) {
        (
            self.inner,
            Measured {
                sha256: hex(&self.hasher.finalize()),
                size: self.size,
            },
        )
    }
}

impl<W: Write> Write for Measuring<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        self.size += written as u64;
        (self.tell)(self.size);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies to the end.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<(), CopyError> {
    let mut block = vec![0; BLOCK];
    loop {
        let read = match from.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        to.write_all(block.get(..read).unwrap_or_default())
            .map_err(CopyError::Write)?;
    }
}

/// Length and sha256 of a file.
pub(crate) fn measure(path: &Path, tell: &dyn Fn(u64)) -> Result<Measured, SourceError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut measuring = Measuring::new(io::sink(), tell);
    match copy(&mut file, &mut measuring) {
        Ok(()) => Ok(measuring.finish().1),
        Err(CopyError::Read(error) | CopyError::Write(error)) => Err(io_error("read", path)(error)),
    }
}

/// Checks a finished `.part` file against what is expected, makes it durable and gives it its final name. A wrong one is
/// removed.
pub(crate) fn settle(
    part: &Path,
    file: &File,
    measured: &Measured,
    expected: &Expected,
    target: &Path,
) -> Result<(), SourceError> {
    if let Err(wrong) = expected.check(measured) {
        std::fs::remove_file(part).map_err(io_error("remove", part))?;
        return Err(wrong);
    }
    file.sync_all().map_err(io_error("sync", part))?;
    std::fs::rename(part, target).map_err(io_error("rename", part))?;
    sync_folder(target)
}

/// Makes a rename durable.
fn sync_folder(target: &Path) -> Result<(), SourceError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("sync", folder))
}
