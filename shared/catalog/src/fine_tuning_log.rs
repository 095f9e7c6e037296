use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError, Page, row};
use lore_types::{
    FineTuningCheckpoint, FineTuningCheckpointId, FineTuningEvent, FineTuningEventId, FineTuningId,
};
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;

impl Catalog {
    /// Notes that something happened to a job. `data` makes it an event of type `metrics`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn add_event(
        &self,
        job: FineTuningId,
        level: &str,
        message: &str,
        data: Option<&Value>,
    ) -> Result<(), CatalogError> {
        let kind = if data.is_some() { "metrics" } else { "message" };
        let insert = sqlx::query(
            "INSERT INTO fine_tuning_events (id, job_id, level, kind, message, data, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(FineTuningEventId::new().to_string())
        .bind(job.to_string())
        .bind(level)
        .bind(kind)
        .bind(message)
        .bind(data.map(Value::to_string))
        .bind(now());
        let mut transaction = self.write().await?;
        run(&mut transaction, "note an event", insert).await?;
        commit(transaction).await
    }

    /// A job's events, newest first, those older than `after`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn events(
        &self,
        job: FineTuningId,
        after: Option<FineTuningEventId>,
        limit: u32,
    ) -> Result<Page<FineTuningEvent>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM fine_tuning_events WHERE job_id = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(job.to_string())
        .bind(after.map(|id| id.to_string()))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list events"))?;
        let all = rows.iter().map(event).collect::<Result<_, _>>()?;
        Ok(Page::cut(all, limit))
    }

    /// A job's events, oldest first, those newer than `after`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn events_since(
        &self,
        job: FineTuningId,
        after: Option<FineTuningEventId>,
        limit: u32,
    ) -> Result<Vec<FineTuningEvent>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM fine_tuning_events WHERE job_id = $1 AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3",
        )
        .bind(job.to_string())
        .bind(after.map(|id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list events"))?;
        rows.iter().map(event).collect()
    }

    /// Notes a checkpoint that is on disk, and that those of `gone` steps are not any more. A checkpoint proves that the
    /// job gets on, so its crashes are forgotten.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn add_checkpoint(
        &self,
        job: FineTuningId,
        step: u64,
        best: bool,
        metrics: &Map<String, Value>,
        gone: &[u64],
    ) -> Result<(), CatalogError> {
        let mut transaction = self.write().await?;
        if best {
            let others =
                sqlx::query("UPDATE fine_tuning_checkpoints SET best = 0 WHERE job_id = $1");
            run(
                &mut transaction,
                "note a checkpoint",
                others.bind(job.to_string()),
            )
            .await?;
        }
        for step in gone {
            let drop =
                sqlx::query("DELETE FROM fine_tuning_checkpoints WHERE job_id = $1 AND step = $2")
                    .bind(job.to_string())
                    .bind(whole(*step));
            run(&mut transaction, "forget a checkpoint", drop).await?;
        }
        let insert = sqlx::query(
            "INSERT INTO fine_tuning_checkpoints (id, job_id, step, best, metrics, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (job_id, step) DO UPDATE SET best = excluded.best, metrics = excluded.metrics",
        )
        .bind(FineTuningCheckpointId::new().to_string())
        .bind(job.to_string())
        .bind(whole(step))
        .bind(i64::from(best))
        .bind(row::to_json(metrics)?)
        .bind(now());
        run(&mut transaction, "note a checkpoint", insert).await?;
        let alive = sqlx::query("UPDATE fine_tuning_jobs SET crashes = 0 WHERE id = $1");
        run(
            &mut transaction,
            "forget crashes",
            alive.bind(job.to_string()),
        )
        .await?;
        commit(transaction).await
    }

    /// A job's checkpoints, newest first.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn checkpoints(
        &self,
        job: FineTuningId,
    ) -> Result<Vec<FineTuningCheckpoint>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM fine_tuning_checkpoints WHERE job_id = $1 ORDER BY step DESC",
        )
        .bind(job.to_string())
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list checkpoints"))?;
        rows.iter().map(checkpoint).collect()
    }
}

fn whole(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

fn event(found: &SqliteRow) -> Result<FineTuningEvent, CatalogError> {
    Ok(FineTuningEvent {
        id: row::id(found, "id")?,
        object: "fine_tuning.job.event".to_owned(),
        created_at: row::seconds(row::get(found, "created_at")?),
        level: row::get(found, "level")?,
        message: row::get(found, "message")?,
        kind: row::get(found, "kind")?,
        data: row::optional_json(found, "data", "an event's data")?,
    })
}

fn checkpoint(found: &SqliteRow) -> Result<FineTuningCheckpoint, CatalogError> {
    let job: FineTuningId = row::id(found, "job_id")?;
    let step: u64 = row::number(found, "step")?;
    let best: i64 = row::get(found, "best")?;
    Ok(FineTuningCheckpoint {
        id: row::id(found, "id")?,
        object: "fine_tuning.job.checkpoint".to_owned(),
        created_at: row::seconds(row::get(found, "created_at")?),
        fine_tuned_model_checkpoint: format!("{job}:step-{step}"),
        fine_tuning_job_id: job,
        step_number: step,
        metrics: row::json(found, "metrics", "a checkpoint's metrics")?,
        best: best != 0,
    })
}
