use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError};
use std::time::Duration;

/// Jobs forgotten in one transaction, so that uploads need not wait long for the write lock.
const AT_ONCE: i64 = 1_000;

impl Catalog {
    /// Forgets jobs that ended longer than `kept` ago, but for those that made a version which is still there: its upload
    /// is answered with that job where the same bytes come again, and a failed one says why. Says how many.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn forget_jobs(&self, kept: Duration) -> Result<u64, CatalogError> {
        let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
        let before = now().saturating_sub(kept);
        let mut forgotten = 0;
        loop {
            let some = self.forget_some(before).await?;
            forgotten += some;
            if some < AT_ONCE.cast_unsigned() {
                return Ok(forgotten);
            }
        }
    }

    async fn forget_some(&self, before: i64) -> Result<u64, CatalogError> {
        let forget = sqlx::query(
            "DELETE FROM jobs WHERE id IN (SELECT j.id FROM jobs j \
             WHERE j.status IN ('succeeded', 'failed', 'cancelled') AND j.updated_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.id = j.version_id AND v.job_id = j.id) LIMIT $2)",
        );
        let mut transaction = self.write().await?;
        let forget = forget.bind(before).bind(AT_ONCE);
        let forgotten = run(&mut transaction, "forget finished jobs", forget).await?;
        commit(transaction).await?;
        Ok(forgotten)
    }
}
