//! The training loop on a tiny model.

use crate::tiny;
use lore_model::train::{TrainSettings, evaluate};
use lore_model::{Adapter, Decoder};
use lore_trainer::run::{
    Ask, Checkpoints, Data, Ended, Hooks, Notice, RunError, Setup, State, train,
};
use lore_types::{LearningRateSchedule, StepMetrics, TrainingSettings};
use std::cell::{Cell, RefCell};
use std::path::Path;
use tempfile::TempDir;

struct Rig {
    folder: TempDir,
    decoder: Decoder,
    data: Data,
    settings: TrainingSettings,
}

impl Rig {
    fn new() -> Self {
        Self::with(tiny::settings())
    }

    fn with(settings: TrainingSettings) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self {
            decoder: tiny::decoder(&folder.path().join("base")),
            data: tiny::data(settings.seed),
            folder,
            settings,
        }
    }

    fn setup<'a>(&'a self, job: &'a Path) -> Setup<'a> {
        Setup {
            decoder: &self.decoder,
            base: "tiny",
            settings: &self.settings,
            data: &self.data,
            start: None,
            folder: job,
            memory_limit: None,
        }
    }

    fn job(&self, name: &str) -> std::path::PathBuf {
        let job = self.folder.path().join(name);
        std::fs::create_dir_all(&job).expect("a folder");
        job
    }

    /// Runs to the end; the state and everything that was told.
    fn run(&self, name: &str) -> (State, Vec<Notice>) {
        let job = self.job(name);
        let (ended, notices) = told(&self.setup(&job), |_| Ask::Go);
        match ended.expect("a run") {
            Ended::Done(state) => (state, notices),
            other => panic!("{other:?}"),
        }
    }

    /// The bytes of a job's result and of its newest optimiser.
    fn bytes(&self, name: &str, state: &State) -> (Vec<u8>, Vec<u8>) {
        let checkpoints = Checkpoints::new(self.folder.path().join(name).join("checkpoints"));
        let read = |step: u64, file: &str| {
            std::fs::read(checkpoints.path(step).join(file)).expect("a file of the checkpoint")
        };
        (
            read(state.result(), "adapter_model.safetensors"),
            read(state.step, "optimizer.safetensors"),
        )
    }
}

/// Runs with an owner who asks by the number of questions so far.
fn told(setup: &Setup<'_>, asks: impl Fn(u32) -> Ask) -> (Result<Ended, RunError>, Vec<Notice>) {
    let (asked, notices) = (Cell::new(0), RefCell::new(Vec::new()));
    let mut hooks = Hooks {
        ask: Box::new(|| {
            asked.set(asked.get() + 1);
            asks(asked.get())
        }),
        tell: Box::new(|notice| notices.borrow_mut().push(notice)),
    };
    let ended = train(setup, &mut hooks);
    drop(hooks);
    (ended, notices.into_inner())
}

fn lines(notices: &[Notice]) -> Vec<StepMetrics> {
    let line = |notice: &Notice| match notice {
        Notice::Measured(line, _) => Some(line.clone()),
        _ => None,
    };
    notices.iter().filter_map(line).collect()
}

#[test]
fn the_held_out_loss_falls_and_every_step_is_measured() {
    let rig = Rig::new();
    let (state, notices) = rig.run("a");
    let (first, last) = (state.first_validation_loss, state.best_validation_loss);
    let (first, last) = (first.expect("before"), last.expect("after"));
    assert!(last < first * 0.9, "{first} fell to {last} only");
    let lines = lines(&notices);
    let steps: Vec<u64> = lines
        .iter()
        .filter(|line| line.train_loss.is_some())
        .map(|line| line.step)
        .collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let evaluated: Vec<u64> = lines
        .iter()
        .filter(|line| line.validation_loss.is_some())
        .map(|line| line.step)
        .collect();
    assert_eq!(evaluated, [0, 4, 8, 12]);
    for line in lines.iter().filter(|line| line.train_loss.is_some()) {
        assert!(line.grad_norm.is_some_and(|norm| norm > 0.0), "{line:?}");
        assert!(
            line.tokens_per_second.is_some_and(|pace| pace > 0.0) && line.peak_memory_bytes > 0,
            "{line:?}"
        );
    }
    let text = std::fs::read_to_string(rig.folder.path().join("a/metrics.jsonl")).expect("metrics");
    let expected: Vec<String> = lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("JSON"))
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_run_that_was_halted_anywhere_ends_with_the_same_bytes() {
    let mut settings = tiny::settings();
    settings.lora_dropout = 0.2;
    let rig = Rig::with(settings);
    let (whole, _) = rig.run("whole");
    // Questions are asked before each micro-batch, evaluations included: these halts fall at and within steps and evaluations.
    for halt in [1, 3, 9, 16, 23, 30] {
        let name = format!("halted-{halt}");
        let job = rig.job(&name);
        let (ended, _) = told(&rig.setup(&job), |asked| {
            if asked == halt { Ask::Halt } else { Ask::Go }
        });
        let step = match ended.expect("a run") {
            Ended::Halted(state) => state.step,
            other => panic!("{other:?}"),
        };
        let (resumed, notices) = rig.run(&name);
        assert!(
            matches!(notices.first(), Some(Notice::Begun { after, .. }) if *after == step),
            "{notices:?}"
        );
        assert!(
            rig.bytes("whole", &whole) == rig.bytes(&name, &resumed),
            "halted at question {halt}, step {step}"
        );
        let same = State {
            seconds: whole.seconds,
            files: whole.files.clone(),
            ..resumed
        };
        assert_eq!(same, whole, "halted at question {halt}");
        let text = std::fs::read_to_string(job.join("metrics.jsonl")).expect("metrics");
        assert_eq!(
            text.lines().count(),
            12 + 4,
            "each step and evaluation has one line"
        );
    }
}

#[test]
fn two_runs_with_one_seed_are_bitwise_equal_and_another_seed_is_not() {
    let rig = Rig::new();
    let ((first, _), (second, _)) = (rig.run("a"), rig.run("b"));
    assert!(rig.bytes("a", &first) == rig.bytes("b", &second));
    let mut settings = tiny::settings();
    settings.seed = 8;
    let other = Rig::with(settings);
    let (state, _) = other.run("c");
    assert!(other.bytes("c", &state) != rig.bytes("a", &first));
}

#[test]
fn unequal_micro_batches_add_up_to_one_batch() {
    let small = Rig::new();
    let mut settings = tiny::settings();
    settings.micro_batch_tokens = 100_000;
    settings.gradient_checkpointing = true;
    let large = Rig::with(settings);
    let ((_, small), (_, large)) = (small.run("a"), large.run("a"));
    for (small, large) in lines(&small).iter().zip(lines(&large)) {
        for (small, large) in [
            (small.train_loss, large.train_loss),
            (small.validation_loss, large.validation_loss),
            (small.grad_norm, large.grad_norm),
        ] {
            let off = small.unwrap_or_default() - large.unwrap_or_default();
            assert!(off.abs() < 1e-3, "{small:?} against {large:?}");
        }
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint() {
    let mut settings = tiny::settings();
    settings.checkpoint_every_steps = 1;
    settings.lr_schedule = LearningRateSchedule::Constant;
    settings.warmup_steps = Some(0);
    let mut rig = Rig::with(settings);
    rig.settings.max_steps = Some(2);
    rig.run("a");
    rig.settings.max_steps = Some(12);
    let job = rig.job("b");
    rig.settings.learning_rate = 1e30;
    let (ended, _) = told(&rig.setup(&job), |_| Ask::Go);
    let error = ended.expect_err("a run that fails");
    assert_eq!(error.code(), "nan_loss", "{error}");
    assert!(
        error.reason().message.contains("lower learning rate"),
        "{}",
        error.reason().message
    );
    let (newest, damaged) = Checkpoints::new(job.join("checkpoints"))
        .newest()
        .expect("checkpoints");
    assert!(damaged.is_empty());
    assert!(
        newest.is_some_and(|state| state.step >= 1 && state.train_loss.is_some_and(f64::is_finite))
    );
}

#[test]
fn too_little_memory_ends_the_run_with_that_reason() {
    let rig = Rig::new();
    let job = rig.job("a");
    let mut setup = rig.setup(&job);
    setup.memory_limit = Some(1 << 20);
    let (ended, _) = told(&setup, |_| Ask::Go);
    let reason = ended.expect_err("a run that fails").reason();
    assert_eq!(reason.code, "out_of_memory");
    assert!(
        reason.message.contains("1048576") && reason.message.contains("micro_batch_tokens"),
        "{}",
        reason.message
    );
}

#[test]
fn a_run_without_progress_stops_early_and_gives_the_best_state() {
    let mut settings = tiny::settings();
    settings.early_stopping_patience = 2;
    settings.early_stopping_min_delta = 100.0;
    settings.eval_every_steps = Some(1);
    settings.max_steps = Some(50);
    let rig = Rig::with(settings);
    let (state, notices) = rig.run("a");
    assert!(state.stopped_early);
    assert_eq!(
        (state.step, state.best_step),
        (3, Some(1)),
        "step 1 was the best, and two more did not fall by 100"
    );
    let best: Vec<u64> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Checkpoint {
                step, best: true, ..
            } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(best, [1]);
    assert!(
        rig.folder
            .path()
            .join("a/checkpoints/step-00000001/adapter_model.safetensors")
            .exists()
    );
}

#[test]
fn old_checkpoints_go_and_the_best_one_stays() {
    let mut settings = tiny::settings();
    settings.checkpoint_every_steps = 1;
    settings.keep_checkpoints = 2;
    let rig = Rig::with(settings);
    let (state, _) = rig.run("a");
    let checkpoints = Checkpoints::new(rig.folder.path().join("a/checkpoints"));
    let mut expected = vec![11, 12, state.result()];
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(checkpoints.steps().expect("steps"), expected);
    // The result is the adapter whose held-out loss was the lowest, to the digit.
    let adapter = checkpoints
        .adapter(state.result(), &rig.decoder, "tiny")
        .expect("an adapter");
    let (sum, count) = evaluate(&rig.decoder, Some(&adapter), &rig.data.held_out).expect("a loss");
    let off = sum / count as f64 - state.best_validation_loss.expect("a loss");
    assert!(off.abs() < 1e-5, "{off}");
}

#[test]
fn a_damaged_checkpoint_is_told_and_passed_over() {
    let mut settings = tiny::settings();
    settings.keep_checkpoints = 9;
    let rig = Rig::with(settings);
    let (whole, _) = rig.run("whole");
    let job = rig.job("a");
    let (ended, _) = told(&rig.setup(&job), |asked| {
        if asked == 40 { Ask::Halt } else { Ask::Go }
    });
    let Ok(Ended::Halted(state)) = ended else {
        panic!("{ended:?}")
    };
    let weights = Checkpoints::new(job.join("checkpoints"))
        .path(state.step)
        .join("adapter_model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).expect("writing");
    let (resumed, notices) = rig.run("a");
    let warned = notices
        .iter()
        .any(|notice| matches!(notice, Notice::Warning(text) if text.contains("damaged")));
    assert!(warned, "{notices:?}");
    assert!(rig.bytes("whole", &whole) == rig.bytes("a", &resumed));
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let mut rig = Rig::new();
    rig.run("a");
    rig.settings.weight_decay = 0.5;
    let job = rig.job("a");
    let (ended, _) = told(&rig.setup(&job), |_| Ask::Go);
    let error = ended.expect_err("a run that fails");
    assert_eq!(error.code(), "wrong_checkpoint", "{error}");
}

#[test]
fn a_run_goes_on_from_an_earlier_adapter() {
    let rig = Rig::new();
    let (state, _) = rig.run("a");
    let folder = Checkpoints::new(rig.folder.path().join("a/checkpoints")).path(state.result());
    let start = Adapter::load(&folder, &rig.decoder, "a", "tiny").expect("an adapter");
    let job = rig.job("b");
    let mut setup = rig.setup(&job);
    setup.start = Some(&start);
    let (ended, _) = told(&setup, |_| Ask::Go);
    let Ok(Ended::Done(after)) = ended else {
        panic!("{ended:?}")
    };
    let off =
        after.first_validation_loss.expect("a loss") - state.best_validation_loss.expect("a loss");
    assert!(
        off.abs() < 1e-6,
        "it begins where the other ended, not {off} away"
    );
    assert!(after.best_validation_loss < state.best_validation_loss);
}

#[test]
fn steps_follow_from_epochs_and_the_batch() {
    let data = tiny::data(1);
    let steps = |n_epochs: f64, batch_size: u32| {
        data.steps(&TrainingSettings {
            n_epochs,
            batch_size,
            max_steps: None,
            ..tiny::settings()
        })
    };
    assert_eq!(steps(1.0, 18), 1);
    assert_eq!(steps(1.0, 4), 5);
    assert_eq!(steps(2.5, 9), 5);
    assert_eq!(steps(0.01, 9), 1);
    let plain = TrainSettings {
        dropout: 0.0,
        seed: 0,
        checkpointing: false,
    };
    assert_eq!(plain.dropout, 0.0);
}
