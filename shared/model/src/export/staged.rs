use crate::error::{ModelError, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The unfinished neighbour of a file or folder, on the same disk.
fn beside(out: &Path) -> Result<PathBuf> {
    let name = out
        .file_name()
        .ok_or_else(|| ModelError::Invalid(format!("{} is no name to write to", out.display())))?;
    Ok(out.with_file_name(format!(
        ".{}.part-{}",
        name.to_string_lossy(),
        std::process::id()
    )))
}

/// A folder that appears when it is whole.
pub(super) struct StagedFolder {
    out: PathBuf,
    part: PathBuf,
}

impl StagedFolder {
    /// A place for the files of `out`, which must not be there or be empty.
    pub(super) fn new(out: &Path) -> Result<Self> {
        let taken = std::fs::read_dir(out).map_or(out.exists(), |mut files| files.next().is_some());
        if taken {
            return Err(ModelError::Invalid(format!(
                "{} is already there; choose another place or remove it",
                out.display()
            )));
        }
        let part = beside(out)?;
        std::fs::create_dir_all(&part).map_err(ModelError::write(&part))?;
        Ok(Self {
            out: out.to_owned(),
            part,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.part
    }

    /// Writes a small file.
    pub(super) fn text(&self, name: &str, text: &str) -> Result<()> {
        let path = self.part.join(name);
        let mut file = Output::create(&path)?;
        file.write(text.as_bytes())?;
        file.finish()
    }

    /// Lets the folder appear.
    pub(super) fn finish(self) -> Result<()> {
        if self.out.exists() {
            std::fs::remove_dir(&self.out).map_err(ModelError::write(&self.out))?;
        }
        std::fs::rename(&self.part, &self.out).map_err(ModelError::write(&self.out))
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // Gone already when all went well; what cannot be removed is only litter.
        let _ = std::fs::remove_dir_all(&self.part);
    }
}

/// A file that appears when it is whole.
pub(super) struct StagedFile {
    out: PathBuf,
    part: PathBuf,
}

impl StagedFile {
    /// A place for the bytes of `out`, which must not be there.
    pub(super) fn new(out: &Path) -> Result<(Self, Output)> {
        if out.exists() {
            return Err(ModelError::Invalid(format!(
                "{} is already there; choose another place or remove it",
                out.display()
            )));
        }
        let part = beside(out)?;
        let output = Output::create(&part)?;
        let out = out.to_owned();
        Ok((Self { out, part }, output))
    }

    /// Where the bytes are meanwhile.
    pub(super) fn path(&self) -> &Path {
        &self.part
    }

    /// Lets the file appear.
    pub(super) fn finish(self) -> Result<()> {
        std::fs::rename(&self.part, &self.out).map_err(ModelError::write(&self.out))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // As above.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// A file that is written from front to back; errors name it.
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    written: usize,
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(ModelError::write(path))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            written: 0,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len();
        self.file
            .write_all(bytes)
            .map_err(ModelError::write(&self.path))
    }

    /// Zeros up to a multiple of `alignment`.
    pub(super) fn align(&mut self, alignment: usize) -> Result<()> {
        let missing = self.written.next_multiple_of(alignment) - self.written;
        self.write(&vec![0; missing])
    }

    /// Waits until all bytes are on disk.
    pub(super) fn finish(self) -> Result<()> {
        let wrong = ModelError::write(&self.path);
        let file = self.file.into_inner().map_err(|error| error.into_error());
        file.and_then(|file| file.sync_all()).map_err(wrong)
    }
}
