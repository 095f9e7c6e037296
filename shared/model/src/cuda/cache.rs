//! Compiled kernels on disk: here is what one is made from, give me its machine code.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Length of the checksum that stands before the code.
const SUM: usize = 32;

/// `$XDG_CACHE_HOME/lore/kernels`, or `~/.cache/lore/kernels`; `None` where neither variable is set.
#[cfg_attr(
    not(feature = "cuda"),
    expect(dead_code, reason = "only the compiler asks")
)]
pub(super) fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = match set("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(set("HOME")?).join(".cache"),
    };
    Some(base.join("lore").join("kernels"))
}

/// The code kept under `key` (all that it is made from), or that which `make` gives, which is then kept.
///
/// A file that is damaged is made anew. A folder that cannot be written costs time at the next start, and is no error.
pub(super) fn code<E>(
    folder: Option<&Path>,
    key: &[&str],
    make: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let path = folder.map(|folder| folder.join(name(key)));
    if let Some(code) = path.as_deref().and_then(read) {
        return Ok(code);
    }
    let code = make()?;
    if let Some(path) = path
        && let Err(error) = write(&path, &code)
    {
        tracing::warn!(path = %path.display(), %error, "a compiled kernel could not be kept");
    }
    Ok(code)
}

fn name(key: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in key {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digits = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    format!("{digits}.cubin")
}

/// What the file holds, if its checksum is right.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(path).ok()?;
    if bytes.len() <= SUM {
        return None;
    }
    let code = bytes.split_off(SUM);
    (Sha256::digest(&code)[..] == bytes[..]).then_some(code)
}

/// Writes beside the file and renames, so that another process sees all of it or nothing.
fn write(path: &Path, code: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension(format!("part{}", std::process::id()));
    let mut bytes = Sha256::digest(code).to_vec();
    bytes.extend_from_slice(code);
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Codes from a folder, with the number of times that one was made.
    fn ask(folder: &Path, key: &[&str], made: &Cell<u32>) -> Vec<u8> {
        let make = || {
            made.set(made.get() + 1);
            Ok::<_, ()>(format!("code {}", key.join(" ")).into_bytes())
        };
        code(Some(folder), key, make).expect("code")
    }

    #[test]
    fn code_is_made_once_for_each_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Cell::new(0);
        let first = ask(folder.path(), &["source", "sm_90", "13.0"], &made);
        assert_eq!(first, b"code source sm_90 13.0");
        assert_eq!(
            ask(folder.path(), &["source", "sm_90", "13.0"], &made),
            first
        );
        assert_eq!(made.get(), 1);
        for other in [
            ["source", "sm_80", "13.0"],
            ["source", "sm_90", "12.9"],
            ["sourc", "esm_90", "13.0"],
        ] {
            assert_ne!(ask(folder.path(), &other, &made), first);
        }
        assert_eq!(made.get(), 4);
    }

    #[test]
    fn damaged_files_are_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (made, key) = (Cell::new(0), ["source"]);
        let first = ask(folder.path(), &key, &made);
        let file = folder.path().join(name(&key));
        let whole = std::fs::read(&file).expect("the file");
        let mut flipped = whole.clone();
        *flipped.last_mut().expect("bytes") ^= 1;
        for (round, damaged) in [&whole[..10], &whole[..whole.len() - 1], &flipped[..], &[]]
            .into_iter()
            .enumerate()
        {
            std::fs::write(&file, damaged).expect("writing");
            assert_eq!(ask(folder.path(), &key, &made), first);
            assert_eq!(made.get(), round as u32 + 2);
            assert_eq!(
                std::fs::read(&file).expect("the file"),
                whole,
                "it is repaired"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").expect("writing");
        let made = Cell::new(0);
        assert_eq!(ask(&file, &["source"], &made), b"code source");
        assert_eq!(
            code(None, &["source"], || Ok::<_, ()>(vec![1])),
            Ok(vec![1])
        );
    }

    #[test]
    fn what_cannot_be_made_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let failed = code(Some(folder.path()), &["source"], || {
            Err::<Vec<u8>, _>("no compiler")
        });
        assert_eq!(failed, Err("no compiler"));
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0
        );
    }
}
