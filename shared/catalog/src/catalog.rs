use crate::{CatalogError, schema};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(30);
/// Connections that read at the same time.
const READERS: u32 = 6;

/// One open catalog; clones share their connections.
///
/// # Guarantees
/// What a writing method returned from is on disk. Each method is one transaction: all of it happened, or nothing. A
/// method whose future is dropped has happened or not, never half.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(crate) reader: SqlitePool,
    writer: SqlitePool,
}

impl Catalog {
    /// Opens the database file, making it and its folder where they are missing. Any number of processes may.
    ///
    /// # Errors
    /// [`CatalogError::Open`], [`CatalogError::NewerSchema`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, CatalogError> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            let made = tokio::fs::create_dir_all(folder).await;
            made.map_err(|source| CatalogError::File {
                doing: "make",
                path: folder.to_owned(),
                source,
            })?;
        }
        let cannot = |source| CatalogError::Open {
            path: path.to_owned(),
            source,
        };
        let options = options(path);
        // One connection writes, so that writers of this process queue here and not in SQLite, whose lock is unfair.
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(cannot)?;
        schema::migrate(&writer).await?;
        let reader = pool(READERS).connect_with(options).await.map_err(cannot)?;
        Ok(Self { reader, writer })
    }

    /// Closes all connections, once what runs has ended.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Asks the database a trifle, for `/readyz` and `lore doctor`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`] where it does not answer.
    pub async fn check(&self) -> Result<(), CatalogError> {
        let asked = sqlx::query("SELECT count(*) FROM lore_schema")
            .fetch_one(&self.reader)
            .await;
        asked.map(drop).map_err(CatalogError::sql("answer"))
    }

    /// Begins a transaction that writes; it holds the write lock from the start, so it never fails half way for a
    /// reader's sake.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, CatalogError> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(CatalogError::sql("begin a change"))
    }
}

/// Ends a transaction that writes.
pub(crate) async fn commit(transaction: Transaction<'static, Sqlite>) -> Result<(), CatalogError> {
    transaction
        .commit()
        .await
        .map_err(CatalogError::sql("commit a change"))
}

/// Runs a statement that changes rows, and says how many it changed.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    doing: &'static str,
    statement: Query<'_, Sqlite, SqliteArguments>,
) -> Result<u64, CatalogError> {
    let done = statement
        .execute(connection)
        .await
        .map_err(CatalogError::sql(doing))?;
    Ok(done.rows_affected())
}

/// Now, in microseconds since 1970 (UTC).
pub(crate) fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY * 2)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit is on disk when it returns, also after a loss of power.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("temp_store", "memory")
}
