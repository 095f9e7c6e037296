use crate::catalog::{commit, now, run};
use crate::leases::is_own;
use crate::{Catalog, CatalogError, Lease, row};
use lore_types::{JobId, VersionId};
use sqlx::SqliteConnection;

/// A job whose version is to become the one that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The job.
    pub job: JobId,
    /// Its version.
    pub version: VersionId,
}

impl Catalog {
    /// Notes, before either index is written, that these versions are about to leave traces there. Gives back those whose
    /// job is still `lease`'s; the others must not be written.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn begin_indexing(
        &self,
        lease: &Lease,
        all: &[Activation],
    ) -> Result<Vec<Activation>, CatalogError> {
        let mut transaction = self.write().await?;
        let mut own = Vec::with_capacity(all.len());
        for one in all {
            if is_own(&mut transaction, lease, one.job).await? {
                touch(&mut transaction, *one).await?;
                own.push(*one);
            }
        }
        commit(transaction).await?;
        Ok(own)
    }

    /// Makes versions, which both indexes hold now, the ones that are found, each in place of its document's earlier one,
    /// which is `removing` from now on. Gives back those whose job was still `lease`'s.
    ///
    /// # Guarantees
    /// One transaction: no reader sees a document without a version, or with two.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn activate(
        &self,
        lease: &Lease,
        all: &[Activation],
    ) -> Result<Vec<Activation>, CatalogError> {
        let mut transaction = self.write().await?;
        let mut active = Vec::with_capacity(all.len());
        for one in all {
            if is_own(&mut transaction, lease, one.job).await?
                && flip(&mut transaction, one.version).await?
            {
                active.push(*one);
            }
        }
        commit(transaction).await?;
        Ok(active)
    }

    /// Ends jobs with success, each with the warnings that stay. Gives back those that were still `lease`'s.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn finish(
        &self,
        lease: &Lease,
        all: &[(JobId, &[String])],
    ) -> Result<Vec<JobId>, CatalogError> {
        let mut transaction = self.write().await?;
        let mut finished = Vec::with_capacity(all.len());
        for (job, warnings) in all {
            let finish = sqlx::query(
                "UPDATE jobs SET status = 'succeeded', stage = 'finished', progress = 1, error = NULL, \
                 warnings = $3, lease_owner = NULL, lease_until = NULL, updated_at = $4 \
                 WHERE id = $1 AND status = 'running' AND lease_owner = $2",
            );
            let finish = finish
                .bind(job.to_string())
                .bind(&lease.owner)
                .bind(row::list(warnings))
                .bind(now());
            if run(&mut transaction, "finish a job", finish).await? > 0 {
                finished.push(*job);
            }
        }
        commit(transaction).await?;
        Ok(finished)
    }
}

async fn touch(connection: &mut SqliteConnection, one: Activation) -> Result<(), CatalogError> {
    let version =
        sqlx::query("UPDATE versions SET touched = 1 WHERE id = $1").bind(one.version.to_string());
    run(connection, "note an index write", version).await?;
    let job = sqlx::query(
        "UPDATE jobs SET stage = 'indexing', progress = 0.9, updated_at = $2 WHERE id = $1",
    );
    run(
        connection,
        "note a job's stage",
        job.bind(one.job.to_string()).bind(now()),
    )
    .await
    .map(drop)
}

/// Makes a version the active one of its document; false where it may not be, because it was deleted or superseded.
async fn flip(connection: &mut SqliteConnection, version: VersionId) -> Result<bool, CatalogError> {
    let key = version.to_string();
    let document = sqlx::query(
        "UPDATE documents SET active_version = $1 WHERE deleted = 0 AND id = \
         (SELECT document_id FROM versions WHERE id = $1 AND state IN ('pending', 'active'))",
    );
    if run(connection, "activate a version", document.bind(&key)).await? == 0 {
        return Ok(false);
    }
    let older = sqlx::query(
        "UPDATE versions SET state = 'removing' WHERE state = 'active' AND id <> $1 \
         AND document_id = (SELECT document_id FROM versions WHERE id = $1)",
    );
    run(connection, "replace a version", older.bind(&key)).await?;
    // A repair of the older version has nothing to write any more.
    let repairs = sqlx::query(
        "UPDATE jobs SET status = 'cancelled', stage = 'finished', lease_owner = NULL, lease_until = NULL, \
         updated_at = $2, error = '{\"code\":\"superseded\",\"message\":\"a newer version was uploaded\"}' \
         WHERE status IN ('queued', 'running') AND version_id IN (SELECT o.id FROM versions o WHERE o.state = 'removing' \
         AND o.document_id = (SELECT document_id FROM versions WHERE id = $1))",
    );
    run(
        connection,
        "cancel repairs of a replaced version",
        repairs.bind(&key).bind(now()),
    )
    .await?;
    let newer = sqlx::query("UPDATE versions SET state = 'active' WHERE id = $1").bind(&key);
    run(connection, "activate a version", newer)
        .await
        .map(|_| true)
}
