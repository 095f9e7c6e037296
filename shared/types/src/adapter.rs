use crate::{FineTuningId, TrainingSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What a version holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A PEFT folder: `adapter_config.json` and `adapter_model.safetensors`.
    Lora,
    /// A whole model in the Hugging Face layout: what full fine-tuning gives.
    Full,
}

/// A trained addition to a base model, under one name, in versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Adapter {
    /// Its name; `model: "NAME"` means the promoted version.
    pub name: String,
    /// Always `adapter`.
    pub object: String,
    /// The base model of the promoted version, or else of the newest.
    pub base: String,
    /// The version that is served under the bare name.
    pub promoted: Option<u32>,
    /// All versions, oldest first.
    pub versions: Vec<AdapterVersion>,
    /// What was promoted when, newest first.
    pub promotions: Vec<Promotion>,
    /// When its first version was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Adapter {
    /// The version with a number.
    pub fn version(&self, number: u32) -> Option<&AdapterVersion> {
        self.versions.iter().find(|one| one.version == number)
    }

    /// The version that is served under the bare name.
    pub fn promoted_version(&self) -> Option<&AdapterVersion> {
        self.promoted.and_then(|number| self.version(number))
    }
}

/// One version of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdapterVersion {
    /// The adapter.
    pub adapter: String,
    /// Its number, from 1.
    pub version: u32,
    /// What it holds.
    pub kind: AdapterKind,
    /// The name of the base model that it was trained on.
    pub base: String,
    /// The base's fingerprint: see `Decoder::fingerprint` in lore-model.
    pub base_fingerprint: String,
    /// Its folder, relative to the data folder.
    pub path: String,
    /// SHA-256 of its weights file.
    pub sha256: String,
    /// Length of its weights file.
    pub bytes: u64,
    /// The job that made it; absent for an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<FineTuningId>,
    /// The adapter (`name@version`) that its training went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether a document that it was trained on has changed or gone since.
    pub stale: bool,
    /// What was measured.
    pub metrics: AdapterMetrics,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The newest parity check, once there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<ParityReport>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl AdapterVersion {
    /// `name@version`.
    pub fn reference(&self) -> AdapterReference {
        AdapterReference {
            name: self.adapter.clone(),
            version: Some(self.version),
        }
    }
}

/// What was measured of a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AdapterMetrics {
    /// Steps it was trained.
    pub steps: u64,
    /// Tokens it was trained on.
    pub tokens: u64,
    /// Loss of the last step.
    pub train_loss: Option<f64>,
    /// Loss on the held-out part.
    pub validation_loss: Option<f64>,
    /// Loss on the held-out part before the first step.
    pub first_validation_loss: Option<f64>,
    /// Seconds of training.
    pub seconds: f64,
    /// Most memory of the process.
    pub peak_memory_bytes: u64,
}

/// Where a version comes from: enough to make it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Provenance {
    /// The base model's files: SHA-256 by name.
    pub base_files: BTreeMap<String, String>,
    /// The data sets.
    pub datasets: Vec<TrainedOn>,
    /// The settings; absent for an import.
    pub settings: Option<TrainingSettings>,
    /// The seed.
    pub seed: Option<u64>,
    /// Versions of the programs that took part, by name.
    pub versions: BTreeMap<String, String>,
    /// Where an import came from.
    pub imported_from: Option<String>,
}

/// A data set that an adapter was trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TrainedOn {
    /// The name it was uploaded under.
    pub filename: String,
    /// `training`, `validation` or `replay`.
    pub role: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its weight in the mixture.
    pub weight: f64,
    /// Examples that were trained on.
    pub examples: u64,
    /// The document versions that it was built from, where it was.
    pub document_versions: Vec<String>,
}

/// A comparison of trainer and server logits on fixed prompts: of two, in exact products and in those of serving, the one that
/// comes nearer to its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParityReport {
    /// Prompts compared.
    pub prompts: u32,
    /// Largest absolute difference of a logit.
    pub max_difference: f64,
    /// Largest difference that passes.
    pub tolerance: f64,
    /// Whether they agree.
    pub passed: bool,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub checked_at: OffsetDateTime,
}

/// A change of the promoted version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Promotion {
    /// The version that was promoted.
    pub version: u32,
    /// The one before.
    pub replaced: Option<u32>,
    /// Whether it went back, so that the next rollback goes back further.
    #[serde(default)]
    pub rollback: bool,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// `name` (the promoted version) or `name@version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterReference {
    /// The adapter.
    pub name: String,
    /// The version; absent for the promoted one.
    pub version: Option<u32>,
}

impl fmt::Display for AdapterReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(out, "{}@{version}", self.name),
            None => out.write_str(&self.name),
        }
    }
}

impl FromStr for AdapterReference {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.rsplit_once('@') {
            Some((name, version)) => Self {
                name: name.to_owned(),
                version: Some(version.parse()?),
            },
            None => Self {
                name: text.to_owned(),
                version: None,
            },
        })
    }
}
