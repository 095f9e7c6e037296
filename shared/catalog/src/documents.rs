use crate::catalog::{commit, now, run};
use crate::collections::require_live;
use crate::{Catalog, CatalogError, Page, row};
use lore_types::{ApiError, ContentHash, Document, DocumentId, DocumentStatus};
use sqlx::sqlite::SqliteRow;

/// Which documents of a collection are asked for.
#[derive(Clone, Debug, Default)]
pub struct DocumentQuery {
    /// Only the one with exactly this name.
    pub name: Option<String>,
    /// Only those with this status.
    pub status: Option<DocumentStatus>,
    /// Only those after this one, in the order of names.
    pub after: Option<DocumentId>,
    /// At most this many.
    pub limit: u32,
}

/// Where the original of a document's current version is, and how it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Names the bytes in `Originals`.
    pub content_hash: ContentHash,
    /// Their number.
    pub bytes: u64,
    /// The content type that the client sent along.
    pub media_type: Option<String>,
}

/// The documents as clients see them: the active version, or the newest one where none is active.
macro_rules! select_documents {
    ($condition:literal) => {
        concat!(
            "SELECT * FROM (SELECT d.id, d.collection, d.name, d.created_at AS first_at, d.deleted, ",
            "CASE WHEN d.active_version IS NOT NULL THEN 'ready' WHEN n.state = 'failed' THEN 'failed' ",
            "ELSE 'pending' END AS status, ",
            "v.id AS version_id, v.number, v.content_hash, v.bytes, v.media_type, v.format, v.language, v.title, ",
            "v.pages, v.chunk_count, v.metadata, v.created_at, ",
            "CASE WHEN n.state = 'failed' THEN j.error END AS error ",
            "FROM documents d ",
            "JOIN versions n ON n.id = d.newest_version ",
            "JOIN versions v ON v.id = coalesce(d.active_version, d.newest_version) ",
            "LEFT JOIN jobs j ON j.id = n.job_id) AS shown ",
            "WHERE deleted = 0 AND collection = $1 AND ",
            $condition
        )
    };
}

impl Catalog {
    /// One document.
    ///
    /// # Errors
    /// [`CatalogError::NoCollection`], [`CatalogError::NoDocument`].
    pub async fn document(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<Document, CatalogError> {
        document(&self.document_row(collection, id).await?)
    }

    /// Documents of a collection, ordered by name.
    ///
    /// # Errors
    /// [`CatalogError::NoCollection`]; [`CatalogError::NoSuchPage`] where `after` is not a document of it.
    pub async fn documents(
        &self,
        collection: &str,
        query: &DocumentQuery,
    ) -> Result<Page<Document>, CatalogError> {
        self.collection(collection).await?;
        let after = self.name_of(collection, query.after).await?;
        let rows = sqlx::query(select_documents!(
            "($2 IS NULL OR name = $2) AND ($3 IS NULL OR status = $3) AND name > $4 ORDER BY name LIMIT $5"
        ))
        .bind(collection)
        .bind(query.name.as_deref())
        .bind(query.status.map(status_word))
        .bind(after)
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list documents"))?;
        let all = rows.iter().map(document).collect::<Result<_, _>>()?;
        Ok(Page::cut(all, query.limit))
    }

    /// The original of a document's current version.
    ///
    /// # Errors
    /// As [`Catalog::document`].
    pub async fn original(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<Original, CatalogError> {
        let found = self.document_row(collection, id).await?;
        Ok(Original {
            content_hash: ContentHash(row::get(&found, "content_hash")?),
            bytes: row::number(&found, "bytes")?,
            media_type: row::get(&found, "media_type")?,
        })
    }

    /// Deletes a document: from now on it cannot be found, its jobs are cancelled, and [`Catalog::removals`] names its
    /// versions until they have left the indexes.
    ///
    /// # Errors
    /// As [`Catalog::document`].
    pub async fn delete_document(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<(), CatalogError> {
        let mut transaction = self.write().await?;
        require_live(&mut transaction, collection).await?;
        let delete = sqlx::query(
            "UPDATE documents SET deleted = 1, active_version = NULL \
             WHERE id = $1 AND collection = $2 AND deleted = 0",
        );
        let key = id.to_string();
        if run(
            &mut transaction,
            "delete a document",
            delete.bind(&key).bind(collection),
        )
        .await?
            == 0
        {
            return Err(no_document(collection, id));
        }
        let versions =
            sqlx::query("UPDATE versions SET state = 'removing' WHERE document_id = $1").bind(&key);
        run(&mut transaction, "delete a document's versions", versions).await?;
        let jobs = sqlx::query(CANCEL).bind(&key).bind(now());
        run(&mut transaction, "cancel a document's jobs", jobs).await?;
        commit(transaction).await
    }

    async fn document_row(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<SqliteRow, CatalogError> {
        let found = sqlx::query(select_documents!("id = $2"))
            .bind(collection)
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a document"))?;
        if let Some(found) = found {
            return Ok(found);
        }
        self.collection(collection).await?;
        Err(no_document(collection, id))
    }

    async fn name_of(
        &self,
        collection: &str,
        after: Option<DocumentId>,
    ) -> Result<String, CatalogError> {
        let Some(id) = after else {
            return Ok(String::new());
        };
        let found = sqlx::query("SELECT name FROM documents WHERE id = $1 AND collection = $2")
            .bind(id.to_string())
            .bind(collection)
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a document"))?;
        let found = found.ok_or_else(|| CatalogError::NoSuchPage(id.to_string()))?;
        row::get(&found, "name")
    }
}

const CANCEL: &str = "UPDATE jobs SET status = 'cancelled', stage = 'finished', lease_owner = NULL, \
    lease_until = NULL, updated_at = $2, \
    error = '{\"code\":\"document_deleted\",\"message\":\"the document was deleted\"}' \
    WHERE document_id = $1 AND status IN ('queued', 'running')";

fn no_document(collection: &str, document: DocumentId) -> CatalogError {
    CatalogError::NoDocument {
        collection: collection.to_owned(),
        document,
    }
}

fn status_word(status: DocumentStatus) -> &'static str {
    match status {
        DocumentStatus::Pending => "pending",
        DocumentStatus::Ready => "ready",
        DocumentStatus::Failed => "failed",
    }
}

fn status(found: &SqliteRow) -> Result<DocumentStatus, CatalogError> {
    match row::get(found, "status")? {
        "ready" => Ok(DocumentStatus::Ready),
        "failed" => Ok(DocumentStatus::Failed),
        "pending" => Ok(DocumentStatus::Pending),
        other => Err(row::corrupt("a document's status", other)),
    }
}

fn reason(found: &SqliteRow) -> Result<Option<String>, CatalogError> {
    let text: Option<&str> = row::get(found, "error")?;
    let Some(text) = text else { return Ok(None) };
    let error: ApiError = serde_json::from_str(text).map_err(|_| row::corrupt("an error", text))?;
    Ok(Some(error.message))
}

fn document(found: &SqliteRow) -> Result<Document, CatalogError> {
    Ok(Document {
        id: row::id(found, "id")?,
        collection: row::get(found, "collection")?,
        name: row::get(found, "name")?,
        status: status(found)?,
        version: row::number(found, "number")?,
        version_id: row::id(found, "version_id")?,
        content_hash: ContentHash(row::get(found, "content_hash")?),
        bytes: row::number(found, "bytes")?,
        format: row::format(found, "format")?,
        language: row::get(found, "language")?,
        title: row::get(found, "title")?,
        pages: row::optional_number(found, "pages")?,
        chunks: row::number(found, "chunk_count")?,
        metadata: row::metadata(found, "metadata")?,
        error: reason(found)?,
        created_at: row::time(found, "first_at")?,
        updated_at: row::time(found, "created_at")?,
    })
}
