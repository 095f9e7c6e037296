use super::models::ModelStore;
use lore_config::{Backend, Config};
use lore_gateway::{NoGenerator, OpenAiGenerator, OpenAiSettings};
use lore_model::{Generator, LocalGenerator, LocalSettings};
use std::sync::Arc;

/// A language model that is loaded.
pub struct Loaded {
    /// What answers.
    pub generator: Arc<dyn Generator>,
    /// The same, where it is Lore's own decoder and so takes adapters, and how it is served.
    pub local: Option<(LocalGenerator, LocalSettings)>,
}

/// Loads the language model, or says why there is none.
pub async fn load(config: &Config, models: &ModelStore) -> Result<Loaded, NoGenerator> {
    let max_queue = config.generator.max_queue;
    match &config.generator.backend {
        Backend::Local => local(config, models).await,
        Backend::OpenAi {
            base_url,
            model,
            api_key,
        } => {
            let mut settings = OpenAiSettings::new(base_url, model);
            settings.api_key = api_key.as_ref().map(|key| key.expose().to_owned());
            settings.max_queue = max_queue;
            match OpenAiGenerator::new(settings) {
                Ok(generator) => Ok(Loaded {
                    generator: Arc::new(generator),
                    local: None,
                }),
                Err(error) => Err(none(model, &error.to_string())),
            }
        }
    }
}

async fn local(config: &Config, models: &ModelStore) -> Result<Loaded, NoGenerator> {
    let name = &config.models.generator;
    let path = models
        .generator()
        .map_err(|error| none(name, &crate::exit::chain(&error)))?;
    let settings = LocalSettings {
        name: models.generator_id(),
        max_queue: config.generator.max_queue,
        threads: config.models.threads.get(),
        ..LocalSettings::default()
    };
    let choice = lore_trainer::device(config);
    let load = move || {
        let chosen = choice.open()?;
        tracing::info!(device = chosen.reason, "the generator computes");
        let settings = LocalSettings {
            device: chosen.device,
            ..settings
        };
        let served = settings.clone();
        LocalGenerator::load(&path, settings).map(|generator| (generator, served))
    };
    match tokio::task::spawn_blocking(load).await {
        Ok(Ok((generator, served))) => Ok(Loaded {
            generator: Arc::new(generator.clone()),
            local: Some((generator, served)),
        }),
        Ok(Err(error)) => Err(none(name, &crate::exit::chain(&error))),
        Err(error) => Err(none(name, &error.to_string())),
    }
}

/// Why there is no model, for those who ask it.
pub fn none(model: &str, reason: &str) -> NoGenerator {
    NoGenerator {
        model: model.to_owned(),
        reason: reason.to_owned(),
        hint: "searching works meanwhile; `lore doctor` says what to do".to_owned(),
    }
}

/// The model is on its way.
pub fn coming(config: &Config) -> NoGenerator {
    NoGenerator {
        model: config.models.generator.clone(),
        reason: "it is still being loaded".to_owned(),
        hint:
            "try again in a moment; GET /readyz says how far it is, and searching works meanwhile"
                .to_owned(),
    }
}
