use super::error::{RunError, file};
use super::files::{sha256, sync_folder, write_whole};
use crate::dataset::Position;
use lore_model::train::{AdamW, AdamWSettings, Parameters};
use lore_model::{Adapter, Decoder, ModelError, read_safetensors, write_safetensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const STATE: &str = "state.json";
const OPTIMISER: &str = "optimizer.safetensors";
/// The weights of a whole model.
pub(crate) const MODEL: &str = "model.safetensors";

/// Files whose bytes a checkpoint vouches for.
fn files(full: bool) -> &'static [&'static str] {
    if full {
        &[MODEL, OPTIMISER]
    } else {
        &[
            "adapter_config.json",
            "adapter_model.safetensors",
            OPTIMISER,
        ]
    }
}

/// Where a run stands, beside the tensors: the data position, and with the seed the random state, since what is random in a
/// step follows from the seed and the step's number alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Where the next example stands.
    pub position: Position,
    /// The seed.
    pub seed: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Loss of the newest step.
    #[serde(with = "exact")]
    pub train_loss: Option<f64>,
    /// Loss on the held-out part before the first step.
    #[serde(with = "exact")]
    pub first_validation_loss: Option<f64>,
    /// The newest one.
    #[serde(with = "exact")]
    pub validation_loss: Option<f64>,
    /// The lowest one.
    #[serde(with = "exact")]
    pub best_validation_loss: Option<f64>,
    /// The step of the lowest one.
    pub best_step: Option<u64>,
    /// The step of the newest evaluation.
    pub evaluated_step: Option<u64>,
    /// Evaluations since the best one.
    pub waited: u32,
    /// Whether early stopping ended the run.
    pub stopped_early: bool,
    /// Names settings, data and base.
    pub run: String,
    /// SHA-256 of the files beside it.
    pub files: BTreeMap<String, String>,
}

/// The checkpoints of a job: `step-00000042/` with `adapter_config.json`, `adapter_model.safetensors` (PEFT's, so each can be
/// used as it is; with full fine-tuning `model.safetensors`), `optimizer.safetensors` and `state.json`.
///
/// # Guarantees
/// A folder under its final name is whole and on disk.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Those in `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder of a step.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}"))
    }

    /// The steps that have one, ascending.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>, RunError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file("list", &self.folder)(error)),
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.map_err(file("list", &self.folder))?.file_name();
            let number: Option<u64> = name
                .to_str()
                .and_then(|name| name.strip_prefix("step-")?.parse().ok());
            steps.extend(number);
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes one: all of it under its final name, or nothing.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write(
        &self,
        decoder: &Decoder,
        parameters: &Parameters,
        optimiser: &AdamW,
        state: &State,
    ) -> Result<(), RunError> {
        let partial = self.folder.join("partial");
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(file("make", &partial))?;
        let written = self.fill(&partial, decoder, parameters, optimiser, state);
        if written.is_err() {
            // What was written takes the room that is lacking; the error itself says more than this one would.
            let _ = fs::remove_dir_all(&partial);
        }
        written?;
        let path = self.path(state.step);
        remove(&path)?;
        fs::rename(&partial, &path).map_err(file("name", &path))?;
        sync_folder(&self.folder)
    }

    fn fill(
        &self,
        partial: &Path,
        decoder: &Decoder,
        parameters: &Parameters,
        optimiser: &AdamW,
        state: &State,
    ) -> Result<(), RunError> {
        if parameters.is_full() {
            let named = parameters
                .tensors()
                .map(|(name, tensor)| (name.to_owned(), tensor.clone()));
            write_safetensors(&partial.join(MODEL), &named.collect())?;
        } else {
            parameters.adapter().save(partial, decoder)?;
        }
        write_safetensors(&partial.join(OPTIMISER), &optimiser.state(parameters))?;
        let mut state = state.clone();
        for name in files(parameters.is_full()) {
            let sum = sha256(&partial.join(name))?;
            state.files.insert((*name).to_owned(), sum);
        }
        let text = serde_json::to_vec_pretty(&state)
            .map_err(|error| RunError::Request(error.to_string()))?;
        write_whole(&partial.join(STATE), &text)?;
        sync_folder(partial)
    }

    /// The newest checkpoint whose files are as they were written, and the ones that are not.
    ///
    /// # Errors
    /// Where files cannot be read at all.
    pub fn newest(&self) -> Result<(Option<State>, Vec<PathBuf>), RunError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.read(step) {
                Some(state) => return Ok((Some(state), damaged)),
                None => damaged.push(self.path(step)),
            }
        }
        Ok((None, damaged))
    }

    /// The state of a step, if its files are as they were written.
    pub fn read(&self, step: u64) -> Option<State> {
        let path = self.path(step);
        let text = fs::read(path.join(STATE)).ok()?;
        let state: State = serde_json::from_slice(&text).ok()?;
        let full = state.files.contains_key(MODEL);
        let whole = files(full).iter().all(|name| {
            let sum = sha256(&path.join(name)).ok();
            sum.is_some() && sum.as_ref() == state.files.get(*name)
        });
        (whole && state.step == step).then_some(state)
    }

    /// The trained values of a step: those of an adapter, or with `full` those of the whole model.
    ///
    /// # Errors
    /// As [`Adapter::load`]; a tensor that is missing.
    pub fn parameters(
        &self,
        step: u64,
        decoder: &Decoder,
        base: &str,
        full: bool,
    ) -> Result<Parameters, RunError> {
        if !full {
            let adapter = self.adapter(step, decoder, base)?;
            return Ok(Parameters::from_adapter(decoder, &adapter)?);
        }
        let mut tensors = read_safetensors(&self.path(step).join(MODEL), decoder.device())?;
        let parameters = Parameters::full(decoder)?;
        parameters.restore(|name| tensors.remove(name))?;
        Ok(parameters)
    }

    /// The adapter of a step.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub fn adapter(&self, step: u64, decoder: &Decoder, base: &str) -> Result<Adapter, RunError> {
        Ok(Adapter::load(
            &self.path(step),
            decoder,
            "the checkpoint",
            base,
        )?)
    }

    /// The optimiser of a step.
    ///
    /// # Errors
    /// A moment that is missing.
    pub fn optimiser(
        &self,
        step: u64,
        parameters: &Parameters,
        settings: AdamWSettings,
        decoder: &Decoder,
    ) -> Result<AdamW, RunError> {
        let path = self.path(step).join(OPTIMISER);
        let mut tensors = read_safetensors(&path, decoder.device())?;
        let mut optimiser = AdamW::new(parameters, settings);
        optimiser.restore(parameters, step, |name| tensors.remove(name))?;
        if let Some(unknown) = tensors.keys().next() {
            return Err(ModelError::MissingTensor(unknown.clone()).into());
        }
        Ok(optimiser)
    }

    /// Deletes all but the newest `keep` and that of the best step; says which are gone.
    ///
    /// # Errors
    /// Names the folder that cannot be deleted.
    pub fn prune(&self, keep: u32, best: Option<u64>) -> Result<Vec<u64>, RunError> {
        let steps = self.steps()?;
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let old = steps.len().saturating_sub(keep);
        let gone: Vec<u64> = steps
            .into_iter()
            .take(old)
            .filter(|step| Some(*step) != best)
            .collect();
        for step in &gone {
            remove(&self.path(*step))?;
        }
        Ok(gone)
    }
}

fn remove(path: &Path) -> Result<(), RunError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("delete", path)(error))
        }
        _ => Ok(()),
    }
}

/// Numbers as texts that are read back to the last bit, which JSON's own numbers are not: a loss that comes back a little
/// larger could make another step the best one.
mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| format!("{value:?}")).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<f64>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}
