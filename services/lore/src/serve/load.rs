//! From nothing to a server that answers: models, catalog and indexes, ingesting, searching, and last the language model.

use super::edge::{self, Edge};
use super::models::{self, ModelStore};
use super::parts::{self, Parts, Running};
use super::readiness::{self, Readiness};
use super::switch::Switch;
use super::{Role, Show, generator, watch};
use crate::exit::{Exit, Failure};
use crate::terminal::Fetching;
use axum::Router;
use lore_catalog::Catalog;
use lore_config::Config;
use lore_gateway::{Adapters, GatewayState, NoGenerator};
use lore_model::Generator;
use lore_models::PullEvent;
use std::sync::Arc;

/// What loading needs.
pub struct Loading {
    /// The configuration.
    pub config: Config,
    /// Which services run here.
    pub role: Role,
    /// How downloads are shown.
    pub show: Show,
    /// What stands before the services.
    pub edge: Edge,
    /// Where the loaded services are put.
    pub switch: Switch,
    /// What has to be stopped at the end.
    pub running: Running,
}

/// Loads everything that the role needs, and puts each service into the switch as soon as it can work.
pub async fn load(loading: Loading) -> Result<(), Failure> {
    let models = ModelStore::open(&loading.config.models)?;
    if loading.role == Role::Trainer {
        let catalog = parts::open_catalog(&loading.config).await?;
        let trainer = loading.trainer(catalog, &models).await?;
        // The routes first: who hears "ready" asks at once.
        loading.serve(trainer)?;
        loading.readiness().done(readiness::STORAGE);
        return Ok(());
    }
    loading
        .fetch(&models, &loading.helpers(), readiness::EMBEDDER)
        .await?;
    if !loading.role.answers() {
        let parts = loading.parts(&models).await?;
        let others = loading.others(&parts, &models).await?;
        loading.watch(&parts).await;
        loading.serve(others)?;
        loading.readiness().done(readiness::STORAGE);
        return Ok(());
    }
    // A model that is here is loaded beside all else; one that is to be fetched comes after what searching needs.
    let search = loading.search(&models);
    let (Searching { parts, others }, generator) = if loading.has_generator(&models) {
        let beside = async { Ok(loading.load_generator(&models).await) };
        tokio::try_join!(search, beside)?
    } else {
        (search.await?, loading.generator(&models).await)
    };
    let (generator, local) = match generator {
        Ok(loaded) => (Ok(loaded.generator), loaded.local),
        Err(none) => (Err(none), None),
    };
    let adapters = parts.adapters(&loading.config, local).await;
    let told = generator.clone();
    loading.serve(others.merge(loading.gateway(&parts, generator, adapters)))?;
    loading.tell_generator(&told);
    Ok(())
}

/// What searches already, and stays when the language model joins it.
struct Searching {
    parts: Parts,
    /// Every route that is not the gateway's own.
    others: Router,
}

impl Loading {
    /// Opens catalog and indexes, and loads the default embedder.
    async fn parts(&self, models: &ModelStore) -> Result<Parts, Failure> {
        let parts = Parts::open(&self.config, self.role, models, self.readiness()).await?;
        self.warm_up(&parts).await?;
        Ok(parts)
    }

    /// Serves everything but answers.
    async fn search(&self, models: &ModelStore) -> Result<Searching, Failure> {
        let parts = self.parts(models).await?;
        let others = self.others(&parts, models).await?;
        self.watch(&parts).await;
        let coming = Err(generator::coming(&self.config));
        let searching = self.gateway(&parts, coming, Adapters::none());
        self.serve(others.clone().merge(searching))?;
        self.readiness().done(readiness::STORAGE);
        Ok(Searching { parts, others })
    }

    /// Whether the language model is one of this machine's files, all of which are there.
    fn has_generator(&self, models: &ModelStore) -> bool {
        self.config.generator.backend == lore_config::Backend::Local && models.generator().is_ok()
    }

    fn readiness(&self) -> &Readiness {
        &self.edge.readiness
    }

    fn serve(&self, services: Router) -> Result<(), Failure> {
        self.switch.set(edge::app(services, self.edge.clone()));
        Ok(())
    }

    /// Looks from now on whether the catalog and the vector side still answer.
    async fn watch(&self, parts: &Parts) {
        let parts = parts.clone();
        let look = move || {
            let parts = parts.clone();
            async move { parts.check().await }
        };
        let watching = watch::watch(
            self.readiness().clone(),
            readiness::STORAGE,
            watch::EVERY,
            look,
        );
        self.running.beside(watching).await;
    }

    fn helpers(&self) -> Vec<String> {
        let models = &self.config.models;
        let pdfium = self.role.ingests().then(|| models.pdfium.clone());
        [models.onnxruntime.clone(), models.embedder.clone()]
            .into_iter()
            .chain(pdfium)
            .collect()
    }

    /// Fetches what is not here yet. Without PDFium everything but PDF works, so its absence is told and borne.
    async fn fetch(
        &self,
        models: &ModelStore,
        names: &[String],
        part: &'static str,
    ) -> Result<(), Failure> {
        for name in names {
            self.readiness().tell(part, format!("({name})"));
            match models.store().pull(name, &self.listener(part)).await {
                Ok(_) => {}
                Err(error) if *name == self.config.models.pdfium => {
                    tracing::warn!(
                        error = crate::exit::chain(&error),
                        "PDF documents cannot be read"
                    );
                }
                Err(error) => return Err(models::failure(error)),
            }
        }
        Ok(())
    }

    fn listener(&self, part: &'static str) -> lore_models::Progress {
        let readiness = self.readiness().clone();
        let tell = move |event: &PullEvent| {
            if let PullEvent::Downloaded {
                model,
                done,
                total: Some(total),
                ..
            } = event
            {
                readiness.tell(
                    part,
                    format!("({model}: {} %)", done * 100 / (*total).max(1)),
                );
            }
        };
        match self.show {
            Show::Bars => Fetching::default().listener(tell),
            Show::Log => Arc::new(move |event| tell(&event)),
        }
    }

    /// Loads the default embedder, so that the first question does not wait for it.
    async fn warm_up(&self, parts: &Parts) -> Result<(), Failure> {
        let name = &self.config.models.embedder;
        self.readiness()
            .tell(readiness::EMBEDDER, format!("({name} is being loaded)"));
        let bar = self.spinner(&format!("loading {name}"));
        let loaded = parts
            .embedders
            .get(name)
            .await
            .map_err(|error| Failure::of(&error));
        drop(bar);
        let info = loaded?.info().clone();
        tracing::info!(
            embedder = info.name,
            dimensions = info.dimensions,
            "embedder loaded"
        );
        self.readiness().done(readiness::EMBEDDER);
        Ok(())
    }

    fn spinner(&self, what: &str) -> Option<crate::terminal::Progress> {
        (self.show == Show::Bars).then(|| crate::terminal::Progress::spinner(what))
    }

    /// Every route that is not the gateway's own: served here, or passed on.
    async fn others(&self, parts: &Parts, models: &ModelStore) -> Result<Router, Failure> {
        if self.role.ingests() {
            let service = parts::start_ingest(&self.config, parts, models).await?;
            let router = Router::from(service.router());
            self.running.ingests(service).await;
            if !self.role.trains() {
                return Ok(router);
            }
            let trainer = self.trainer(parts.catalog.clone(), models).await?;
            return Ok(router.merge(trainer));
        }
        let services = &self.config.services;
        if services.ingest_url.is_none() {
            return Err(Failure::new("the gateway runs apart, but services.ingest_url is not set")
                .hint("name the ingest service's address as configs/split.toml does, or run `lore serve` alone")
                .exit(Exit::Config));
        }
        let proxy = lore_gateway::proxy(
            services.ingest_url.as_deref(),
            services.trainer_url.as_deref(),
            &self.running.stopping,
        );
        proxy.map_err(|error| Failure::of(&error))
    }

    /// Starts training; its routes.
    async fn trainer(&self, catalog: Catalog, models: &ModelStore) -> Result<Router, Failure> {
        let service = parts::start_trainer(&self.config, catalog, models).await?;
        let router = Router::from(service.router());
        self.running.trains(service).await;
        Ok(router)
    }

    fn gateway(
        &self,
        parts: &Parts,
        generator: Result<Arc<dyn Generator>, NoGenerator>,
        adapters: Adapters,
    ) -> Router {
        let state: GatewayState = parts.gateway(&self.config, generator, adapters);
        let state = state.until(self.running.ending.clone());
        Router::from(lore_gateway::router(state))
    }

    async fn generator(&self, models: &ModelStore) -> Result<generator::Loaded, NoGenerator> {
        let name = &self.config.models.generator;
        if self.config.generator.backend == lore_config::Backend::Local {
            let fetched = self
                .fetch(models, std::slice::from_ref(name), readiness::GENERATOR)
                .await;
            fetched.map_err(|failure| generator::none(name, failure.message()))?;
        }
        let _bar = self.spinner(&format!("loading {name}"));
        self.load_generator(models).await
    }

    async fn load_generator(&self, models: &ModelStore) -> Result<generator::Loaded, NoGenerator> {
        let name = &self.config.models.generator;
        self.readiness()
            .tell(readiness::GENERATOR, format!("({name} is being loaded)"));
        generator::load(&self.config, models).await
    }

    fn tell_generator(&self, generator: &Result<Arc<dyn Generator>, NoGenerator>) {
        match generator {
            Ok(generator) => {
                tracing::info!(model = generator.info().model, "generator loaded");
                self.readiness().done(readiness::GENERATOR);
            }
            Err(none) => {
                tracing::error!(
                    model = none.model,
                    reason = none.reason,
                    "there is no generator; searching works"
                );
                self.readiness().fail(
                    readiness::GENERATOR,
                    format!("({}: {})", none.model, none.reason),
                );
            }
        }
    }
}
