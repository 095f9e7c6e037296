//! The files of a tar archive, in one flat folder.

use crate::exit::Failure;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of a tar block.
const BLOCK: usize = 512;

/// Writes the plain files of an archive into `folder`, each under the last part of its name, so that nothing is written
/// elsewhere; says how many bytes they have.
///
/// # Source
/// POSIX.1-1988 (ustar), with GNU's base 256 for sizes from 8 GiB on.
pub fn unpack(archive: &Path, folder: &Path) -> Result<u64, Failure> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Failure::new(format!("cannot unpack {path}: {error}"))
    };
    let file = File::open(archive).map_err(failed(archive))?;
    let mut reader = BufReader::new(file);
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let mut all = 0;
    while let Some(entry) = next(&mut reader).map_err(failed(archive))? {
        let padding = entry.bytes.next_multiple_of(BLOCK as u64) - entry.bytes;
        let mut content = reader.by_ref().take(entry.bytes);
        if let Some(name) = entry.name {
            let path = folder.join(name);
            let mut to = File::create(&path).map_err(failed(&path))?;
            all += io::copy(&mut content, &mut to).map_err(failed(&path))?;
            to.sync_all().map_err(failed(&path))?;
        }
        // What is left of an entry that was not written, and the rest of its last block.
        let rest = content.limit() + padding;
        let mut rest = reader.by_ref().take(rest);
        io::copy(&mut rest, &mut io::sink()).map_err(failed(archive))?;
    }
    Ok(all)
}

struct Entry {
    /// Of a plain file.
    name: Option<PathBuf>,
    bytes: u64,
}

/// The next header; `None` at the empty block that ends an archive.
fn next(reader: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut block = [0u8; BLOCK];
    reader.read_exact(&mut block)?;
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let field = |from: usize, length: usize| block.get(from..from + length).unwrap_or_default();
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u64::from(*byte)
            }
        })
        .sum();
    if octal(field(148, 8)) != Some(sum) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not a tar archive",
        ));
    }
    let size = field(124, 12);
    let bytes = match size {
        [0x80, .., a, b, c, d, e, f, g, h] => {
            Some(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        _ => octal(size),
    };
    let bytes =
        bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a size is damaged"))?;
    let plain = matches!(field(156, 1), b"0" | b"\0");
    let name = String::from_utf8_lossy(field(0, 100))
        .trim_end_matches('\0')
        .to_owned();
    let name = Path::new(&name)
        .file_name()
        .map(PathBuf::from)
        .filter(|_| plain);
    Ok(Some(Entry { name, bytes }))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_tar_packs_is_unpacked_flat() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("in");
        std::fs::create_dir_all(&source).expect("a folder");
        std::fs::write(source.join("a.json"), "{}").expect("written");
        std::fs::write(source.join("b.bin"), vec![7; 1300]).expect("written");
        let archive = folder.path().join("x.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .args(["--format=ustar", "-cf"])
            .arg(&archive)
            .arg("in")
            .status();
        if !packed.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: there is no tar");
            return;
        }
        let to = folder.path().join("out");
        assert_eq!(unpack(&archive, &to).expect("unpacked"), 1302);
        assert_eq!(std::fs::read(to.join("a.json")).expect("a file"), b"{}");
        assert_eq!(
            std::fs::read(to.join("b.bin")).expect("a file"),
            vec![7; 1300]
        );
        std::fs::write(&archive, vec![1; 700]).expect("written");
        assert!(unpack(&archive, &to).is_err());
    }
}
