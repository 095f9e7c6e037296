use crate::catalog::{commit, run};
use crate::{Catalog, CatalogError, row};
use lore_types::{ContentHash, VersionId};
use sqlx::SqliteConnection;

/// A version that has to leave the indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The collection.
    pub collection: String,
    /// The version.
    pub version: VersionId,
    /// Whether an index may hold chunks of it at all.
    pub touched: bool,
    /// Names its original.
    pub content_hash: ContentHash,
}

impl Catalog {
    /// Versions that were replaced, deleted, superseded or given up half way and have not left the indexes yet, those of
    /// deleted collections aside; at most `limit`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn removals(&self, limit: u32) -> Result<Vec<Removal>, CatalogError> {
        let rows = sqlx::query(
            "SELECT v.id, v.collection, v.touched, v.content_hash FROM versions v \
             JOIN collections c ON c.name = v.collection AND c.state = 'live' \
             WHERE v.state = 'removing' OR (v.state = 'failed' AND v.touched = 1) LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list removals"))?;
        rows.iter()
            .map(|found| {
                Ok(Removal {
                    collection: row::get(found, "collection")?,
                    version: row::id(found, "id")?,
                    touched: row::get::<i64>(found, "touched")? == 1,
                    content_hash: ContentHash(row::get(found, "content_hash")?),
                })
            })
            .collect()
    }

    /// Notes that versions have left both indexes: all that is left of them is dropped, save of failed ones, which keep
    /// their reason. A deleted document goes with its last version.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn removed(&self, removals: &[Removal]) -> Result<(), CatalogError> {
        let mut transaction = self.write().await?;
        for removal in removals {
            purge(&mut transaction, removal.version).await?;
        }
        commit(transaction).await
    }

    /// Deleted collections that have not left the indexes yet.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn doomed_collections(&self) -> Result<Vec<String>, CatalogError> {
        let rows =
            sqlx::query("SELECT name FROM collections WHERE state = 'removing' ORDER BY name")
                .fetch_all(&self.reader)
                .await
                .map_err(CatalogError::sql("list deleted collections"))?;
        rows.iter().map(|found| row::get(found, "name")).collect()
    }

    /// Notes that a deleted collection has left both indexes, and drops all that is left of it. Gives back the originals
    /// it used.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn purge_collection(&self, name: &str) -> Result<Vec<ContentHash>, CatalogError> {
        let mut transaction = self.write().await?;
        let rows = sqlx::query("SELECT DISTINCT content_hash FROM versions WHERE collection = $1")
            .bind(name)
            .fetch_all(&mut *transaction)
            .await
            .map_err(CatalogError::sql("list a collection's originals"))?;
        let used = rows
            .iter()
            .map(|found| row::get(found, "content_hash").map(ContentHash))
            .collect();
        for (doing, statement) in PURGE {
            run(&mut transaction, doing, sqlx::query(statement).bind(name)).await?;
        }
        commit(transaction).await?;
        used
    }

    /// Whether a version or an uploaded file uses an original.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn uses(&self, original: &ContentHash) -> Result<bool, CatalogError> {
        let found = sqlx::query("SELECT 1 FROM versions WHERE content_hash = $1 UNION ALL SELECT 1 FROM files WHERE content_hash = $1 LIMIT 1")
            .bind(&original.0)
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("look for uses of an original"))?;
        Ok(found.is_some())
    }
}

/// Drops a collection that left the indexes, `$1` being its name. Chunks and texts go with their versions.
const PURGE: [(&str, &str); 3] = [
    (
        "purge a collection's versions",
        "DELETE FROM versions WHERE collection = (SELECT name FROM collections WHERE name = $1 AND state = 'removing')",
    ),
    (
        "purge a collection's documents",
        "DELETE FROM documents WHERE collection = (SELECT name FROM collections WHERE name = $1 AND state = 'removing')",
    ),
    (
        "purge a collection",
        "DELETE FROM collections WHERE name = $1 AND state = 'removing'",
    ),
];

async fn purge(connection: &mut SqliteConnection, version: VersionId) -> Result<(), CatalogError> {
    let key = version.to_string();
    let failed = sqlx::query("UPDATE versions SET touched = 0 WHERE id = $1 AND state = 'failed'")
        .bind(&key);
    run(connection, "clean a failed version", failed).await?;
    let document =
        sqlx::query("SELECT document_id FROM versions WHERE id = $1 AND state = 'removing'")
            .bind(&key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(CatalogError::sql("read a version"))?;
    let Some(document) = document else {
        return Ok(());
    };
    let document: String = row::get(&document, "document_id")?;
    let gone = sqlx::query("DELETE FROM versions WHERE id = $1").bind(&key);
    run(connection, "purge a version", gone).await?;
    let empty = sqlx::query(
        "DELETE FROM documents WHERE id = $1 AND deleted = 1 \
         AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.document_id = $1)",
    );
    run(connection, "purge a document", empty.bind(document))
        .await
        .map(drop)
}
