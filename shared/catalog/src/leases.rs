use crate::catalog::{commit, now, run};
use crate::parsed::{StoredVersion, stored_version};
use crate::row::Word;
use crate::{Catalog, CatalogError, jobs, row};
use lore_types::{ApiError, Job, JobId, JobStage};
use sqlx::SqliteConnection;
use std::time::Duration;

/// Who works, and for how long a job stays his without a word from him.
#[derive(Clone, Debug)]
pub struct Lease {
    /// A name that no other process has or had.
    pub owner: String,
    /// How long a lease lasts; it is to be renewed well before.
    pub length: Duration,
}

impl Lease {
    pub(crate) fn until(&self) -> i64 {
        now().saturating_add(i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A leased job and what it is about.
#[derive(Clone, Debug)]
pub struct Task {
    /// The job, running now.
    pub job: Job,
    /// The version to be indexed.
    pub version: StoredVersion,
}

/// What became of the jobs of workers that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Waiting again.
    pub queued: Vec<JobId>,
    /// Given up, because the process died too often while it worked on them.
    pub failed: Vec<JobId>,
}

impl Catalog {
    /// Takes jobs from workers that are gone: all but `lease`'s own where the caller knows that no other worker lives,
    /// else those whose lease has passed. A job that was in the middle of chunking or embedding counts a crash; one
    /// with `max_crashes` is given up.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn take_over(
        &self,
        lease: &Lease,
        alone: bool,
        max_crashes: u32,
    ) -> Result<TakenOver, CatalogError> {
        let mut transaction = self.write().await?;
        let rows = sqlx::query(
            "SELECT id, stage, crashes FROM jobs WHERE kind = 'ingest' AND status = 'running' \
             AND coalesce(lease_owner, '') <> $1 AND ($2 = 1 OR coalesce(lease_until, 0) < $3)",
        )
        .bind(&lease.owner)
        .bind(i64::from(alone))
        .bind(now())
        .fetch_all(&mut *transaction)
        .await
        .map_err(CatalogError::sql("find jobs of dead workers"))?;
        let mut taken = TakenOver::default();
        for found in &rows {
            let job = row::id(found, "id")?;
            let stage = row::word(found, "stage", "a job's stage")?;
            let risky = matches!(stage, JobStage::Chunking | JobStage::Embedding);
            let crashes = row::number::<u32>(found, "crashes")? + u32::from(risky);
            if crashes >= max_crashes {
                fail(&mut transaction, job, &poison(crashes)).await?;
                taken.failed.push(job);
            } else {
                queue(&mut transaction, job, crashes).await?;
                taken.queued.push(job);
            }
        }
        commit(transaction).await?;
        Ok(taken)
    }

    /// Leases the next job, whose stage is parsing then: those that crashed least first, older before newer.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn claim(&self, lease: &Lease) -> Result<Option<Task>, CatalogError> {
        // A look without the write lock first: idle workers ask often.
        let waiting =
            sqlx::query("SELECT 1 FROM jobs WHERE status = 'queued' AND kind = 'ingest' LIMIT 1")
                .fetch_optional(&self.reader)
                .await
                .map_err(CatalogError::sql("look for jobs"))?;
        if waiting.is_none() {
            return Ok(None);
        }
        let mut transaction = self.write().await?;
        let claimed = sqlx::query(
            "UPDATE jobs SET status = 'running', stage = 'parsing', lease_owner = $1, lease_until = $2, updated_at = $3, \
             attempts = attempts + 1 WHERE id = (SELECT id FROM jobs WHERE status = 'queued' AND kind = 'ingest' \
             ORDER BY crashes, id LIMIT 1) RETURNING *",
        )
        .bind(&lease.owner)
        .bind(lease.until())
        .bind(now())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(CatalogError::sql("lease a job"))?;
        let Some(claimed) = claimed else {
            return Ok(None);
        };
        let version = stored_version(&mut transaction, row::id(&claimed, "version_id")?).await?;
        let job = jobs::job(&claimed)?;
        commit(transaction).await?;
        Ok(Some(Task { job, version }))
    }

    /// Renews all leases of `lease`'s owner.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn renew(&self, lease: &Lease) -> Result<u64, CatalogError> {
        let renew = sqlx::query(
            "UPDATE jobs SET lease_until = $2 WHERE status = 'running' AND lease_owner = $1",
        );
        let mut transaction = self.write().await?;
        let renewed = run(
            &mut transaction,
            "renew leases",
            renew.bind(&lease.owner).bind(lease.until()),
        )
        .await?;
        commit(transaction).await?;
        Ok(renewed)
    }

    /// Gives all jobs of `lease`'s owner back to the queue, for an orderly end.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn hand_back(&self, lease: &Lease) -> Result<u64, CatalogError> {
        let back = sqlx::query(
            "UPDATE jobs SET status = 'queued', stage = 'queued', progress = 0, lease_owner = NULL, \
             lease_until = NULL, updated_at = $2 WHERE status = 'running' AND lease_owner = $1",
        );
        let mut transaction = self.write().await?;
        let given = run(
            &mut transaction,
            "hand jobs back",
            back.bind(&lease.owner).bind(now()),
        )
        .await?;
        commit(transaction).await?;
        Ok(given)
    }

    /// Notes what a job is at. False where it is no longer `lease`'s: cancelled, or taken over.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn advance(
        &self,
        lease: &Lease,
        job: JobId,
        stage: JobStage,
        share: f32,
    ) -> Result<bool, CatalogError> {
        let advance = sqlx::query(
            "UPDATE jobs SET stage = $3, progress = $4, updated_at = $5 \
             WHERE id = $1 AND status = 'running' AND lease_owner = $2",
        )
        .bind(job.to_string())
        .bind(&lease.owner)
        .bind(stage.word())
        .bind(f64::from(share))
        .bind(now());
        self.change_own("note a job's stage", advance).await
    }

    /// Replaces a job's warnings. False as for [`Catalog::advance`].
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn warn(
        &self,
        lease: &Lease,
        job: JobId,
        warnings: &[String],
    ) -> Result<bool, CatalogError> {
        let warn = sqlx::query(
            "UPDATE jobs SET warnings = $3, updated_at = $4 WHERE id = $1 AND status = 'running' AND lease_owner = $2",
        )
        .bind(job.to_string())
        .bind(&lease.owner)
        .bind(row::list(warnings))
        .bind(now());
        self.change_own("note a job's warnings", warn).await
    }

    /// Ends a job without success, and its version with it, unless that is active. False as for [`Catalog::advance`].
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn fail(
        &self,
        lease: &Lease,
        job: JobId,
        error: &ApiError,
    ) -> Result<bool, CatalogError> {
        let mut transaction = self.write().await?;
        if !is_own(&mut transaction, lease, job).await? {
            return Ok(false);
        }
        fail(&mut transaction, job, error).await?;
        commit(transaction).await?;
        Ok(true)
    }

    async fn change_own(
        &self,
        doing: &'static str,
        statement: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<bool, CatalogError> {
        let mut transaction = self.write().await?;
        let changed = run(&mut transaction, doing, statement).await?;
        commit(transaction).await?;
        Ok(changed > 0)
    }
}

/// Whether a job runs under this lease.
pub(crate) async fn is_own(
    connection: &mut SqliteConnection,
    lease: &Lease,
    job: JobId,
) -> Result<bool, CatalogError> {
    let found =
        sqlx::query("SELECT 1 FROM jobs WHERE id = $1 AND status = 'running' AND lease_owner = $2")
            .bind(job.to_string())
            .bind(&lease.owner)
            .fetch_optional(connection)
            .await
            .map_err(CatalogError::sql("read a lease"))?;
    Ok(found.is_some())
}

async fn queue(
    connection: &mut SqliteConnection,
    job: JobId,
    crashes: u32,
) -> Result<(), CatalogError> {
    let queue = sqlx::query(
        "UPDATE jobs SET status = 'queued', stage = 'queued', progress = 0, crashes = $2, lease_owner = NULL, \
         lease_until = NULL, updated_at = $3 WHERE id = $1",
    );
    let queue = queue
        .bind(job.to_string())
        .bind(i64::from(crashes))
        .bind(now());
    run(connection, "queue a dead worker's job", queue)
        .await
        .map(drop)
}

async fn fail(
    connection: &mut SqliteConnection,
    job: JobId,
    error: &ApiError,
) -> Result<(), CatalogError> {
    let text = serde_json::to_string(error).map_err(|error| row::corrupt("an error", error))?;
    let version = sqlx::query(
        "UPDATE versions SET state = 'failed' WHERE state = 'pending' \
         AND id = (SELECT version_id FROM jobs WHERE id = $1)",
    );
    run(connection, "fail a version", version.bind(job.to_string())).await?;
    let ended = sqlx::query(
        "UPDATE jobs SET status = 'failed', stage = 'finished', error = $2, lease_owner = NULL, lease_until = NULL, \
         updated_at = $3 WHERE id = $1",
    );
    run(
        connection,
        "fail a job",
        ended.bind(job.to_string()).bind(text).bind(now()),
    )
    .await
    .map(drop)
}

fn poison(crashes: u32) -> ApiError {
    ApiError {
        code: "crashed_repeatedly".to_owned(),
        message: format!("the process ended {crashes} times while it worked on this document"),
        hint: Some("split or convert the document, then upload it again".to_owned()),
        ..ApiError::default()
    }
}
