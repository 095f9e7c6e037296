use crate::exit::Failure;
use std::fs;
use std::path::{Path, PathBuf};

/// The handbook of a made-up company: name and bytes of each document.
const SAMPLES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// Three questions about the handbook: a Markdown page, a table in a DOCX manual, a Chinese page.
pub const QUESTIONS: [&str; 3] = [
    "How many days of annual leave does a full-time employee have, and how many may be carried into the next year?",
    "What does error code E-1042 of the HX-200 mean, and what is the remedy?",
    "苏州服务中心的员工入职满一年后每年有多少天带薪年假？",
];

/// Writes the handbook into the data folder, and returns where it lies. Files that are there already are left as they are
/// where they have the same bytes.
pub fn unpack(data_dir: &Path) -> Result<PathBuf, Failure> {
    let folder = data_dir.join("samples").join("handbook");
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    for (name, bytes) in SAMPLES {
        let path = folder.join(name);
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            fs::write(&path, bytes).map_err(|error| failed(&path, &error))?;
        }
    }
    Ok(folder)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
        .hint("choose a folder that this user may write to, with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handbook_has_eight_documents_in_four_formats_at_least() {
        let extension = |name: &&str| {
            Path::new(name)
                .extension()
                .map(|found| found.to_string_lossy().into_owned())
        };
        let names: Vec<&str> = SAMPLES.iter().map(|(name, _)| *name).collect();
        let formats: std::collections::BTreeSet<_> = names.iter().filter_map(extension).collect();
        assert!(names.len() >= 8, "{names:?}");
        assert!(formats.len() >= 4, "{formats:?}");
        assert!(
            names.iter().any(|name| !name.is_ascii()),
            "one document is Chinese: {names:?}"
        );
    }
}
