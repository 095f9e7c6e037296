use crate::{
    FileId, FineTuningCheckpointId, FineTuningEventId, FineTuningId, Metadata, TrainingSettings,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Where a fine-tuning job stands; OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FineTuningStatus {
    /// Its files are being checked.
    ValidatingFiles,
    /// On disk, waiting for its turn.
    Queued,
    /// Being trained.
    Running,
    /// Held by the user; a checkpoint is on disk.
    Paused,
    /// Done: the adapter is registered.
    Succeeded,
    /// Ended without success; `error` says why.
    Failed,
    /// Ended by the user.
    Cancelled,
}

impl FineTuningStatus {
    /// The word that stands for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::ValidatingFiles => "validating_files",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A number, or `"auto"` for Lore's choice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AutoOr {
    /// A number.
    Number(f64),
    /// `"auto"`.
    Auto(AutoWord),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AutoWord {
    /// Lore chooses.
    Auto,
}

/// What a client asks for: OpenAI's body, and Lore's own in `lore`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFineTuningJob {
    /// A base model, or an adapter (`name` or `name@version`) to go on from.
    pub model: String,
    /// The file of examples.
    pub training_file: String,
    /// Examples to validate on; a share of the training file where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_file: Option<String>,
    /// Part of the adapter's name where `lore.name` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Decides the order of examples and the first values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What the client says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// How to train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<FineTuningMethod>,
    /// OpenAI's older place for the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub hyperparameters: Option<Map<String, Value>>,
    /// OpenAI's integrations; must be absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub integrations: Option<Vec<Value>>,
    /// What only Lore has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lore: Option<LoreRequest>,
}

/// How a job trains; only `supervised` is supported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FineTuningMethod {
    /// `supervised`.
    #[serde(rename = "type")]
    pub kind: MethodKind,
    /// Its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervised: Option<SupervisedMethod>,
}

/// The kinds of training that are supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// Examples with right answers.
    #[default]
    Supervised,
}

/// Settings of supervised training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SupervisedMethod {
    /// OpenAI's `n_epochs`, `batch_size`, `learning_rate_multiplier`, and Lore's settings by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub hyperparameters: Map<String, Value>,
}

/// What to do with lines of a data set that are no examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BadLinePolicy {
    /// Do not start, and name them.
    #[default]
    Refuse,
    /// Leave them out, and count them.
    Skip,
}

/// The part of a request that only Lore has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoreRequest {
    /// The adapter's name: 1–64 of `a-z A-Z 0-9 _ - .`, not starting with `.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Settings by name, as in `method.supervised.hyperparameters`, which they win over.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// More data sets beside the training file, whose weight is 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<WeightedFile>,
    /// General data that is mixed in against forgetting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// An adapter (`name` or `name@version`) whose values are the first ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<String>,
    /// What to do with lines that are no examples.
    pub on_bad_line: BadLinePolicy,
}

/// A file and how much of it is seen: a weight of 2 shows its examples twice as often as a weight of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedFile {
    /// The file.
    pub file: String,
    /// Its weight, above 0.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// General data against forgetting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The file.
    pub file: String,
    /// Its share of all examples that are seen, 0..1.
    pub share: f64,
}

/// A fine-tuning job, in OpenAI's shape, with Lore's own in `lore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FineTuningJob {
    /// Its id, `ftjob-…`.
    pub id: FineTuningId,
    /// Always `fine_tuning.job`.
    pub object: String,
    /// The base model's name.
    pub model: String,
    /// The adapter's name and version (`name@version`), once there is one.
    pub fine_tuned_model: Option<String>,
    /// Where it stands.
    pub status: FineTuningStatus,
    /// When it was accepted, in seconds since 1970.
    pub created_at: i64,
    /// When it ended, in seconds since 1970.
    pub finished_at: Option<i64>,
    /// When it should end, in seconds since 1970.
    pub estimated_finish: Option<i64>,
    /// The file of examples.
    pub training_file: FileId,
    /// The file of held-out examples.
    pub validation_file: Option<FileId>,
    /// Files with the measured values, once it succeeded.
    pub result_files: Vec<FileId>,
    /// Tokens that were computed.
    pub trained_tokens: Option<u64>,
    /// Why it failed.
    pub error: Option<FineTuningError>,
    /// The seed.
    pub seed: u64,
    /// How it trains.
    pub method: FineTuningMethod,
    /// OpenAI's three settings.
    pub hyperparameters: FineTuningHyperparameters,
    /// What the client said of it.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// Always empty.
    pub organization_id: String,
    /// Always empty.
    #[schema(value_type = Vec<Object>)]
    pub integrations: Vec<Value>,
    /// What only Lore has.
    pub lore: LoreTuning,
}

/// OpenAI's three settings, as they came out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FineTuningHyperparameters {
    /// Rounds through the examples.
    pub n_epochs: AutoOr,
    /// Examples a step.
    pub batch_size: AutoOr,
    /// The learning rate divided by Lore's default.
    pub learning_rate_multiplier: AutoOr,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FineTuningError {
    /// A stable word: `nan_loss`, `disk_full`, `out_of_memory`, `bad_dataset`, `wrong_base`, `model_unusable`, `crashed_repeatedly`,
    /// `internal`.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
    /// The field of the request that is to blame, where one is.
    pub param: Option<String>,
}

/// What Lore says of a job beyond OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoreTuning {
    /// The adapter's name.
    pub name: String,
    /// The version that it became, once it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The adapter (`name@version`) that it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<String>,
    /// What was to be done with lines that are no examples.
    #[serde(default)]
    pub on_bad_line: BadLinePolicy,
    /// All settings.
    pub settings: TrainingSettings,
    /// What the files hold, the training file first.
    pub datasets: Vec<DatasetReport>,
    /// What it should take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// How far it is, once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How often a worker began it.
    pub attempts: u32,
}

/// What a data set holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatasetReport {
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileId>,
    /// The name it was uploaded under.
    pub filename: String,
    /// `training`, `validation` or `replay`.
    pub role: String,
    /// The format that was recognised: `alpaca`, `sharegpt`, `messages` or `text`.
    pub format: String,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
    /// Its weight in the mixture; of a replay file its share of all examples that are seen.
    pub weight: f64,
    /// Examples that are trained on.
    pub examples: u64,
    /// Examples that are held out.
    pub held_out: u64,
    /// Lengths of its examples.
    pub lengths: LengthReport,
    /// Examples that were cut to `max_tokens`.
    pub truncated: u64,
    /// Lines that are no examples and were left out.
    pub skipped: u64,
    /// The first of these, at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_lines: Vec<BadLineReport>,
}

/// Lengths of examples, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LengthReport {
    /// All together.
    pub tokens: u64,
    /// Those that the loss counts.
    pub target_tokens: u64,
    /// The shortest.
    pub min: u64,
    /// The one in the middle.
    pub median: u64,
    /// The one that 95 of 100 do not exceed.
    pub p95: u64,
    /// The longest.
    pub max: u64,
}

/// A line that is no example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadLineReport {
    /// Its number, from 1 (of JSON files without lines: the number of the item).
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a job should take, told before it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Most memory.
    pub memory_bytes: u64,
    /// Memory that was free then.
    pub available_bytes: u64,
    /// Room on the disk for checkpoints and the result.
    pub disk_bytes: u64,
    /// Wall time.
    pub seconds: f64,
    /// Steps.
    pub steps: u64,
    /// Values that are trained.
    pub trained_parameters: u64,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Rounds through the examples done, as a fraction.
    pub epoch: f64,
    /// Loss of the newest step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_loss: Option<f64>,
    /// Loss of the newest evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Loss on the held-out part before the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_validation_loss: Option<f64>,
    /// The lowest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validation_loss: Option<f64>,
    /// The step of the lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_step: Option<u64>,
    /// Learning rate of the newest step.
    pub learning_rate: f64,
    /// Norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Tokens a second in the newest step.
    pub tokens_per_second: f64,
    /// Seconds of the newest step.
    pub step_seconds: f64,
    /// Tokens that were computed so far.
    pub tokens: u64,
    /// Most memory of the process so far.
    pub peak_memory_bytes: u64,
    /// Seconds until the end, at the pace so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
}

/// One line of `metrics.jsonl` (a step, or an evaluation after it), and the `data` of an event of type `metrics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepMetrics {
    /// The step, from 1; an evaluation before the first step has 0.
    pub step: u64,
    /// Steps in all.
    pub total_steps: u64,
    /// Rounds through the examples done, as a fraction.
    pub epoch: f64,
    /// Mean loss of the step's target tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_loss: Option<f64>,
    /// Mean loss of the held-out target tokens, where they were evaluated after this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// The learning rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Norm of the gradients before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Tokens of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tokens a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Most memory of the process so far.
    pub peak_memory_bytes: u64,
}

/// Something that happened to a job, in OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FineTuningEvent {
    /// Its id.
    pub id: FineTuningEventId,
    /// Always `fine_tuning.job.event`.
    pub object: String,
    /// When, in seconds since 1970.
    pub created_at: i64,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// What happened, for a person.
    pub message: String,
    /// `message` or `metrics`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `metrics` a [`StepMetrics`].
    #[schema(value_type = Option<Object>)]
    pub data: Option<Value>,
}

/// A state of the adapter that is on disk, in OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FineTuningCheckpoint {
    /// Its id.
    pub id: FineTuningCheckpointId,
    /// Always `fine_tuning.job.checkpoint`.
    pub object: String,
    /// When it was written, in seconds since 1970.
    pub created_at: i64,
    /// What names it: `job id:step-N`.
    pub fine_tuned_model_checkpoint: String,
    /// The job.
    pub fine_tuning_job_id: FineTuningId,
    /// The step after which it was written.
    pub step_number: u64,
    /// What was measured then: `step`, `train_loss`, `valid_loss`.
    #[schema(value_type = Object)]
    pub metrics: Map<String, Value>,
    /// Whether it is the best one so far.
    #[serde(default)]
    pub best: bool,
}
