use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError, Page, row};
use lore_types::{FileId, FineTuningId, FineTuningJob, FineTuningStatus};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Which fine-tuning jobs are asked for.
#[derive(Clone, Debug, Default)]
pub struct FineTuningQuery {
    /// Only those that stand like this.
    pub status: Option<FineTuningStatus>,
    /// Only those that make versions of this adapter.
    pub adapter: Option<String>,
    /// Only those older than this one.
    pub after: Option<FineTuningId>,
    /// At most this many.
    pub limit: u32,
}

/// Where a job may be cancelled.
const ALIVE: &[FineTuningStatus] = &[
    FineTuningStatus::ValidatingFiles,
    FineTuningStatus::Queued,
    FineTuningStatus::Running,
    FineTuningStatus::Paused,
];

impl Catalog {
    /// Puts a job into the queue. Its id, status and times are taken as they are.
    ///
    /// # Errors
    /// [`CatalogError::QueueFull`] where `limit` jobs wait already.
    pub async fn add_fine_tuning_job(
        &self,
        job: &FineTuningJob,
        limit: u64,
    ) -> Result<FineTuningJob, CatalogError> {
        let mut transaction = self.write().await?;
        let waiting = waiting(&mut transaction).await?;
        if waiting >= limit {
            return Err(CatalogError::QueueFull {
                waiting,
                more: 1,
                limit,
            });
        }
        let insert = sqlx::query(
            "INSERT INTO fine_tuning_jobs (id, status, adapter, body, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $5)",
        )
        .bind(job.id.to_string())
        .bind(job.status.word())
        .bind(&job.lore.name)
        .bind(row::to_json(job)?)
        .bind(now());
        run(&mut transaction, "queue a fine-tuning job", insert).await?;
        commit(transaction).await?;
        self.fine_tuning_job(job.id).await
    }

    /// One fine-tuning job.
    ///
    /// # Errors
    /// [`CatalogError::NoFineTuningJob`].
    pub async fn fine_tuning_job(&self, id: FineTuningId) -> Result<FineTuningJob, CatalogError> {
        let found = sqlx::query("SELECT * FROM fine_tuning_jobs WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a fine-tuning job"))?;
        found.map_or_else(|| Err(CatalogError::NoFineTuningJob(id)), |row| job(&row))
    }

    /// Fine-tuning jobs, newest first.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn fine_tuning_jobs(
        &self,
        query: &FineTuningQuery,
    ) -> Result<Page<FineTuningJob>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM fine_tuning_jobs WHERE ($1 IS NULL OR status = $1) \
             AND ($2 IS NULL OR adapter = $2) AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        )
        .bind(query.status.map(|status| status.word()))
        .bind(query.adapter.as_deref())
        .bind(query.after.map(|id| id.to_string()))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list fine-tuning jobs"))?;
        let all = rows.iter().map(job).collect::<Result<_, _>>()?;
        Ok(Page::cut(all, query.limit))
    }

    /// Ends a job that is not over. One that runs stops as soon as its worker hears of it.
    ///
    /// # Errors
    /// [`CatalogError::NoFineTuningJob`], [`CatalogError::WrongStatus`].
    pub async fn cancel_fine_tuning(
        &self,
        id: FineTuningId,
    ) -> Result<FineTuningJob, CatalogError> {
        self.move_to(id, ALIVE, FineTuningStatus::Cancelled, "cancelled")
            .await
    }

    /// Holds a job that waits or runs.
    ///
    /// # Errors
    /// [`CatalogError::NoFineTuningJob`], [`CatalogError::WrongStatus`].
    pub async fn pause_fine_tuning(&self, id: FineTuningId) -> Result<FineTuningJob, CatalogError> {
        let from = &[FineTuningStatus::Queued, FineTuningStatus::Running];
        self.move_to(id, from, FineTuningStatus::Paused, "paused")
            .await
    }

    /// Puts a job that is held, or that failed and can go on from its last checkpoint, back into the queue.
    ///
    /// # Errors
    /// [`CatalogError::NoFineTuningJob`], [`CatalogError::WrongStatus`].
    pub async fn resume_fine_tuning(
        &self,
        id: FineTuningId,
    ) -> Result<FineTuningJob, CatalogError> {
        let from = &[
            FineTuningStatus::Paused,
            FineTuningStatus::Failed,
            FineTuningStatus::Cancelled,
        ];
        self.move_to(id, from, FineTuningStatus::Queued, "resumed")
            .await
    }

    async fn move_to(
        &self,
        id: FineTuningId,
        from: &[FineTuningStatus],
        to: FineTuningStatus,
        doing: &'static str,
    ) -> Result<FineTuningJob, CatalogError> {
        let mut transaction = self.write().await?;
        let status = status(&mut transaction, id).await?;
        if !from.contains(&status) {
            return Err(CatalogError::WrongStatus {
                job: id,
                status,
                doing,
            });
        }
        let change = sqlx::query(
            "UPDATE fine_tuning_jobs SET status = $2, lease_owner = NULL, lease_until = NULL, updated_at = $3, \
             finished_at = CASE WHEN $2 = 'cancelled' THEN $3 ELSE NULL END, crashes = 0, \
             error = CASE WHEN $2 = 'queued' THEN NULL ELSE error END WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(to.word())
        .bind(now());
        run(&mut transaction, "change a job's status", change).await?;
        commit(transaction).await?;
        self.fine_tuning_job(id).await
    }
}

async fn status(
    connection: &mut SqliteConnection,
    id: FineTuningId,
) -> Result<FineTuningStatus, CatalogError> {
    let found = sqlx::query("SELECT status FROM fine_tuning_jobs WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .map_err(CatalogError::sql("read a fine-tuning job"))?;
    let found = found.ok_or(CatalogError::NoFineTuningJob(id))?;
    row::word(&found, "status", "a fine-tuning job's status")
}

async fn waiting(connection: &mut SqliteConnection) -> Result<u64, CatalogError> {
    let found =
        sqlx::query("SELECT count(*) AS waiting FROM fine_tuning_jobs WHERE status = 'queued'")
            .fetch_one(connection)
            .await
            .map_err(CatalogError::sql("count fine-tuning jobs"))?;
    row::number(&found, "waiting")
}

/// Jobs that are not over.
pub(crate) async fn unfinished(
    connection: &mut SqliteConnection,
) -> Result<Vec<FineTuningJob>, CatalogError> {
    let rows = sqlx::query(
        "SELECT * FROM fine_tuning_jobs WHERE status NOT IN ('succeeded', 'failed', 'cancelled')",
    )
    .fetch_all(connection)
    .await
    .map_err(CatalogError::sql("list fine-tuning jobs"))?;
    rows.iter().map(job).collect()
}

/// Whether a job reads a file.
pub(crate) fn needs(job: &FineTuningJob, file: FileId) -> bool {
    job.training_file == file
        || job.validation_file == Some(file)
        || job.lore.datasets.iter().any(|one| one.file == Some(file))
}

pub(crate) fn job(found: &SqliteRow) -> Result<FineTuningJob, CatalogError> {
    let mut job: FineTuningJob = row::json(found, "body", "a fine-tuning job")?;
    job.id = row::id(found, "id")?;
    job.status = row::word(found, "status", "a fine-tuning job's status")?;
    job.created_at = row::seconds(row::get(found, "created_at")?);
    let finished: Option<i64> = row::get(found, "finished_at")?;
    job.finished_at = finished.map(row::seconds);
    job.error = row::optional_json(found, "error", "an error")?;
    job.lore.attempts = row::number(found, "attempts")?;
    job.lore.progress = row::optional_json(found, "progress", "a job's progress")?;
    job.trained_tokens = job.lore.progress.map(|progress| progress.tokens);
    let left = job.lore.progress.and_then(|progress| progress.seconds_left);
    let updated: i64 = row::get(found, "updated_at")?;
    job.estimated_finish = match (job.status, left) {
        (FineTuningStatus::Running, Some(left)) => {
            Some(row::seconds(updated).saturating_add(left.ceil() as i64))
        }
        _ => None,
    };
    Ok(job)
}
