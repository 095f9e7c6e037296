use crate::exit::{Exit, Failure};
use globset::{GlobBuilder, GlobMatcher};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// What the extensions of readable documents are. A file that is named on the command line is sent whatever its name.
const EXTENSIONS: [&str; 11] = [
    "txt", "text", "log", "md", "markdown", "mdown", "html", "htm", "xhtml", "pdf", "docx",
];

/// A file that will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// The file.
    pub path: PathBuf,
    /// The name of its document: its path below the folder that was given, with `/` between the parts.
    pub name: String,
}

/// A file or folder that will not be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file or the folder.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What the paths of a command line hold.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// What will be sent, in the order of the command line, folders by name.
    pub files: Vec<FoundFile>,
    /// What will not.
    pub skipped: Vec<Skipped>,
}

/// Finds every file under the given files, folders and globs.
///
/// # Errors
/// A path that does not exist, a glob that matches nothing, two files with the same document name.
pub fn gather(paths: &[PathBuf], hidden: bool) -> Result<Gathered, Failure> {
    let mut gathered = Gathered::default();
    for path in paths {
        if path.is_dir() {
            walk(path, None, hidden, &mut gathered);
        } else if path.exists() {
            gathered.add_named(path);
        } else if is_glob(path) {
            expand(path, hidden, &mut gathered)?;
        } else {
            let missing = Failure::new(format!("{} does not exist", path.display()));
            return Err(missing
                .hint("check the spelling of the path")
                .exit(Exit::NotFound));
        }
    }
    refuse_same_names(&gathered.files)?;
    Ok(gathered)
}

impl Gathered {
    fn add_named(&mut self, path: &Path) {
        let base = path.parent().unwrap_or(Path::new(""));
        self.add(path, base);
    }

    fn add(&mut self, path: &Path, base: &Path) {
        match name_below(path, base) {
            Some(name) => self.files.push(FoundFile {
                path: path.to_owned(),
                name,
            }),
            None => self.skip(path, "its name is not UTF-8"),
        }
    }

    fn skip(&mut self, path: &Path, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            path: path.to_owned(),
            reason: reason.into(),
        });
    }
}

/// Adds the files of a folder; with a glob, only those that match it.
fn walk(base: &Path, glob: Option<&GlobMatcher>, hidden: bool, gathered: &mut Gathered) {
    let mut entries = WalkDir::new(base).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(base).to_owned();
                gathered.skip(&path, format!("cannot be read: {error}"));
                continue;
            }
        };
        if !hidden && is_hidden(&entry) {
            if glob.is_none() {
                gathered.skip(entry.path(), "hidden; --hidden takes it in");
            }
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
        } else if glob.is_none_or(|glob| glob.is_match(bare(entry.path()))) {
            consider(&entry, base, gathered);
        }
    }
}

fn consider(entry: &DirEntry, base: &Path, gathered: &mut Gathered) {
    let path = entry.path();
    if entry.file_type().is_dir() {
        return;
    }
    if path.is_dir() {
        return gathered.skip(path, "a link to a folder");
    }
    if !path.is_file() {
        return gathered.skip(path, "not a regular file");
    }
    match unreadable_extension(path) {
        Some(reason) => gathered.skip(path, reason),
        None => gathered.add(path, base),
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn unreadable_extension(path: &Path) -> Option<String> {
    let Some(extension) = path.extension() else {
        return Some(
            "it has no extension; name the file itself to send it nevertheless".to_owned(),
        );
    };
    let lower = extension.to_string_lossy().to_ascii_lowercase();
    (!EXTENSIONS.contains(&lower.as_str())).then(|| format!("Lore does not read .{lower} files"))
}

fn is_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '[', '{'])
}

fn expand(pattern: &Path, hidden: bool, gathered: &mut Gathered) -> Result<(), Failure> {
    let text = bare(pattern).to_string_lossy();
    let wrong = |error: globset::Error| Failure::new(error.to_string()).exit(Exit::Usage);
    let glob = GlobBuilder::new(&text)
        .literal_separator(true)
        .build()
        .map_err(wrong)?
        .compile_matcher();
    let before = gathered.files.len() + gathered.skipped.len();
    walk(&fixed_part(bare(pattern)), Some(&glob), hidden, gathered);
    if gathered.files.len() + gathered.skipped.len() == before {
        return Err(Failure::new(format!("nothing matches {text}")).exit(Exit::NotFound));
    }
    Ok(())
}

/// A path without `./` before it, so that patterns and what a walk yields are written alike.
fn bare(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

/// The folders of a pattern before its first wildcard.
fn fixed_part(pattern: &Path) -> PathBuf {
    let fixed: PathBuf = pattern
        .components()
        .take_while(|part| !is_glob(Path::new(part)))
        .collect();
    if fixed.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        fixed
    }
}

fn name_below(path: &Path, base: &Path) -> Option<String> {
    let below = path.strip_prefix(base).unwrap_or(path);
    let parts: Option<Vec<&str>> = below
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|part| part.as_os_str().to_str())
        .collect();
    parts
        .map(|parts| parts.join("/"))
        .filter(|name| !name.is_empty())
}

fn refuse_same_names(files: &[FoundFile]) -> Result<(), Failure> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for file in files {
        let Some(first) = seen.insert(&file.name, &file.path) else {
            continue;
        };
        if first != file.path {
            let (first, second) = (first.display(), file.path.display());
            return Err(Failure::new(format!(
                "{first} and {second} would both be the document `{}`",
                file.name
            ))
            .hint("ingest the folder that holds both, or run two commands with different --prefix")
            .exit(Exit::Usage));
        }
    }
    Ok(())
}
