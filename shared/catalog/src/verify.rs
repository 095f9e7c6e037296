use crate::accept::{Ids, put_job};
use crate::catalog::commit;
use crate::{Catalog, CatalogError, row};
use lore_types::{ChunkId, DocumentId, JobId, VersionId};
use std::collections::HashMap;

/// A chunk that both indexes should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveChunk {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version, which is active.
    pub version: VersionId,
    /// The document.
    pub document: DocumentId,
}

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// Waits for its job, or is being indexed: the indexes may or may not hold its chunks.
    Pending,
    /// Both indexes should hold exactly its chunks.
    Active,
    /// Could not be indexed: no index should hold it.
    Failed,
    /// Leaves the indexes.
    Removing,
}

impl Catalog {
    /// Every chunk that both indexes should hold of a collection, ordered by chunk.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn live_chunks(&self, collection: &str) -> Result<Vec<LiveChunk>, CatalogError> {
        let rows = sqlx::query(
            "SELECT c.id, c.version_id, v.document_id FROM chunks c \
             JOIN versions v ON v.id = c.version_id AND v.state = 'active' WHERE v.collection = $1 ORDER BY c.id",
        )
        .bind(collection)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list live chunks"))?;
        rows.iter()
            .map(|found| {
                Ok(LiveChunk {
                    chunk: row::id(found, "id")?,
                    version: row::id(found, "version_id")?,
                    document: row::id(found, "document_id")?,
                })
            })
            .collect()
    }

    /// Where each version of a collection stands.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn version_states(
        &self,
        collection: &str,
    ) -> Result<HashMap<VersionId, VersionState>, CatalogError> {
        let rows = sqlx::query("SELECT id, state FROM versions WHERE collection = $1")
            .bind(collection)
            .fetch_all(&self.reader)
            .await
            .map_err(CatalogError::sql("list versions"))?;
        rows.iter()
            .map(|found| Ok((row::id(found, "id")?, state(row::get(found, "state")?)?)))
            .collect()
    }

    /// Queues a job that writes an active version to the indexes once more; `None` where it is not active (any more), the
    /// job that waits or runs for it already where there is one.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn index_again(&self, version: VersionId) -> Result<Option<JobId>, CatalogError> {
        let mut transaction = self.write().await?;
        let found = sqlx::query(
            "SELECT v.document_id, v.number, v.collection, d.name, (SELECT min(j.id) FROM jobs j \
             WHERE j.version_id = v.id AND j.status IN ('queued', 'running')) AS job \
             FROM versions v JOIN documents d ON d.id = v.document_id WHERE v.id = $1 AND v.state = 'active'",
        )
        .bind(version.to_string())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(CatalogError::sql("read a version"))?;
        let Some(found) = found else { return Ok(None) };
        if let Some(job) = row::optional_id(&found, "job")? {
            return Ok(Some(job));
        }
        let number = row::number(&found, "number")?;
        let ids = Ids {
            document: row::id(&found, "document_id")?,
            version,
            number,
            job: JobId::new(),
        };
        let (collection, name): (&str, &str) =
            (row::get(&found, "collection")?, row::get(&found, "name")?);
        put_job(&mut transaction, collection, name, &ids).await?;
        commit(transaction).await?;
        Ok(Some(ids.job))
    }
}

fn state(word: &str) -> Result<VersionState, CatalogError> {
    match word {
        "pending" => Ok(VersionState::Pending),
        "active" => Ok(VersionState::Active),
        "failed" => Ok(VersionState::Failed),
        "removing" => Ok(VersionState::Removing),
        other => Err(row::corrupt("a version's state", other)),
    }
}
