use crate::catalog::{commit, now, run};
use crate::collections::require_live;
use crate::jobs::waiting;
use crate::{Catalog, CatalogError, StoredOriginal, row};
use lore_types::{Accepted, DocumentId, JobId, Metadata, VersionId};
use sqlx::SqliteConnection;

/// One upload, its bytes on disk already.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The document's external name.
    pub name: String,
    /// The bytes.
    pub original: StoredOriginal,
    /// The content type that the client sent along.
    pub media_type: Option<String>,
    /// The format that the client insists on.
    pub declared: Option<String>,
    /// What the user says of it.
    pub metadata: Metadata,
}

/// What one version and its job are called.
pub(crate) struct Ids {
    pub(crate) document: DocumentId,
    pub(crate) version: VersionId,
    pub(crate) number: u32,
    pub(crate) job: JobId,
}

/// The document as it was before an upload.
struct Known {
    last_number: u32,
    newest: Option<Newest>,
}

/// The newest version of a document that is not deleted.
struct Newest {
    id: VersionId,
    number: u32,
    state: String,
    job: JobId,
    content_hash: String,
    declared: Option<String>,
    metadata: Metadata,
}

impl Newest {
    fn equals(&self, new: &NewVersion) -> bool {
        self.content_hash == new.original.hash.0
            && self.declared == new.declared
            && self.metadata == new.metadata
    }
}

impl Catalog {
    /// Accepts uploads: each becomes a version with a queued job, unless its document's newest version has the same bytes,
    /// declared format and metadata. Such a one is `unchanged`, with the job that made it; where that job had failed, it
    /// is queued again and the upload is not `unchanged`. Versions of the same documents that still wait or run are
    /// cancelled.
    ///
    /// # Guarantees
    /// All of them or none, and on disk when it returns.
    ///
    /// # Errors
    /// [`CatalogError::NoCollection`]; [`CatalogError::QueueFull`] where more than `max_queue` jobs would wait.
    pub async fn accept(
        &self,
        collection: &str,
        uploads: &[NewVersion],
        max_queue: u64,
    ) -> Result<Vec<Accepted>, CatalogError> {
        let mut transaction = self.write().await?;
        require_live(&mut transaction, collection).await?;
        let before = waiting(&mut transaction).await?;
        let mut accepted = Vec::with_capacity(uploads.len());
        for upload in uploads {
            accepted.push(accept_one(&mut transaction, collection, upload).await?);
        }
        let after = waiting(&mut transaction).await?;
        if after > max_queue && after > before {
            return Err(CatalogError::QueueFull {
                waiting: before,
                more: after - before,
                limit: max_queue,
            });
        }
        commit(transaction).await?;
        Ok(accepted)
    }
}

async fn accept_one(
    connection: &mut SqliteConnection,
    collection: &str,
    new: &NewVersion,
) -> Result<Accepted, CatalogError> {
    let document = DocumentId::derive(collection, &new.name);
    let known = known(connection, document).await?;
    if let Some(newest) = known.newest.as_ref().filter(|newest| newest.equals(new)) {
        let again = newest.state == "failed";
        if again {
            queue_again(connection, newest).await?;
        }
        return Ok(accepted(document, new, newest.number, newest.job, !again));
    }
    let number = known.last_number + 1;
    let ids = Ids {
        document,
        version: VersionId::derive(document, number),
        number,
        job: JobId::new(),
    };
    supersede(connection, document).await?;
    put_document(connection, collection, new, &ids).await?;
    put_version(connection, collection, new, &ids).await?;
    put_job(connection, collection, &new.name, &ids).await?;
    Ok(accepted(document, new, number, ids.job, false))
}

fn accepted(
    document: DocumentId,
    new: &NewVersion,
    version: u32,
    job: JobId,
    unchanged: bool,
) -> Accepted {
    Accepted {
        document_id: document,
        name: new.name.clone(),
        version,
        job_id: job,
        unchanged,
    }
}

async fn known(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<Known, CatalogError> {
    let found = sqlx::query(
        "SELECT d.last_number, d.deleted, v.id, v.number, v.state, v.job_id, v.content_hash, v.declared, v.metadata \
         FROM documents d LEFT JOIN versions v ON v.id = d.newest_version AND v.state <> 'removing' WHERE d.id = $1",
    )
    .bind(document.to_string())
    .fetch_optional(connection)
    .await
    .map_err(CatalogError::sql("read a document"))?;
    let Some(found) = found else {
        return Ok(Known {
            last_number: 0,
            newest: None,
        });
    };
    let version: Option<&str> = row::get(&found, "id")?;
    let there = version.is_some() && row::get::<i64>(&found, "deleted")? == 0;
    let newest = there.then(|| newest(&found)).transpose()?;
    Ok(Known {
        last_number: row::number(&found, "last_number")?,
        newest,
    })
}

fn newest(found: &sqlx::sqlite::SqliteRow) -> Result<Newest, CatalogError> {
    Ok(Newest {
        id: row::id(found, "id")?,
        number: row::number(found, "number")?,
        state: row::get(found, "state")?,
        job: row::id(found, "job_id")?,
        content_hash: row::get(found, "content_hash")?,
        declared: row::get(found, "declared")?,
        metadata: row::metadata(found, "metadata")?,
    })
}

async fn queue_again(
    connection: &mut SqliteConnection,
    failed: &Newest,
) -> Result<(), CatalogError> {
    let version = sqlx::query("UPDATE versions SET state = 'pending' WHERE id = $1")
        .bind(failed.id.to_string());
    run(connection, "queue a version again", version).await?;
    let job = sqlx::query(
        "UPDATE jobs SET status = 'queued', stage = 'queued', progress = 0, warnings = '[]', error = NULL, \
         crashes = 0, lease_owner = NULL, lease_until = NULL, updated_at = $2 WHERE id = $1",
    );
    run(
        connection,
        "queue a job again",
        job.bind(failed.job.to_string()).bind(now()),
    )
    .await
    .map(drop)
}

/// Cancels what is not active of a document, because a newer version comes.
async fn supersede(
    connection: &mut SqliteConnection,
    document: DocumentId,
) -> Result<(), CatalogError> {
    let jobs = sqlx::query(
        "UPDATE jobs SET status = 'cancelled', stage = 'finished', lease_owner = NULL, lease_until = NULL, \
         updated_at = $2, error = '{\"code\":\"superseded\",\"message\":\"a newer version was uploaded\"}' \
         WHERE document_id = $1 AND status IN ('queued', 'running') \
         AND version_id IN (SELECT id FROM versions WHERE document_id = $1 AND state = 'pending')",
    );
    run(
        connection,
        "cancel older jobs",
        jobs.bind(document.to_string()).bind(now()),
    )
    .await?;
    let versions = sqlx::query(
        "UPDATE versions SET state = 'removing' WHERE document_id = $1 AND state IN ('pending', 'failed')",
    );
    run(
        connection,
        "drop older versions",
        versions.bind(document.to_string()),
    )
    .await
    .map(drop)
}

async fn put_document(
    connection: &mut SqliteConnection,
    collection: &str,
    new: &NewVersion,
    ids: &Ids,
) -> Result<(), CatalogError> {
    // A document that was deleted and is not purged yet comes back as a new one, but keeps counting its versions.
    let document = sqlx::query(
        "INSERT INTO documents (id, collection, name, last_number, newest_version, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET \
         last_number = excluded.last_number, newest_version = excluded.newest_version, deleted = 0, \
         created_at = CASE WHEN documents.deleted = 1 THEN excluded.created_at ELSE documents.created_at END",
    )
    .bind(ids.document.to_string())
    .bind(collection)
    .bind(&new.name)
    .bind(i64::from(ids.number))
    .bind(ids.version.to_string())
    .bind(now());
    run(connection, "write a document", document)
        .await
        .map(drop)
}

async fn put_version(
    connection: &mut SqliteConnection,
    collection: &str,
    new: &NewVersion,
    ids: &Ids,
) -> Result<(), CatalogError> {
    let version = sqlx::query(
        "INSERT INTO versions (id, document_id, collection, number, state, job_id, content_hash, bytes, media_type, \
         declared, metadata, created_at) VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(ids.version.to_string())
    .bind(ids.document.to_string())
    .bind(collection)
    .bind(i64::from(ids.number))
    .bind(ids.job.to_string())
    .bind(&new.original.hash.0)
    .bind(new.original.bytes.cast_signed())
    .bind(new.media_type.as_deref())
    .bind(new.declared.as_deref())
    .bind(serde_json::Value::from(new.metadata.clone()).to_string())
    .bind(now());
    run(connection, "write a version", version).await.map(drop)
}

/// Queues a job that indexes a version.
pub(crate) async fn put_job(
    connection: &mut SqliteConnection,
    collection: &str,
    name: &str,
    ids: &Ids,
) -> Result<(), CatalogError> {
    let job = sqlx::query(
        "INSERT INTO jobs (id, kind, status, stage, collection, document_id, document_name, version_id, \
         version_number, created_at, updated_at) VALUES ($1, 'ingest', 'queued', 'queued', $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(ids.job.to_string())
    .bind(collection)
    .bind(ids.document.to_string())
    .bind(name)
    .bind(ids.version.to_string())
    .bind(i64::from(ids.number))
    .bind(now());
    run(connection, "queue a job", job).await.map(drop)
}
