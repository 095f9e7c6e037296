//! Small models, made on the spot.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lore_models::{Catalogue, Progress, PullEvent, Store, StoreSettings};
use sha2::{Digest, Sha256};

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A catalogue of one generator `m` with one file `model.gguf` of these bytes and sources.
pub fn catalogue(content: &[u8], sources: &str) -> Catalogue {
    let (hash, size) = (sha256(content), content.len());
    parse(&format!(
        "{HEAD}sha256 = \"{hash}\"\nsize = {size}\nsources = [{sources}]\n"
    ))
}

/// The same without a pin.
pub fn unpinned(sources: &str) -> Catalogue {
    parse(&format!("{HEAD}sources = [{sources}]\n"))
}

const HEAD: &str = "
[[models]]
name = \"m\"
task = \"generate\"
architecture = \"qwen2\"
licence = \"MIT\"
[[models.files]]
role = \"gguf\"
name = \"model.gguf\"
";

fn parse(text: &str) -> Catalogue {
    Catalogue::parse(text, Path::new("test.toml")).unwrap()
}

/// A source that copies this file.
pub fn local(path: &Path) -> String {
    format!("{{ kind = \"local\", path = \"{}\" }}", path.display())
}

pub fn store(dir: &Path, catalogue: Catalogue) -> Store {
    Store::new(dir, catalogue, StoreSettings::default())
}

/// A progress that keeps everything it hears.
pub fn listening() -> (Progress, Arc<Mutex<Vec<PullEvent>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    (
        Arc::new(move |event| ear.lock().unwrap().push(event)),
        heard,
    )
}

/// Every file below the models folder that is not a lock, as `folder/file`.
pub fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    collect(dir, dir, &mut found);
    found.sort();
    found
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_none_or(|suffix| suffix != "lock") {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}
