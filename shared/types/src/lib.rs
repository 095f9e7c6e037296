//! The words of Lore as plain data: ids, documents, chunks, passages, citations, jobs, messages. No I/O.
//!
//! *Useful for* everything that two crates have to agree on, the HTTP API included: the types that carry `ToSchema` are
//! what a client sees. *Not useful for* behaviour: storing, ranking and answering live in the crates that own them.

mod adapter;
mod answer;
mod chat;
mod collection;
mod document;
mod error;
mod file;
mod filter;
mod fine_tuning;
mod id;
mod job;
mod list;
mod passage;
mod training;
mod verify;

pub use adapter::{
    Adapter, AdapterKind, AdapterMetrics, AdapterReference, AdapterVersion, ParityReport,
    Promotion, Provenance, TrainedOn,
};
pub use answer::{Answer, Citation, Claim, Timings};
pub use chat::{FinishReason, Message, Role, Sampling, Usage};
pub use collection::Collection;
pub use document::{
    Accepted, Chunk, Document, DocumentFormat, DocumentStatus, Metadata, Refused, Span, Uploaded,
    document_fields,
};
pub use error::{ApiError, ErrorBody};
pub use file::{File, FilePurpose};
pub use filter::{Comparison, Filter, FilterError, Scalar};
pub use fine_tuning::{
    AutoOr, AutoWord, BadLinePolicy, BadLineReport, CreateFineTuningJob, DatasetReport, Estimate,
    FineTuningCheckpoint, FineTuningError, FineTuningEvent, FineTuningHyperparameters,
    FineTuningJob, FineTuningMethod, FineTuningStatus, LengthReport, LoreRequest, LoreTuning,
    MethodKind, Progress, Replay, StepMetrics, SupervisedMethod, WeightedFile,
};
pub use id::{
    ChunkId, ContentHash, DocumentId, FileId, FineTuningCheckpointId, FineTuningEventId,
    FineTuningId, JobId, VersionId,
};
pub use job::{Job, JobEvent, JobKind, JobStage, JobStatus};
pub use list::{Deleted, List};
pub use passage::{Passage, Scores, SearchMode, SideScore};
pub use training::{
    LearningRateSchedule, TargetModules, TrainingMethod, TrainingPrecision, TrainingSettings,
};
pub use verify::{CollectionReport, IndexReport, OrphanCollection, SideReport};
