//! From a request to a job: everything that can be known before the start is checked, and all problems are told at once.

use crate::base::Base;
use crate::error::{problems as told, refused};
use crate::estimate::estimate;
use crate::job::enough_memory;
use crate::material::{Material, Piece, Role, gather};
use crate::memory;
use crate::problem::Problem;
use crate::registry::intact;
use crate::run::chain;
use crate::settings::settings;
use crate::state::State;
use lore_catalog::CatalogError;
use lore_http::ApiFailure;
use lore_model::Adapter;
use lore_types::{
    AdapterKind, AdapterReference, AdapterVersion, AutoOr, CreateFineTuningJob, Estimate, FileId,
    FilePurpose, FineTuningHyperparameters, FineTuningId, FineTuningJob, FineTuningMethod,
    FineTuningStatus, LoreRequest, LoreTuning, MethodKind, SupervisedMethod, TargetModules,
    TrainingMethod, TrainingPrecision, TrainingSettings,
};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;

/// Checks a request, puts the job it asks for on disk, and rings for the worker.
pub(crate) async fn submit(
    state: &Arc<State>,
    body: CreateFineTuningJob,
) -> Result<FineTuningJob, ApiFailure> {
    let mut draft = Draft::new(state, body).await?;
    draft.inspect().await;
    let job = draft.job()?;
    let limit = state.settings.max_queue;
    let job = state
        .catalog
        .add_fine_tuning_job(&job, limit)
        .await
        .map_err(refused)?;
    state
        .event(
            job.id,
            "info",
            &format!("Created fine-tuning job: {}", job.id),
        )
        .await;
    state.queued.notify_waiters();
    Ok(job)
}

/// A request on its way to a job.
struct Draft {
    state: Arc<State>,
    body: CreateFineTuningJob,
    lore: LoreRequest,
    base: String,
    parent: Option<AdapterVersion>,
    asked: Map<String, Value>,
    settings: TrainingSettings,
    pieces: Vec<Piece>,
    checked: Option<(Material, Estimate)>,
    problems: Vec<Problem>,
}

impl Draft {
    async fn new(state: &Arc<State>, body: CreateFineTuningJob) -> Result<Self, ApiFailure> {
        let mut problems = Vec::new();
        let lore = body.lore.clone().unwrap_or_default();
        let asked = asked(&body, &lore);
        let settings = settings(&asked).unwrap_or_else(|found| {
            problems.extend(found);
            TrainingSettings::default()
        });
        let mut draft = Self {
            state: state.clone(),
            base: body.model.clone(),
            body,
            lore,
            parent: None,
            asked,
            settings,
            pieces: Vec::new(),
            checked: None,
            problems,
        };
        draft.find_parent().await?;
        draft.find_files().await?;
        draft.check_name().await?;
        if draft
            .body
            .integrations
            .as_ref()
            .is_some_and(|list| !list.is_empty())
        {
            draft.problem(
                "integrations",
                "integrations are not supported; leave them out",
            );
        }
        Ok(draft)
    }

    fn problem(&mut self, param: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(param, message));
    }

    /// `model` and `lore.continue_from` may name an adapter to go on from; its base is the base then.
    async fn find_parent(&mut self) -> Result<(), ApiFailure> {
        let named = match self.lore.continue_from.clone() {
            Some(name) => Some(("lore.continue_from", name)),
            None if self.is_adapter(&self.body.model).await? => {
                Some(("model", self.body.model.clone()))
            }
            None => None,
        };
        let Some((param, name)) = named else {
            return Ok(());
        };
        let found = match name.parse::<AdapterReference>() {
            Ok(reference) => self.state.catalog.adapter_version(&reference).await,
            Err(_) => Err(CatalogError::NoAdapter(name)),
        };
        match found {
            Ok(version) => {
                if param == "model" || self.is_adapter(&self.body.model).await? {
                    self.base.clone_from(&version.base);
                }
                if self.base != version.base {
                    let (own, other) = (version.reference(), &version.base);
                    let text = format!(
                        "adapter `{own}` was trained on `{other}`, but `model` is `{}`; name `{other}`, or another adapter",
                        self.base
                    );
                    self.problem(param, text);
                }
                if version.kind == AdapterKind::Full || self.settings.method == TrainingMethod::Full
                {
                    let text = format!(
                        "going on from `{}` with `method` full, or from a whole model, is not supported: export it and use the folder as `model`",
                        version.reference()
                    );
                    self.problem(param, text);
                    return Ok(());
                }
                self.parent = Some(version);
            }
            Err(error @ CatalogError::NoAdapter(_)) => {
                self.problem(
                    param,
                    format!("{error}; `GET /v1/adapters` lists what there is"),
                );
            }
            Err(error) => return Err(refused(error)),
        }
        Ok(())
    }

    async fn is_adapter(&self, name: &str) -> Result<bool, ApiFailure> {
        let bare = name.rsplit_once('@').map_or(name, |(bare, _)| bare);
        match self.state.catalog.adapter(bare).await {
            Ok(_) => Ok(true),
            Err(CatalogError::NoAdapter(_)) => Ok(false),
            Err(error) => Err(refused(error)),
        }
    }

    async fn find_files(&mut self) -> Result<(), ApiFailure> {
        let mut named = vec![(
            "training_file".to_owned(),
            self.body.training_file.clone(),
            Role::Training,
            1.0,
        )];
        for (index, one) in self.lore.datasets.iter().enumerate() {
            let param = format!("lore.datasets[{index}]");
            named.push((param, one.file.clone(), Role::Training, one.weight));
        }
        if let Some(file) = self.body.validation_file.clone() {
            named.push(("validation_file".to_owned(), file, Role::Validation, 1.0));
        }
        if let Some(replay) = self.lore.replay.clone() {
            named.push((
                "lore.replay".to_owned(),
                replay.file,
                Role::Replay,
                replay.share,
            ));
        }
        for (param, file, role, weight) in named {
            match self.piece(&param, &file, role, weight).await? {
                Ok(piece) => self.pieces.push(piece),
                Err(problem) => self.problems.push(problem),
            }
        }
        Ok(())
    }

    async fn piece(
        &self,
        param: &str,
        file: &str,
        role: Role,
        weight: f64,
    ) -> Result<Result<Piece, Problem>, ApiFailure> {
        let problem = |message: String| Ok(Err(Problem::new(param, message)));
        let Ok(id) = file.parse::<FileId>() else {
            return problem(format!(
                "`{file}` is not the id of a file; upload it with POST /v1/files"
            ));
        };
        let stored = match self.state.catalog.file(id).await {
            Ok(stored) => stored,
            Err(error @ CatalogError::NoFile(_)) => {
                return problem(format!("{error}; upload it with POST /v1/files"));
            }
            Err(error) => return Err(refused(error)),
        };
        if stored.file.purpose != FilePurpose::FineTune {
            return problem(format!(
                "file `{id}` was not uploaded with `purpose` = `fine-tune`"
            ));
        }
        Ok(Ok(Piece {
            file: id,
            filename: stored.file.filename,
            path: self.state.originals.path(&stored.hash),
            role,
            weight,
            param: param.to_owned(),
        }))
    }

    async fn check_name(&mut self) -> Result<(), ApiFailure> {
        let name = self.name();
        if !is_name(&name) {
            let text = format!(
                "`{name}` cannot be an adapter's name: 1–64 of a-z, A-Z, 0-9, _, - and ., not starting with a dot"
            );
            self.problem("lore.name", text);
        } else if name == self.base || (self.state.find_model)(&name).is_ok() {
            self.problem(
                "lore.name",
                format!("`{name}` is the name of a model; choose another"),
            );
        } else {
            match self.state.catalog.collection(&name).await {
                Ok(_) => {
                    let text = format!(
                        "`{name}` is the name of a collection, which requests may name as model; choose another"
                    );
                    self.problem("lore.name", text);
                }
                Err(CatalogError::NoCollection(_)) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(())
    }

    /// The adapter's name: as asked, else that of the adapter that is gone on from, else the suffix, else after the base.
    fn name(&self) -> String {
        let parent = self.parent.as_ref().map(|parent| parent.adapter.clone());
        let named = self
            .lore
            .name
            .clone()
            .or(self.body.suffix.clone())
            .or(parent);
        named.unwrap_or_else(|| {
            let plain: String = self
                .base
                .chars()
                .filter(|letter| is_letter(*letter))
                .collect();
            format!("{}-tuned", plain.trim_start_matches('.'))
        })
    }

    /// Loads the base, reads the files, and sees whether memory and disk suffice.
    async fn inspect(&mut self) {
        let base = match self.state.base(&self.base).await {
            Ok(base) => base,
            Err(message) => return self.problem("model", message),
        };
        self.fit_to(&base);
        let start = match self.start() {
            Ok(start) => start,
            Err(message) => return self.problem("model", message),
        };
        let (pieces, settings) = (self.pieces.clone(), self.settings.clone());
        let policy = self.lore.on_bad_line;
        let work = move || look(&base, &pieces, &settings, policy, start);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok((material, estimate, adopted))) => {
                if let Some(adopted) = adopted {
                    self.adopt(&adopted);
                }
                self.check_room(&estimate);
                self.checked = Some((material, estimate));
            }
            Ok(Err(problems)) => self.problems.extend(problems),
            Err(error) => self.problem("training_file", error.to_string()),
        }
    }

    /// Settings that depend on the base: what it cannot do is refused, what was not asked for is chosen.
    fn fit_to(&mut self, base: &Base) {
        let context = u32::try_from(base.decoder.context_length()).unwrap_or(u32::MAX);
        if self.settings.max_tokens > context {
            if self.asked.contains_key("max_tokens") {
                let text = format!(
                    "`max_tokens` is more than the {context} tokens that `{}` takes",
                    base.name
                );
                self.problem("max_tokens", text);
            }
            self.settings.max_tokens = context;
        }
        if self.settings.precision == TrainingPrecision::Bf16 {
            self.problem("precision", "`precision` bf16 needs a CUDA device, and this Lore computes on the CPU; use float32");
        }
        match (self.settings.method, base.is_quantised()) {
            (TrainingMethod::Lora, true) => self.settings.method = TrainingMethod::Qlora,
            (TrainingMethod::Qlora, false) => {
                let text = format!(
                    "`method` qlora needs a quantised base, but `{}` is not; use lora, or a GGUF file of it",
                    base.name
                );
                self.problem("method", text);
            }
            (TrainingMethod::Full, true) => {
                let text = format!(
                    "`method` full needs a base in floating point, but `{}` is quantised; use lora, or its safetensors folder",
                    base.name
                );
                self.problem("method", text);
            }
            (TrainingMethod::Full | TrainingMethod::Lora, false)
            | (TrainingMethod::Qlora, true) => {}
        }
    }

    fn start(&self) -> Result<Option<(PathBuf, String)>, String> {
        let Some(parent) = &self.parent else {
            return Ok(None);
        };
        let folder = intact(&self.state.data_dir, parent).map_err(|error| chain(&error))?;
        Ok(Some((folder, parent.reference().to_string())))
    }

    /// An adapter that is gone on from keeps its shape; asking for another one is a mistake.
    fn adopt(&mut self, adapter: &Adapter) {
        let config = adapter.config();
        let own = TrainingSettings {
            lora_r: u32::try_from(config.r).unwrap_or(u32::MAX),
            lora_alpha: config.lora_alpha,
            use_rslora: config.use_rslora,
            target_modules: match &config.target_modules {
                lore_model::TargetModules::List(list) => TargetModules::List(list.clone()),
                lore_model::TargetModules::Pattern(text) => TargetModules::Pattern(text.clone()),
            },
            ..self.settings.clone()
        };
        let differs = [
            ("lora_r", own.lora_r != self.settings.lora_r),
            ("lora_alpha", own.lora_alpha != self.settings.lora_alpha),
            ("use_rslora", own.use_rslora != self.settings.use_rslora),
            (
                "target_modules",
                own.target_modules != self.settings.target_modules,
            ),
        ];
        for (name, _) in differs.iter().filter(|(_, differs)| *differs) {
            if self.asked.contains_key(*name) {
                let text = format!(
                    "`{name}` cannot change, since the adapter to go on from has its own; leave it out"
                );
                self.problem(name, text);
            }
        }
        self.settings = own;
    }

    fn check_room(&mut self, estimate: &Estimate) {
        if let Err(error) = enough_memory(estimate, self.state.settings.max_memory) {
            let text = format!(
                "{}; lower micro_batch_tokens or max_tokens, or turn gradient_checkpointing on",
                chain(&error)
            );
            self.problem("micro_batch_tokens", text);
        }
        let room = memory::room(&self.state.data_dir).unwrap_or(u64::MAX);
        if estimate.disk_bytes > room {
            let text = format!(
                "checkpoints and result need about {} bytes of disk, and {room} are free; make room, or lower keep_checkpoints or lora_r",
                estimate.disk_bytes
            );
            self.problem("keep_checkpoints", text);
        }
    }

    /// The job, unless there are problems.
    fn job(self) -> Result<FineTuningJob, ApiFailure> {
        let (Some((material, estimate)), []) = (&self.checked, self.problems.as_slice()) else {
            return Err(told(&self.problems));
        };
        let file = |role: Role| self.pieces.iter().find(|piece| piece.role == role);
        let Some(training) = file(Role::Training) else {
            return Err(told(&self.problems));
        };
        Ok(FineTuningJob {
            id: FineTuningId::new(),
            object: "fine_tuning.job".to_owned(),
            model: self.base.clone(),
            fine_tuned_model: None,
            status: FineTuningStatus::Queued,
            created_at: 0,
            finished_at: None,
            estimated_finish: None,
            training_file: training.file,
            validation_file: file(Role::Validation).map(|piece| piece.file),
            result_files: Vec::new(),
            trained_tokens: None,
            error: None,
            seed: self.settings.seed,
            method: method(&self.settings),
            hyperparameters: three(&self.settings),
            metadata: self.body.metadata.clone(),
            organization_id: String::new(),
            integrations: Vec::new(),
            lore: LoreTuning {
                name: self.name(),
                version: None,
                continue_from: self
                    .parent
                    .as_ref()
                    .map(|parent| parent.reference().to_string()),
                on_bad_line: self.lore.on_bad_line,
                settings: self.settings.clone(),
                datasets: material.reports.clone(),
                estimate: Some(*estimate),
                progress: None,
                attempts: 0,
            },
        })
    }
}

type Looked = (Material, Estimate, Option<Adapter>);

/// Reads everything a job would read; blocks.
fn look(
    base: &Base,
    pieces: &[Piece],
    settings: &TrainingSettings,
    policy: lore_types::BadLinePolicy,
    start: Option<(PathBuf, String)>,
) -> Result<Looked, Vec<Problem>> {
    let problem = |param: &str, message: String| vec![Problem::new(param, message)];
    if pieces.is_empty() {
        return Err(Vec::new());
    }
    let material = gather(pieces, &base.tokenizer, settings, policy)?;
    let adapter = match start {
        Some((folder, name)) => Some(
            Adapter::load(&folder, &base.decoder, &name, &base.name)
                .map_err(|error| problem("model", chain(&error)))?,
        ),
        None => None,
    };
    let needed = estimate(base, settings, adapter.as_ref(), &material.data)
        .map_err(|error| problem("target_modules", chain(&error)))?;
    Ok((material, needed, adapter))
}

/// Every setting that a request names, wherever OpenAI's clients put it.
fn asked(body: &CreateFineTuningJob, lore: &LoreRequest) -> Map<String, Value> {
    let mut asked = body.hyperparameters.clone().unwrap_or_default();
    let supervised = body
        .method
        .as_ref()
        .and_then(|method| method.supervised.clone());
    asked.extend(supervised.unwrap_or_default().hyperparameters);
    asked.extend(lore.settings.clone());
    if let Some(seed) = body.seed {
        asked.entry("seed").or_insert_with(|| seed.into());
    }
    asked
}

fn method(settings: &TrainingSettings) -> FineTuningMethod {
    let mut hyperparameters = Map::new();
    if let Ok(Value::Object(three)) = serde_json::to_value(three(settings)) {
        hyperparameters.extend(three);
    }
    FineTuningMethod {
        kind: MethodKind::Supervised,
        supervised: Some(SupervisedMethod { hyperparameters }),
    }
}

fn three(settings: &TrainingSettings) -> FineTuningHyperparameters {
    let usual = TrainingSettings::default().learning_rate;
    FineTuningHyperparameters {
        n_epochs: AutoOr::Number(settings.n_epochs),
        batch_size: AutoOr::Number(f64::from(settings.batch_size)),
        learning_rate_multiplier: AutoOr::Number(settings.learning_rate / usual),
    }
}

/// Whether a text may name an adapter.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_letter)
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
}
