use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainingMethod {
    /// An adapter on a base in float32 (bf16 on CUDA).
    Lora,
    /// An adapter on a base that stays quantised in memory, as its GGUF file holds it.
    Qlora,
    /// Every weight of the base.
    Full,
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LearningRateSchedule {
    /// Half a cosine, down to zero.
    Cosine,
    /// A straight line, down to zero.
    Linear,
    /// As it is.
    Constant,
}

/// The numbers that the base computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainingPrecision {
    /// bf16 on CUDA, float32 on the CPU.
    Auto,
    /// float32.
    Float32,
    /// bf16 (CUDA only).
    Bf16,
}

/// Which linear layers an adapter is on, as PEFT writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TargetModules {
    /// The last parts of module paths, such as `q_proj`.
    List(Vec<String>),
    /// `all-linear`, or a regular expression for whole module paths.
    Pattern(String),
}

/// Every setting of a training run, checked. A request names those that differ from the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TrainingSettings {
    /// What is trained.
    pub method: TrainingMethod,
    /// Rank of the adapter, 1..=512.
    pub lora_r: u32,
    /// Numerator of the adapter's scaling.
    pub lora_alpha: f64,
    /// Share of the adapters' inputs that a step leaves out, 0..1.
    pub lora_dropout: f64,
    /// Scaling by alpha / √r instead of alpha / r.
    pub use_rslora: bool,
    /// Which linear layers the adapter is on.
    pub target_modules: TargetModules,
    /// Highest learning rate of the schedule.
    pub learning_rate: f64,
    /// How it goes on after the warm-up.
    pub lr_schedule: LearningRateSchedule,
    /// Share of the steps in which the learning rate rises, 0..1; used where `warmup_steps` is absent.
    pub warmup_ratio: f64,
    /// Steps in which the learning rate rises.
    pub warmup_steps: Option<u64>,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f64,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_eps: f64,
    /// Most that the gradients' norm may be; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Examples a step: the effective batch.
    pub batch_size: u32,
    /// Most tokens computed at once; a step adds up as many micro-batches as it needs. Bounds the memory.
    pub micro_batch_tokens: u32,
    /// Most tokens of an example; longer ones are cut and counted.
    pub max_tokens: u32,
    /// Rounds through the examples; used where `max_steps` is absent.
    pub n_epochs: f64,
    /// Steps in all.
    pub max_steps: Option<u64>,
    /// Share of the examples that is held out where no validation file is given, 0..=0.5.
    pub validation_share: f64,
    /// Steps between two evaluations on the held-out part; absent: ten in a run, at least one an epoch.
    pub eval_every_steps: Option<u64>,
    /// Evaluations without a better loss after which the run ends; 0 turns it off.
    pub early_stopping_patience: u32,
    /// Least fall of the validation loss that counts as better.
    pub early_stopping_min_delta: f64,
    /// Steps between two checkpoints.
    pub checkpoint_every_steps: u64,
    /// Checkpoints kept beside the best one.
    pub keep_checkpoints: u32,
    /// Keep only the layers' inputs and compute the rest again: a third slower, far less memory.
    pub gradient_checkpointing: bool,
    /// The numbers that the base computes with.
    pub precision: TrainingPrecision,
    /// Decides the order of examples, the first values and the dropout.
    pub seed: u64,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            method: TrainingMethod::Lora,
            lora_r: 16,
            lora_alpha: 32.0,
            lora_dropout: 0.0,
            use_rslora: false,
            target_modules: TargetModules::Pattern("all-linear".to_owned()),
            learning_rate: 2e-4,
            lr_schedule: LearningRateSchedule::Cosine,
            warmup_ratio: 0.05,
            warmup_steps: None,
            weight_decay: 0.01,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_eps: 1e-8,
            max_grad_norm: 1.0,
            batch_size: 8,
            micro_batch_tokens: 512,
            max_tokens: 1024,
            n_epochs: 3.0,
            max_steps: None,
            validation_share: 0.1,
            eval_every_steps: None,
            early_stopping_patience: 0,
            early_stopping_min_delta: 0.0,
            checkpoint_every_steps: 50,
            keep_checkpoints: 2,
            gradient_checkpointing: false,
            precision: TrainingPrecision::Auto,
            seed: 42,
        }
    }
}
