use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError, Page, adapters, row};
use lore_types::Collection;
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection, Transaction};

/// A collection to be made.
#[derive(Clone, Debug)]
pub struct NewCollection {
    /// Its name, checked by the caller.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The catalogue name of its embedder.
    pub embedder: String,
    /// Length of that embedder's vectors.
    pub dimensions: u32,
}

macro_rules! select_collections {
    ($condition:literal) => {
        concat!(
            "SELECT c.name, c.description, c.embedder, c.dimensions, c.default_adapter, c.created_at, ",
            "(SELECT count(*) FROM versions v WHERE v.collection = c.name AND v.state = 'active') AS documents, ",
            "(SELECT CAST(coalesce(sum(v.chunk_count), 0) AS BIGINT) FROM versions v ",
            "WHERE v.collection = c.name AND v.state = 'active') AS chunks ",
            "FROM collections c WHERE c.state = 'live' AND ",
            $condition
        )
    };
}

impl Catalog {
    /// Makes a collection.
    ///
    /// # Errors
    /// [`CatalogError::CollectionExists`]; [`CatalogError::CollectionRemoving`] until a deleted one of that name has left
    /// the indexes.
    pub async fn create_collection(&self, new: &NewCollection) -> Result<Collection, CatalogError> {
        let mut transaction = self.write().await?;
        match state(&mut transaction, &new.name).await?.as_deref() {
            None => {}
            Some("removing") => return Err(CatalogError::CollectionRemoving(new.name.clone())),
            Some(_) => return Err(CatalogError::CollectionExists(new.name.clone())),
        }
        insert(&mut transaction, new).await?;
        commit(transaction).await?;
        self.collection(&new.name).await
    }

    /// One collection.
    ///
    /// # Errors
    /// [`CatalogError::NoCollection`].
    pub async fn collection(&self, name: &str) -> Result<Collection, CatalogError> {
        let found = sqlx::query(select_collections!("c.name = $1"))
            .bind(name)
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a collection"))?;
        found.map_or_else(
            || Err(CatalogError::NoCollection(name.to_owned())),
            |row| collection(&row),
        )
    }

    /// Collections ordered by name, at most `limit`, those after the name `after`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn collections(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Collection>, CatalogError> {
        let rows = sqlx::query(select_collections!("c.name > $1 ORDER BY c.name LIMIT $2"))
            .bind(after.unwrap_or_default())
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.reader)
            .await
            .map_err(CatalogError::sql("list collections"))?;
        let all = rows.iter().map(collection).collect::<Result<_, _>>()?;
        Ok(Page::cut(all, limit))
    }

    /// Names the adapter that answers a collection's questions where a request names none; `None` for the base model.
    ///
    /// # Errors
    /// [`CatalogError::NoCollection`]; [`CatalogError::NoAdapter`] where there is no adapter of that name.
    pub async fn set_default_adapter(
        &self,
        name: &str,
        adapter: Option<&str>,
    ) -> Result<Collection, CatalogError> {
        let mut transaction = self.write().await?;
        require_live(&mut transaction, name).await?;
        if let Some(adapter) = adapter {
            adapters::require(&mut transaction, adapter).await?;
        }
        let set = sqlx::query("UPDATE collections SET default_adapter = $2 WHERE name = $1");
        let set = set.bind(name).bind(adapter);
        run(&mut transaction, "set a collection's adapter", set).await?;
        commit(transaction).await?;
        self.collection(name).await
    }

    /// Deletes a collection: from now on nothing of it can be found, its jobs are cancelled, and
    /// [`Catalog::doomed_collections`] names it until it has left the indexes.
    ///
    /// # Errors
    /// [`CatalogError::NoCollection`].
    pub async fn delete_collection(&self, name: &str) -> Result<(), CatalogError> {
        let mut transaction = self.write().await?;
        require_live(&mut transaction, name).await?;
        for (doing, statement) in DELETE {
            run(&mut transaction, doing, sqlx::query(statement).bind(name)).await?;
        }
        let cancel = sqlx::query(CANCEL).bind(name).bind(now());
        run(&mut transaction, "cancel the collection's jobs", cancel).await?;
        commit(transaction).await
    }
}

/// What a deletion changes, `$1` being the collection.
const DELETE: [(&str, &str); 3] = [
    (
        "delete a collection",
        "UPDATE collections SET state = 'removing' WHERE name = $1",
    ),
    (
        "delete its documents",
        "UPDATE documents SET deleted = 1, active_version = NULL WHERE collection = $1",
    ),
    (
        "delete its versions",
        "UPDATE versions SET state = 'removing' WHERE collection = $1",
    ),
];

const CANCEL: &str = "UPDATE jobs SET status = 'cancelled', stage = 'finished', lease_owner = NULL, \
    lease_until = NULL, updated_at = $2, \
    error = '{\"code\":\"collection_deleted\",\"message\":\"the collection was deleted\"}' \
    WHERE collection = $1 AND status IN ('queued', 'running')";

/// Refuses a collection that is not there or was deleted.
pub(crate) async fn require_live(
    transaction: &mut Transaction<'static, Sqlite>,
    name: &str,
) -> Result<(), CatalogError> {
    match state(transaction, name).await?.as_deref() {
        Some("live") => Ok(()),
        _ => Err(CatalogError::NoCollection(name.to_owned())),
    }
}

async fn state(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<String>, CatalogError> {
    let found = sqlx::query("SELECT state FROM collections WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(CatalogError::sql("read a collection"))?;
    found.map(|found| row::get(&found, "state")).transpose()
}

async fn insert(
    connection: &mut SqliteConnection,
    new: &NewCollection,
) -> Result<(), CatalogError> {
    let insert = sqlx::query(
        "INSERT INTO collections (name, description, embedder, dimensions, state, created_at) \
         VALUES ($1, $2, $3, $4, 'live', $5)",
    )
    .bind(&new.name)
    .bind(&new.description)
    .bind(&new.embedder)
    .bind(i64::from(new.dimensions))
    .bind(now());
    run(connection, "make a collection", insert).await.map(drop)
}

fn collection(found: &SqliteRow) -> Result<Collection, CatalogError> {
    Ok(Collection {
        name: row::get(found, "name")?,
        description: row::get(found, "description")?,
        embedder: row::get(found, "embedder")?,
        dimensions: row::number(found, "dimensions")?,
        documents: row::number(found, "documents")?,
        chunks: row::number(found, "chunks")?,
        default_adapter: row::get(found, "default_adapter")?,
        created_at: row::time(found, "created_at")?,
    })
}
