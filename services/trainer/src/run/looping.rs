use super::checkpoint::{Checkpoints, State};
use super::data::Batch;
use super::files::sha256_of;
use super::metrics::MetricsFile;
use super::{Ask, Ended, Hooks, LearningRate, Notice, RunError, Setup};
use crate::memory;
use lore_model::train::{
    AdamW, AdamWSettings, Gradients, InitB, Parameters, TrainSettings, evaluate, gradients,
};
use lore_model::{LoraConfig, Random};
use lore_types::{Progress, StepMetrics, TargetModules, TrainingMethod, TrainingSettings};
use std::time::Instant;

/// Memory that has to stay free while a run computes.
const LEAST_FREE: u64 = 64 << 20;

/// Trains until the end, or until the owner asks it to stop. A folder with a checkpoint is gone on from.
///
/// # Guarantees
/// On the CPU a run that was halted or killed anywhere and went on gives bitwise the adapter of one that was not.
///
/// # Errors
/// [`RunError`]; the newest checkpoint stays as it is.
pub fn train(setup: &Setup<'_>, hooks: &mut Hooks<'_>) -> Result<Ended, RunError> {
    let mut run = Run::begin(setup, hooks)?;
    loop {
        if run.evaluation_is_due() {
            match run.evaluate(hooks)? {
                Asked::Go(()) => {}
                Asked::End(ask) => return run.end(ask, hooks),
            }
        }
        if run.checkpoint_is_due() {
            run.save(hooks)?;
        }
        if run.is_done() {
            return Ok(Ended::Done(run.state));
        }
        let started = Instant::now();
        let batch = setup.data.batch(run.state.position, setup.settings);
        let (loss, mut gradients) = match run.accumulate(&batch, hooks)? {
            Asked::Go(sums) => sums,
            Asked::End(ask) => return run.end(ask, hooks),
        };
        let norm = gradients.clip(&run.parameters, run.most_norm())?;
        let learning_rate = run.rate.at(run.state.step);
        run.optimiser
            .step(&run.parameters, &gradients, learning_rate)?;
        run.advance(&batch, loss, started);
        run.measure(hooks, |line| {
            line.train_loss = Some(loss);
            line.learning_rate = Some(learning_rate);
            line.grad_norm = Some(norm);
            line.tokens = Some(batch.tokens);
            line.seconds = started.elapsed().as_secs_f64();
            line.tokens_per_second = Some(batch.tokens as f64 / line.seconds.max(1e-9));
        })?;
    }
}

/// A run under way.
struct Run<'a> {
    setup: Setup<'a>,
    parameters: Parameters,
    optimiser: AdamW,
    state: State,
    rate: LearningRate,
    steps: u64,
    checkpoints: Checkpoints,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
    /// Whether the newest evaluation was the best one and has no checkpoint yet.
    improved: bool,
    metrics: MetricsFile,
    progress: Option<Progress>,
}

/// Something that is done, or the owner's wish to stop.
enum Asked<T> {
    Go(T),
    End(Ask),
}

impl<'a> Run<'a> {
    /// From the newest whole checkpoint, or from the beginning.
    fn begin(setup: &Setup<'a>, hooks: &mut Hooks<'_>) -> Result<Self, RunError> {
        let checkpoints = setup.checkpoints();
        let (found, damaged) = checkpoints.newest()?;
        for path in damaged {
            let text = format!(
                "checkpoint {} is damaged and was passed over",
                path.display()
            );
            (hooks.tell)(Notice::Warning(text));
        }
        let steps = setup.data.steps(setup.settings);
        let name = run_name(setup, steps)?;
        let adamw = adamw(setup.settings);
        let (parameters, optimiser, state) = match found {
            Some(state) if state.run == name => {
                let full = setup.settings.method == TrainingMethod::Full;
                let parameters =
                    checkpoints.parameters(state.step, setup.decoder, setup.base, full)?;
                let optimiser =
                    checkpoints.optimiser(state.step, &parameters, adamw, setup.decoder)?;
                (parameters, optimiser, state)
            }
            Some(state) => return Err(other_run(&checkpoints, &state)),
            None => {
                let parameters = first_values(setup)?;
                let optimiser = AdamW::new(&parameters, adamw);
                let seed = setup.settings.seed;
                (
                    parameters,
                    optimiser,
                    State {
                        seed,
                        run: name,
                        ..State::default()
                    },
                )
            }
        };
        (hooks.tell)(Notice::Begun {
            after: state.step,
            steps,
            parameters: parameters.count() as u64,
        });
        Ok(Self {
            setup: *setup,
            metrics: MetricsFile::open(&setup.metrics(), &state)?,
            rate: LearningRate::new(setup.settings, steps),
            saved: (state.step > 0).then_some(state.step),
            improved: false,
            progress: None,
            parameters,
            optimiser,
            state,
            steps,
            checkpoints,
        })
    }

    fn is_done(&self) -> bool {
        self.state.step >= self.steps || self.state.stopped_early
    }

    fn most_norm(&self) -> f64 {
        match self.setup.settings.max_grad_norm {
            0.0 => f64::INFINITY,
            limit => limit,
        }
    }

    /// Summed loss and gradients of a step, each divided by the labels that count in all its micro-batches.
    fn accumulate(
        &self,
        batch: &Batch,
        hooks: &mut Hooks<'_>,
    ) -> Result<Asked<(f64, Gradients)>, RunError> {
        let mut sum = 0.0;
        let mut all = Gradients::none(&self.parameters);
        for (index, examples) in batch.micro_batches.iter().enumerate() {
            if let Some(ask) = self.stop_asked(hooks)? {
                return Ok(Asked::End(ask));
            }
            let settings = self.train_settings(index);
            let (decoder, targets) = (self.setup.decoder, batch.targets);
            let (loss, some) = gradients(decoder, &self.parameters, examples, targets, settings)?;
            sum += loss;
            all.add(some)?;
        }
        Ok(Asked::Go((sum, all)))
    }

    /// What is random in a micro-batch follows from the seed, the step and its place alone.
    fn train_settings(&self, micro_batch: usize) -> TrainSettings {
        let mut step = Random::derived(self.setup.settings.seed, self.state.step + 1);
        let seed = Random::derived(step.next_u64(), micro_batch as u64 + 1).next_u64();
        TrainSettings {
            dropout: self.setup.settings.lora_dropout,
            seed,
            checkpointing: self.setup.settings.gradient_checkpointing,
        }
    }

    /// What the owner asks, unless it is to go on. Too little memory is an error, after a checkpoint.
    fn stop_asked(&self, hooks: &Hooks<'_>) -> Result<Option<Ask>, RunError> {
        let (held, free) = (memory::held(), memory::available());
        if let Some(limit) = self.setup.memory_limit.filter(|limit| held > *limit) {
            return Err(RunError::Memory {
                needed: held,
                available: limit,
            });
        }
        if let Some(free) = free.filter(|free| *free < LEAST_FREE) {
            return Err(RunError::Memory {
                needed: LEAST_FREE,
                available: free,
            });
        }
        Ok(match (hooks.ask)() {
            Ask::Go => None,
            ask => Some(ask),
        })
    }

    fn advance(&mut self, batch: &Batch, loss: f64, started: Instant) {
        self.state.step += 1;
        self.state.position = batch.next;
        self.state.tokens += batch.tokens;
        self.state.train_loss = Some(loss);
        self.state.seconds += started.elapsed().as_secs_f64();
    }

    fn evaluation_is_due(&self) -> bool {
        let (step, settings) = (self.state.step, self.setup.settings);
        let automatic = self.steps.div_ceil(10).min(self.steps_an_epoch()).max(1);
        let every = settings.eval_every_steps.unwrap_or(automatic);
        let due = step.is_multiple_of(every) || self.is_done();
        due && !self.setup.data.held_out.is_empty() && self.state.evaluated_step != Some(step)
    }

    fn steps_an_epoch(&self) -> u64 {
        let length = self.setup.data.schedule.length(0) as u64;
        length.div_ceil(u64::from(self.setup.settings.batch_size))
    }

    /// Mean loss of the held-out labels; decides on the best step and on early stopping.
    fn evaluate(&mut self, hooks: &mut Hooks<'_>) -> Result<Asked<()>, RunError> {
        let started = Instant::now();
        let settings = self.setup.settings;
        let (mut sum, mut count) = (0.0, 0);
        for examples in self.setup.data.held_out(settings) {
            if let Some(ask) = self.stop_asked(hooks)? {
                return Ok(Asked::End(ask));
            }
            let adapter = Some(self.parameters.adapter());
            let decoder = self.parameters.decoder(self.setup.decoder);
            let (loss, targets) = evaluate(decoder, adapter, &examples)?;
            sum += loss;
            count += targets;
        }
        let loss = sum / count.max(1) as f64;
        if !loss.is_finite() {
            return Err(RunError::Validation { loss });
        }
        self.improved = self
            .state
            .evaluated(loss, settings.early_stopping_min_delta);
        let patience = settings.early_stopping_patience;
        self.state.stopped_early = patience > 0 && self.state.waited >= patience;
        self.state.seconds += started.elapsed().as_secs_f64();
        self.measure(hooks, |line| {
            line.validation_loss = Some(loss);
            line.seconds = started.elapsed().as_secs_f64();
        })?;
        Ok(Asked::Go(()))
    }

    /// Writes a line of metrics and tells it.
    fn measure(
        &mut self,
        hooks: &mut Hooks<'_>,
        fill: impl FnOnce(&mut StepMetrics),
    ) -> Result<(), RunError> {
        let mut line = StepMetrics {
            step: self.state.step,
            total_steps: self.steps,
            epoch: self.setup.data.epochs(self.state.position),
            peak_memory_bytes: memory::peak(),
            ..StepMetrics::default()
        };
        fill(&mut line);
        self.metrics.write(&line)?;
        let progress = self.state.progress(&line, self.progress.as_ref());
        self.progress = Some(progress);
        (hooks.tell)(Notice::Measured(line, progress));
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        let step = self.state.step;
        let regular = step.is_multiple_of(self.setup.settings.checkpoint_every_steps);
        let due = regular || self.improved || self.is_done();
        step > 0 && due && (self.saved != Some(step) || self.improved)
    }

    fn save(&mut self, hooks: &mut Hooks<'_>) -> Result<(), RunError> {
        self.checkpoints.write(
            self.setup.decoder,
            &self.parameters,
            &self.optimiser,
            &self.state,
        )?;
        self.saved = Some(self.state.step);
        self.improved = false;
        let best = self.state.best_step;
        let gone = self
            .checkpoints
            .prune(self.setup.settings.keep_checkpoints, best)?;
        (hooks.tell)(Notice::Checkpoint {
            step: self.state.step,
            best: best == Some(self.state.step),
            metrics: self.state.checkpoint_metrics(),
            gone,
        });
        Ok(())
    }

    /// Ends as the owner asked; what of a step was computed already is dropped.
    fn end(mut self, ask: Ask, hooks: &mut Hooks<'_>) -> Result<Ended, RunError> {
        if ask == Ask::Drop {
            return Ok(Ended::Dropped);
        }
        if self.state.step > 0 && (self.saved != Some(self.state.step) || self.improved) {
            self.save(hooks)?;
        }
        Ok(Ended::Halted(self.state))
    }
}

/// Names settings, data, base and start, so that a checkpoint is gone on from by its own run alone.
fn run_name(setup: &Setup<'_>, steps: u64) -> Result<String, RunError> {
    let settings = serde_json::to_string(setup.settings)
        .map_err(|error| RunError::Request(error.to_string()))?;
    let (base, data) = (setup.decoder.fingerprint()?, &setup.data.digest);
    let start = setup.start.map(|start| start.config().r);
    Ok(sha256_of(
        format!("{settings}\n{data}\n{base}\n{steps}\n{start:?}").as_bytes(),
    ))
}

fn other_run(checkpoints: &Checkpoints, state: &State) -> RunError {
    RunError::Checkpoint {
        path: checkpoints.path(state.step),
        problem: "its settings, its data or its base model are not those of this job".to_owned(),
    }
}

fn first_values(setup: &Setup<'_>) -> Result<Parameters, RunError> {
    Ok(match setup.start {
        Some(start) => Parameters::from_adapter(setup.decoder, start)?,
        None if setup.settings.method == TrainingMethod::Full => Parameters::full(setup.decoder)?,
        None => {
            let config = lora_config(setup.settings, setup.base);
            Parameters::new(setup.decoder, config, InitB::Zero, setup.settings.seed)?
        }
    })
}

/// PEFT's configuration of the adapter that these settings train.
pub(crate) fn lora_config(settings: &TrainingSettings, base: &str) -> LoraConfig {
    LoraConfig {
        r: usize::try_from(settings.lora_r).unwrap_or(usize::MAX),
        lora_alpha: settings.lora_alpha,
        lora_dropout: settings.lora_dropout,
        use_rslora: settings.use_rslora,
        target_modules: match &settings.target_modules {
            TargetModules::List(list) => lore_model::TargetModules::List(list.clone()),
            TargetModules::Pattern(text) => lore_model::TargetModules::Pattern(text.clone()),
        },
        base_model_name_or_path: Some(base.to_owned()),
        ..LoraConfig::default()
    }
}

fn adamw(settings: &TrainingSettings) -> AdamWSettings {
    AdamWSettings {
        betas: (settings.adam_beta1, settings.adam_beta2),
        eps: settings.adam_eps,
        weight_decay: settings.weight_decay,
    }
}
