use crate::FileId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a file is for; OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum FilePurpose {
    /// Examples to train or to validate on.
    #[serde(rename = "fine-tune")]
    FineTune,
    /// The measured values of a job, one line of CSV a step.
    #[serde(rename = "fine-tune-results")]
    FineTuneResults,
}

impl FilePurpose {
    /// The word that stands for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::FineTune => "fine-tune",
            Self::FineTuneResults => "fine-tune-results",
        }
    }
}

/// An uploaded file, in OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct File {
    /// Its id, `file-…`.
    pub id: FileId,
    /// Always `file`.
    pub object: String,
    /// Its length.
    pub bytes: u64,
    /// When it was uploaded, in seconds since 1970.
    pub created_at: i64,
    /// The name it was uploaded under.
    pub filename: String,
    /// What it is for.
    pub purpose: FilePurpose,
    /// Always `processed`: a file is on disk before it is acknowledged, and jobs check what is in it.
    pub status: String,
}
