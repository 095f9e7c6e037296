use lore_types::{DocumentId, FileId, FineTuningId, FineTuningStatus, JobId};
use std::path::PathBuf;
use thiserror::Error;

/// Why the catalog did not do what was asked. Nothing was changed then.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The database cannot be opened.
    #[error("the catalog `{path}` cannot be opened")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A newer Lore wrote the database.
    #[error(
        "the catalog has schema {found}, but this Lore knows schemas up to {known}; use the newer Lore"
    )]
    NewerSchema {
        /// What the database says.
        found: i64,
        /// The newest one this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("the catalog cannot {doing}")]
    Sql {
        /// What was to be done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: sqlx::Error,
    },
    /// A value in the database that Lore did not write.
    #[error("the catalog holds `{value}` where {expected} should stand")]
    Corrupt {
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        value: String,
    },
    /// A file of the originals cannot be read or written.
    #[error("cannot {doing} `{path}`")]
    File {
        /// What was to be done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// No such collection, or it was deleted.
    #[error("no collection `{0}`")]
    NoCollection(String),
    /// The collection is there already.
    #[error("collection `{0}` exists already")]
    CollectionExists(String),
    /// A deleted collection of that name is still being removed from the indexes.
    #[error("the deleted collection `{0}` is still being removed")]
    CollectionRemoving(String),
    /// No such document, or it was deleted.
    #[error("no document `{document}` in collection `{collection}`")]
    NoDocument {
        /// The collection.
        collection: String,
        /// The document.
        document: DocumentId,
    },
    /// No such job.
    #[error("no job `{0}`")]
    NoJob(JobId),
    /// No such file.
    #[error("no file `{0}`")]
    NoFile(FileId),
    /// A file that a job still needs.
    #[error("file `{file}` is needed by job `{job}`, which is not over")]
    FileInUse {
        /// The file.
        file: FileId,
        /// The job.
        job: FineTuningId,
    },
    /// No such fine-tuning job.
    #[error("no fine-tuning job `{0}`")]
    NoFineTuningJob(FineTuningId),
    /// A fine-tuning job stands where this cannot be done.
    #[error("job `{job}` is {}, so it cannot be {doing}", status.word())]
    WrongStatus {
        /// The job.
        job: FineTuningId,
        /// Where it stands.
        status: FineTuningStatus,
        /// What was to be done: `cancelled`, `paused`, `resumed`.
        doing: &'static str,
    },
    /// No such adapter, or no such version of it.
    #[error("no adapter `{0}`")]
    NoAdapter(String),
    /// An adapter cannot go back: nothing was promoted before.
    #[error("adapter `{0}` has no earlier promotion to go back to")]
    NoEarlierPromotion(String),
    /// A version that others rely on.
    #[error("adapter `{adapter}` is needed: {reason}")]
    AdapterInUse {
        /// The adapter, or `name@version`.
        adapter: String,
        /// By whom.
        reason: String,
    },
    /// Another registration took the number in the meantime.
    #[error("adapter `{adapter}` has a version {number} already")]
    VersionTaken {
        /// The adapter.
        adapter: String,
        /// The number.
        number: u32,
    },
    /// A page was asked for after something that is not there.
    #[error("`after` names `{0}`, which is not there")]
    NoSuchPage(String),
    /// The queue is full.
    #[error("{waiting} jobs are waiting and {more} more would pass the limit of {limit}")]
    QueueFull {
        /// Jobs that wait.
        waiting: u64,
        /// Jobs that were to be added.
        more: u64,
        /// Most jobs that may wait.
        limit: u64,
    },
}

impl CatalogError {
    /// Turns a failed statement into an error that says what it was for.
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Sql { doing, source }
    }

    /// Whether trying again later may help: the database was busy.
    pub fn is_transient(&self) -> bool {
        let Self::Sql { source, .. } = self else {
            return false;
        };
        match source {
            // 5 is SQLITE_BUSY, 6 SQLITE_LOCKED; the upper bits refine them.
            sqlx::Error::Database(error) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
            }
            sqlx::Error::PoolTimedOut => true,
            _ => false,
        }
    }
}
