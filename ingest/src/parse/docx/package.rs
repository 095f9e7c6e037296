use super::xml::{self, Element, Part};
use crate::parse::encoding::decode;
use crate::parse::error::ParseError;
use crate::parse::settings::Limits;
use lore_types::DocumentFormat;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// The zip archive that a DOCX is: its parts by name, and how they are related.
pub(crate) struct Package<'a> {
    archive: Source<'a>,
    /// Bytes that parts may still unpack to.
    budget: u64,
    limits: Limits,
    pub(crate) warnings: Vec<String>,
}

enum Source<'a> {
    Whole {
        archive: Box<ZipArchive<Cursor<&'a [u8]>>>,
        names: HashMap<String, usize>,
    },
    /// The directory is damaged: the parts that could be read without it.
    Salvaged(HashMap<String, Vec<u8>>),
}

/// The parts that one part refers to, by the id of the reference, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Relations(Vec<(String, String, String)>);

impl Relations {
    /// The kind and the part behind the reference `id`.
    pub(crate) fn get(&self, id: &str) -> Option<(&str, &str)> {
        self.0
            .iter()
            .find(|(own, ..)| own == id)
            .map(|(_, kind, target)| (kind.as_str(), target.as_str()))
    }

    /// The ids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, ..)| id.as_str())
    }

    /// The first part of a kind, such as `styles`.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, own, _)| own == kind)
            .map(|(.., target)| target.as_str())
    }
}

impl<'a> Package<'a> {
    /// Opens the archive, with what can be saved of a damaged one.
    pub(crate) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, ParseError> {
        let mut package = Self {
            archive: Source::Salvaged(HashMap::new()),
            budget: limits.max_unpacked,
            limits: *limits,
            warnings: Vec::new(),
        };
        match ZipArchive::new(Cursor::new(bytes)) {
            Ok(archive) => {
                let names = archive
                    .file_names_raw()
                    .enumerate()
                    .map(|(place, name)| (key(&String::from_utf8_lossy(name)), place))
                    .collect();
                package.archive = Source::Whole {
                    archive: Box::new(archive),
                    names,
                };
            }
            Err(error) => {
                let parts = package.salvage(bytes)?;
                if parts.is_empty() {
                    return Err(malformed(format!("its archive cannot be opened: {error}")));
                }
                package.warnings.push(
                    "the archive is damaged or cut off; what could be saved of it was read"
                        .to_owned(),
                );
                package.archive = Source::Salvaged(parts);
            }
        }
        Ok(package)
    }

    /// The bytes of a part, or `None` where there is none of that name.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, ParseError> {
        let budget = self.budget;
        let (mut bytes, damaged) = match &mut self.archive {
            Source::Salvaged(parts) => return Ok(parts.get(&key(name)).cloned()),
            Source::Whole { archive, names } => {
                let Some(place) = names.get(&key(name)) else {
                    return Ok(None);
                };
                let mut part = match archive.by_index(*place) {
                    Ok(part) => part,
                    Err(error) => return unreadable(&mut self.warnings, name, &error),
                };
                let mut bytes = Vec::new();
                let damaged = part
                    .by_ref()
                    .take(budget + 1)
                    .read_to_end(&mut bytes)
                    .is_err();
                (bytes, damaged)
            }
        };
        self.spend(bytes.len())?;
        if damaged {
            self.warnings.push(format!(
                "the part `{name}` is damaged; what could be saved of it was read"
            ));
            bytes.shrink_to_fit();
        }
        Ok(Some(bytes))
    }

    /// A part as a tree, or `None` where there is none of that name.
    pub(crate) fn xml(&mut self, name: &str) -> Result<Option<Element>, ParseError> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        let Part { root, damage } = xml::read(&decode(&bytes, None).text, self.limits.max_depth);
        if let Some(damage) = damage {
            self.warnings
                .push(format!("in the part `{name}`, {damage}"));
        }
        Ok(Some(root))
    }

    /// What the part called `name` refers to (`""` for the package itself).
    pub(crate) fn relations(&mut self, name: &str) -> Result<Relations, ParseError> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let slash = if folder.is_empty() { "" } else { "/" };
        let Some(root) = self.xml(&format!("{folder}{slash}_rels/{file}.rels"))? else {
            return Ok(Relations::default());
        };
        let mut relations = Relations::default();
        for relation in root
            .elements()
            .filter(|relation| relation.attribute("TargetMode") != Some("External"))
        {
            let (Some(target), Some(kind)) =
                (relation.attribute("Target"), relation.attribute("Type"))
            else {
                continue;
            };
            let target = resolve(folder, target);
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            relations.0.push((
                relation.attribute("Id").unwrap_or_default().to_owned(),
                kind,
                target,
            ));
        }
        Ok(relations)
    }

    /// Takes `bytes` from what may be unpacked.
    fn spend(&mut self, bytes: usize) -> Result<(), ParseError> {
        match self.budget.checked_sub(bytes as u64) {
            Some(left) => self.budget = left,
            None => {
                let limit = format!("{} MiB", self.limits.max_unpacked >> 20);
                return Err(ParseError::TooLarge {
                    what: "what its archive unpacks to".to_owned(),
                    limit,
                });
            }
        }
        Ok(())
    }

    /// The parts that can be read from their own headers.
    fn salvage(&mut self, bytes: &[u8]) -> Result<HashMap<String, Vec<u8>>, ParseError> {
        let mut parts = HashMap::new();
        let mut from = 0;
        while let Some(at) = bytes
            .get(from..)
            .and_then(|rest| rest.windows(4).position(|window| window == b"PK\x03\x04"))
        {
            let mut rest = bytes.get(from + at..).unwrap_or_default();
            if let Ok(Some(mut part)) = zip::read::read_zipfile_from_stream(&mut rest) {
                let name = part.name().map(|name| key(&name)).unwrap_or_default();
                let mut unpacked = Vec::new();
                // What came before the damage is worth having.
                let _whole = part
                    .by_ref()
                    .take(self.budget + 1)
                    .read_to_end(&mut unpacked);
                self.spend(unpacked.len())?;
                parts.entry(name).or_insert(unpacked);
            }
            from += at + 4;
        }
        parts.retain(|name, _| !name.is_empty());
        Ok(parts)
    }
}

/// Names compare without case; some writers use backslashes or a leading slash.
fn key(name: &str) -> String {
    name.replace('\\', "/")
        .trim_start_matches('/')
        .to_ascii_lowercase()
}

/// The part that `target` names, seen from `folder`.
fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let mut path: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|step| !step.is_empty()).collect()
    };
    for step in target
        .split('/')
        .filter(|step| !step.is_empty() && *step != ".")
    {
        if step == ".." {
            path.pop();
        } else {
            path.push(step);
        }
    }
    path.join("/")
}

/// A part that cannot be read is as good as missing, unless a password would open it.
fn unreadable(
    warnings: &mut Vec<String>,
    name: &str,
    error: &ZipError,
) -> Result<Option<Vec<u8>>, ParseError> {
    if matches!(error, ZipError::UnsupportedArchive(reason) if reason.contains("assword")) {
        return Err(ParseError::Encrypted {
            format: DocumentFormat::Docx,
        });
    }
    warnings.push(format!("the part `{name}` could not be read: {error}"));
    Ok(None)
}

pub(crate) fn malformed(reason: String) -> ParseError {
    ParseError::Malformed {
        format: DocumentFormat::Docx,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_resolve_from_their_folder() {
        assert_eq!(resolve("word", "styles.xml"), "word/styles.xml");
        assert_eq!(resolve("word", "/docProps/core.xml"), "docProps/core.xml");
        assert_eq!(
            resolve("word", "../customXml/item1.xml"),
            "customXml/item1.xml"
        );
        assert_eq!(resolve("", "../../x"), "x");
    }
}
