//! The catalog: here is what Lore knows of its documents, kept in SQL and on disk, safe against a kill at any moment.
//!
//! It holds collections, documents and their versions, chunks, parsed texts, the job queue and, beside the database, the
//! original bytes; and of training, the files, the fine-tuning jobs and the adapters. It is the one place that decides which version of a document can be found: indexes propose chunks, and
//! [`Catalog::passages`] gives back only those of active versions.
//!
//! *Useful for* every service; several processes may open one catalog at a time. *Not useful for* searching.
//!
//! # The life of a version
//! `pending` (accepted, its job waits or runs) → `active` (can be found) → `removing` (replaced or deleted: invisible at
//! once, its chunks still have to leave the indexes) → gone. A version whose job fails is `failed` and stays, so that
//! the reason can be read and the upload repeated.
//!
//! # SQL
//! Plain statements that PostgreSQL understands as well; the database is SQLite with a write-ahead log, and a commit is
//! on disk when it returns.

mod accept;
mod adapters;
mod catalog;
mod collections;
mod documents;
mod error;
mod files;
mod fine_tuning;
mod fine_tuning_leases;
mod fine_tuning_log;
mod index_work;
mod jobs;
mod leases;
mod originals;
mod page;
mod parsed;
mod passages;
mod removals;
mod retention;
mod row;
mod schema;
mod verify;

pub use accept::NewVersion;
pub use adapters::NewAdapterVersion;
pub use catalog::Catalog;
pub use collections::NewCollection;
pub use documents::{DocumentQuery, Original};
pub use error::CatalogError;
pub use files::{FileQuery, StoredFile};
pub use fine_tuning::FineTuningQuery;
pub use fine_tuning_leases::FineTuningEnd;
pub use index_work::Activation;
pub use jobs::{JobCounts, JobQuery};
pub use leases::{Lease, TakenOver, Task};
pub use originals::{OriginalWriter, Originals, StoredOriginal};
pub use page::Page;
pub use parsed::{ParsedVersion, StoredVersion};
pub use passages::{Hydrated, StoredPassage};
pub use removals::Removal;
pub use verify::{LiveChunk, VersionState};
