use crate::row::Word;
use crate::{Catalog, CatalogError, Page, row};
use lore_types::{ApiError, Job, JobId, JobStatus};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Which jobs are asked for.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// Only those of this collection.
    pub collection: Option<String>,
    /// Only those that stand like this.
    pub status: Option<JobStatus>,
    /// Only those older than this one.
    pub after: Option<JobId>,
    /// At most this many.
    pub limit: u32,
}

/// How many jobs are not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting.
    pub queued: u64,
    /// Leased.
    pub running: u64,
}

impl Catalog {
    /// One job.
    ///
    /// # Errors
    /// [`CatalogError::NoJob`].
    pub async fn job(&self, id: JobId) -> Result<Job, CatalogError> {
        let found = sqlx::query("SELECT * FROM jobs WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a job"))?;
        found.map_or_else(|| Err(CatalogError::NoJob(id)), |found| job(&found))
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE ($1 IS NULL OR collection = $1) AND ($2 IS NULL OR status = $2) \
             AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        )
        .bind(query.collection.as_deref())
        .bind(query.status.map(|status| status.word()))
        .bind(query.after.map(|id| id.to_string()))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list jobs"))?;
        let all = rows.iter().map(job).collect::<Result<_, _>>()?;
        Ok(Page::cut(all, query.limit))
    }

    /// How many jobs wait and run.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn job_counts(&self) -> Result<JobCounts, CatalogError> {
        let found = sqlx::query(
            "SELECT (SELECT count(*) FROM jobs WHERE status = 'queued') AS queued, \
             (SELECT count(*) FROM jobs WHERE status = 'running') AS running",
        )
        .fetch_one(&self.reader)
        .await
        .map_err(CatalogError::sql("count jobs"))?;
        Ok(JobCounts {
            queued: row::number(&found, "queued")?,
            running: row::number(&found, "running")?,
        })
    }
}

/// How many jobs wait, as a transaction sees it.
pub(crate) async fn waiting(connection: &mut SqliteConnection) -> Result<u64, CatalogError> {
    let found = sqlx::query("SELECT count(*) AS waiting FROM jobs WHERE status = 'queued'")
        .fetch_one(connection)
        .await
        .map_err(CatalogError::sql("count jobs"))?;
    row::number(&found, "waiting")
}

pub(crate) fn job(found: &SqliteRow) -> Result<Job, CatalogError> {
    let error: Option<&str> = row::get(found, "error")?;
    Ok(Job {
        id: row::id(found, "id")?,
        kind: row::word(found, "kind", "a kind of job")?,
        status: row::word(found, "status", "a job's status")?,
        stage: row::word(found, "stage", "a job's stage")?,
        progress: progress(row::get(found, "progress")?),
        collection: row::get(found, "collection")?,
        document_id: row::optional_id(found, "document_id")?,
        document_name: row::get(found, "document_name")?,
        version: row::optional_number(found, "version_number")?,
        warnings: row::texts(found, "warnings")?,
        error: error.map(reason).transpose()?,
        attempts: row::number(found, "attempts")?,
        created_at: row::time(found, "created_at")?,
        updated_at: row::time(found, "updated_at")?,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a share between 0 and 1 loses only digits"
)]
fn progress(stored: f64) -> f32 {
    stored.clamp(0.0, 1.0) as f32
}

/// Reads a stored error; what a statement wrote by hand lacks the fields that only answers have.
fn reason(text: &str) -> Result<ApiError, CatalogError> {
    serde_json::from_str(text).map_err(|_| row::corrupt("an error", text))
}
