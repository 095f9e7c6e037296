//! Writes the list of the sample documents, with their bytes, for `lore demo`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The sample handbook, seen from this crate.
const SAMPLES: &str = "../../ingest/samples/handbook";

fn main() -> io::Result<()> {
    let samples = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join(SAMPLES);
    println!("cargo::rerun-if-changed={}", samples.display());
    let mut list = String::from("&[\n");
    for path in files(&samples)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let _ = writeln!(
            list,
            "    ({name:?}, include_bytes!({:?}).as_slice()),",
            path.canonicalize()?
        );
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    fs::write(out.join("samples.rs"), list)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
