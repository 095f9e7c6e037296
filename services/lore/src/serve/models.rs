use crate::exit::{Exit, Failure};
use lore_config::{Backend, Config, Models};
use lore_embed::{
    EmbedError, EmbedFiles, EmbedProfile, EmbedSettings, EmbedderRegistry, Precision,
};
use lore_models::{
    Catalogue, EmbedTraits, ModelEntry, ModelError, ModelFiles, Pooling, Role, Store,
    StoreSettings, Task,
};
use std::path::{Path, PathBuf};

/// The models on this machine, as the configuration wants them used.
#[derive(Clone)]
pub struct ModelStore {
    store: Store,
    settings: Models,
}

impl ModelStore {
    /// The store with its catalogue; nothing is contacted.
    pub fn open(settings: &Models) -> Result<Self, Failure> {
        let catalogue = Catalogue::load(settings.catalogue.as_deref())
            .map_err(|error| Failure::of(&error).exit(Exit::Config))?;
        let offline = StoreSettings {
            offline: settings.offline,
            ..StoreSettings::default()
        };
        Ok(Self {
            store: Store::new(&settings.dir, catalogue, offline),
            settings: settings.clone(),
        })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Every model that the configuration makes use of.
    pub fn configured(&self, config: &Config) -> Vec<String> {
        let local = matches!(config.generator.backend, Backend::Local);
        let generator = local.then(|| self.settings.generator.clone());
        self.helpers().into_iter().chain(generator).collect()
    }

    /// Every model that the configuration names, in use or not.
    pub fn names_in_use(&self) -> Vec<String> {
        self.helpers()
            .into_iter()
            .chain([self.settings.generator.clone()])
            .collect()
    }

    /// The models beside the generator.
    pub fn helpers(&self) -> Vec<String> {
        let Models {
            onnxruntime,
            pdfium,
            embedder,
            ..
        } = &self.settings;
        vec![onnxruntime.clone(), pdfium.clone(), embedder.clone()]
    }

    /// The name of ONNX Runtime.
    pub fn runtime_name(&self) -> String {
        self.settings.onnxruntime.clone()
    }

    /// The PDFium library, where it is here.
    pub fn pdfium(&self) -> Result<PathBuf, ModelError> {
        self.library(&self.settings.pdfium)
    }

    fn library(&self, name: &str) -> Result<PathBuf, ModelError> {
        let files = self.store.path(name)?;
        let library = files.file(Role::Library).map(PathBuf::from);
        library.ok_or_else(|| unusable(&files, "it holds no shared library"))
    }

    /// What the generator is called in the API: its name in the catalogue, or its file's or folder's without what stands
    /// around it.
    pub fn generator_id(&self) -> String {
        let name = &self.settings.generator;
        if self.store.catalogue().get(name).is_some() {
            return name.clone();
        }
        let path = Path::new(name);
        let id = if path.is_dir() {
            path.file_name()
        } else {
            path.file_stem()
        };
        id.map_or_else(|| name.clone(), |id| id.to_string_lossy().into_owned())
    }

    /// What the generator is loaded from: a GGUF file, or a folder of safetensors.
    pub fn generator(&self) -> Result<PathBuf, ModelError> {
        let files = self.store.path(&self.settings.generator)?;
        Ok(files
            .file(Role::Gguf)
            .map_or_else(|| files.dir.clone(), PathBuf::from))
    }

    /// What a language model is trained from, as [`ModelStore::generator`]; why it cannot be, for a person.
    pub fn base(&self, name: &str) -> Result<PathBuf, String> {
        let files = self.store.path(name).map_err(|error| {
            let hint = match error {
                ModelError::NotPulled { .. } => format!("; run `lore models pull {name}`"),
                _ => String::new(),
            };
            format!("{}{hint}", crate::exit::chain(&error))
        })?;
        let task = files.entry.as_ref().map(|entry| entry.task);
        if task.is_some_and(|task| task != Task::Generate) {
            return Err(format!(
                "`{name}` is no language model, so it cannot be trained"
            ));
        }
        Ok(files
            .file(Role::Gguf)
            .map_or_else(|| files.dir.clone(), PathBuf::from))
    }

    /// How an embedder, or a reranker, is loaded.
    pub fn embed_settings(&self, name: &str) -> Result<EmbedSettings, EmbedError> {
        let unavailable = |error: ModelError| EmbedError::unavailable(name, error);
        let files = self.store.path(name).map_err(unavailable)?;
        let runtime = self
            .library(&self.settings.onnxruntime)
            .map_err(unavailable)?;
        let mut settings = EmbedSettings::new(EmbedFiles::find(name, &files.dir)?, runtime);
        settings.threads = self.settings.threads.get();
        settings.precision = match self.settings.precision {
            lore_config::Precision::Float32 => Precision::Float32,
            lore_config::Precision::Int8 => Precision::Int8,
        };
        settings.profile = files.entry.as_ref().map(profile).unwrap_or_default();
        Ok(settings)
    }

    /// Every embedder by name, loaded when it is first asked for. Requests may name those of the catalogue: a path is the
    /// configuration's alone, because asking for one tells whether it exists.
    pub fn embedders(&self) -> EmbedderRegistry {
        let models = self.clone();
        let all = self.store.list().into_iter().map(|status| status.entry);
        let embedders = all
            .filter(|entry| entry.task == Task::Embed)
            .map(|entry| entry.name.clone());
        let offered: Vec<String> = embedders.collect();
        EmbedderRegistry::new(move |name| models.embed_settings(name)).offering(offered)
    }
}

fn profile(entry: &ModelEntry) -> EmbedProfile {
    let Some(EmbedTraits {
        dimensions,
        pooling,
        query_prefix,
        passage_prefix,
    }) = &entry.embed
    else {
        return EmbedProfile::default();
    };
    EmbedProfile {
        pooling: Some(match pooling {
            Pooling::Mean => lore_embed::Pooling::Mean,
            Pooling::Cls => lore_embed::Pooling::Cls,
        }),
        query_prefix: Some(query_prefix.clone()),
        passage_prefix: Some(passage_prefix.clone()),
        max_tokens: (entry.context > 0).then_some(entry.context),
        dimensions: Some(*dimensions),
    }
}

fn unusable(files: &ModelFiles, what: &str) -> ModelError {
    ModelError::UserPath {
        path: files.dir.clone(),
        what: what.to_owned(),
    }
}

/// A model error as the end of a command.
pub fn failure(error: ModelError) -> Failure {
    let failure = Failure::of(&error);
    match error {
        ModelError::Unknown { .. } | ModelError::NotPulled { .. } | ModelError::UserPath { .. } => {
            failure.exit(Exit::NotFound)
        }
        _ => failure.hint("`lore doctor` checks what fetching needs"),
    }
}
