use crate::adapters::{self, NewAdapterVersion};
use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError, Lease, fine_tuning, row};
use lore_types::{AdapterVersion, FileId, FineTuningError, FineTuningId, FineTuningJob, Progress};
use sqlx::SqliteConnection;

/// What a job that succeeded leaves.
#[derive(Clone, Debug)]
pub struct FineTuningEnd {
    /// The version to register.
    pub version: NewAdapterVersion,
    /// Files with the measured values.
    pub result_files: Vec<FileId>,
}

const OWN: &str = "UPDATE fine_tuning_jobs SET progress = $3, updated_at = $4 \
    WHERE id = $1 AND status = 'running' AND lease_owner = $2";

impl Catalog {
    /// Queues the jobs of workers that are gone, and gives those up during which the process died `max_crashes` times
    /// without a checkpoint in between. The caller knows that no other worker lives. Says which were given up.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn take_over_fine_tuning(
        &self,
        lease: &Lease,
        max_crashes: u32,
    ) -> Result<Vec<FineTuningId>, CatalogError> {
        let mut transaction = self.write().await?;
        let rows = sqlx::query(
            "SELECT id, crashes FROM fine_tuning_jobs WHERE status = 'running' AND coalesce(lease_owner, '') <> $1",
        )
        .bind(&lease.owner)
        .fetch_all(&mut *transaction)
        .await
        .map_err(CatalogError::sql("find jobs of dead trainers"))?;
        let mut given_up = Vec::new();
        for found in &rows {
            let id: FineTuningId = row::id(found, "id")?;
            let crashes = row::number::<u32>(found, "crashes")? + 1;
            if crashes >= max_crashes {
                fail(&mut transaction, id, &crashed(crashes)).await?;
                given_up.push(id);
            } else {
                queue(&mut transaction, id, crashes).await?;
            }
        }
        commit(transaction).await?;
        Ok(given_up)
    }

    /// Leases the next job: those that crashed least first, older before newer.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn claim_fine_tuning(
        &self,
        lease: &Lease,
    ) -> Result<Option<FineTuningJob>, CatalogError> {
        // A look without the write lock first: an idle worker asks often.
        let waiting = sqlx::query("SELECT 1 FROM fine_tuning_jobs WHERE status = 'queued' LIMIT 1")
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("look for fine-tuning jobs"))?;
        if waiting.is_none() {
            return Ok(None);
        }
        let mut transaction = self.write().await?;
        let claimed = sqlx::query(
            "UPDATE fine_tuning_jobs SET status = 'running', lease_owner = $1, lease_until = $2, updated_at = $3, \
             attempts = attempts + 1 WHERE id = (SELECT id FROM fine_tuning_jobs WHERE status = 'queued' \
             ORDER BY crashes, id LIMIT 1) RETURNING *",
        )
        .bind(&lease.owner)
        .bind(lease.until())
        .bind(now())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(CatalogError::sql("lease a fine-tuning job"))?;
        let claimed = claimed.as_ref().map(fine_tuning::job).transpose()?;
        commit(transaction).await?;
        Ok(claimed)
    }

    /// Notes how far a job is. False where it is no longer `lease`'s: cancelled, paused or taken over.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn note_progress(
        &self,
        lease: &Lease,
        job: FineTuningId,
        progress: &Progress,
    ) -> Result<bool, CatalogError> {
        let note = sqlx::query(OWN)
            .bind(job.to_string())
            .bind(&lease.owner)
            .bind(row::to_json(progress)?)
            .bind(now());
        let mut transaction = self.write().await?;
        let changed = run(&mut transaction, "note a job's progress", note).await?;
        commit(transaction).await?;
        Ok(changed > 0)
    }

    /// Replaces what stands of a job beyond its status and progress, such as what its data sets hold. False as for
    /// [`Catalog::note_progress`].
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn describe_fine_tuning(
        &self,
        lease: &Lease,
        job: &FineTuningJob,
    ) -> Result<bool, CatalogError> {
        let mut transaction = self.write().await?;
        let own = is_own(&mut transaction, lease, job.id).await?;
        if own {
            describe(&mut transaction, job).await?;
        }
        commit(transaction).await?;
        Ok(own)
    }

    /// Ends a job with success, and registers what it made: both or neither. `None` as false for
    /// [`Catalog::note_progress`].
    ///
    /// # Errors
    /// [`CatalogError::VersionTaken`].
    pub async fn finish_fine_tuning(
        &self,
        lease: &Lease,
        job: FineTuningId,
        end: &FineTuningEnd,
    ) -> Result<Option<AdapterVersion>, CatalogError> {
        let mut transaction = self.write().await?;
        if !is_own(&mut transaction, lease, job).await? {
            return Ok(None);
        }
        let version = adapters::register(&mut transaction, &end.version).await?;
        let found = sqlx::query("SELECT * FROM fine_tuning_jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_one(&mut *transaction)
            .await
            .map_err(CatalogError::sql("read a fine-tuning job"))?;
        let mut body = fine_tuning::job(&found)?;
        body.fine_tuned_model = Some(version.reference().to_string());
        body.lore.version = Some(version.version);
        body.result_files.clone_from(&end.result_files);
        describe(&mut transaction, &body).await?;
        let ended = sqlx::query(
            "UPDATE fine_tuning_jobs SET status = 'succeeded', lease_owner = NULL, lease_until = NULL, \
             updated_at = $2, finished_at = $2 WHERE id = $1",
        )
        .bind(job.to_string())
        .bind(now());
        run(&mut transaction, "end a job", ended).await?;
        commit(transaction).await?;
        Ok(Some(version))
    }

    /// Ends a job without success. False as for [`Catalog::note_progress`].
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn fail_fine_tuning(
        &self,
        lease: &Lease,
        job: FineTuningId,
        error: &FineTuningError,
    ) -> Result<bool, CatalogError> {
        let mut transaction = self.write().await?;
        let own = is_own(&mut transaction, lease, job).await?;
        if own {
            fail(&mut transaction, job, error).await?;
        }
        commit(transaction).await?;
        Ok(own)
    }

    /// Gives all jobs of `lease`'s owner back to the queue, for an orderly end.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn hand_back_fine_tuning(&self, lease: &Lease) -> Result<u64, CatalogError> {
        let back = sqlx::query(
            "UPDATE fine_tuning_jobs SET status = 'queued', crashes = 0, lease_owner = NULL, lease_until = NULL, \
             updated_at = $2 WHERE status = 'running' AND lease_owner = $1",
        )
        .bind(&lease.owner)
        .bind(now());
        let mut transaction = self.write().await?;
        let given = run(&mut transaction, "hand jobs back", back).await?;
        commit(transaction).await?;
        Ok(given)
    }

    /// Renews the leases of `lease`'s owner.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn renew_fine_tuning(&self, lease: &Lease) -> Result<u64, CatalogError> {
        let renew = sqlx::query(
            "UPDATE fine_tuning_jobs SET lease_until = $2 WHERE status = 'running' AND lease_owner = $1",
        )
        .bind(&lease.owner)
        .bind(lease.until());
        let mut transaction = self.write().await?;
        let renewed = run(&mut transaction, "renew leases", renew).await?;
        commit(transaction).await?;
        Ok(renewed)
    }
}

/// Whether a job runs under this lease.
pub(crate) async fn is_own(
    connection: &mut SqliteConnection,
    lease: &Lease,
    job: FineTuningId,
) -> Result<bool, CatalogError> {
    let found = sqlx::query(
        "SELECT 1 FROM fine_tuning_jobs WHERE id = $1 AND status = 'running' AND lease_owner = $2",
    )
    .bind(job.to_string())
    .bind(&lease.owner)
    .fetch_optional(connection)
    .await
    .map_err(CatalogError::sql("read a lease"))?;
    Ok(found.is_some())
}

async fn describe(
    connection: &mut SqliteConnection,
    job: &FineTuningJob,
) -> Result<(), CatalogError> {
    let update =
        sqlx::query("UPDATE fine_tuning_jobs SET body = $2, updated_at = $3 WHERE id = $1")
            .bind(job.id.to_string())
            .bind(row::to_json(job)?)
            .bind(now());
    run(connection, "describe a job", update).await.map(drop)
}

async fn queue(
    connection: &mut SqliteConnection,
    job: FineTuningId,
    crashes: u32,
) -> Result<(), CatalogError> {
    let queue = sqlx::query(
        "UPDATE fine_tuning_jobs SET status = 'queued', crashes = $2, lease_owner = NULL, lease_until = NULL, \
         updated_at = $3 WHERE id = $1",
    )
    .bind(job.to_string())
    .bind(i64::from(crashes))
    .bind(now());
    run(connection, "queue a dead trainer's job", queue)
        .await
        .map(drop)
}

async fn fail(
    connection: &mut SqliteConnection,
    job: FineTuningId,
    error: &FineTuningError,
) -> Result<(), CatalogError> {
    let ended = sqlx::query(
        "UPDATE fine_tuning_jobs SET status = 'failed', error = $2, lease_owner = NULL, lease_until = NULL, \
         updated_at = $3, finished_at = $3 WHERE id = $1",
    )
    .bind(job.to_string())
    .bind(row::to_json(error)?)
    .bind(now());
    run(connection, "fail a job", ended).await.map(drop)
}

fn crashed(crashes: u32) -> FineTuningError {
    FineTuningError {
        code: "crashed_repeatedly".to_owned(),
        message: format!(
            "the process ended {crashes} times during this job without a checkpoint in between; \
             it may need more memory than there is: lower micro_batch_tokens or max_tokens, or turn gradient_checkpointing on, then resume it"
        ),
        param: None,
    }
}
