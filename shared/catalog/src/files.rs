use crate::catalog::{commit, now, run};
use crate::{Catalog, CatalogError, Page, StoredOriginal, fine_tuning, row};
use lore_types::{ContentHash, File, FileId, FilePurpose};
use sqlx::sqlite::SqliteRow;

/// Which files are asked for.
#[derive(Clone, Debug, Default)]
pub struct FileQuery {
    /// Only those for this.
    pub purpose: Option<FilePurpose>,
    /// Only those older than this one.
    pub after: Option<FileId>,
    /// At most this many.
    pub limit: u32,
}

/// A file and where its bytes are.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFile {
    /// What clients see.
    pub file: File,
    /// Names its bytes in [`crate::Originals`].
    pub hash: ContentHash,
}

impl Catalog {
    /// Keeps a file whose bytes are on disk.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn add_file(
        &self,
        filename: &str,
        purpose: FilePurpose,
        original: &StoredOriginal,
    ) -> Result<StoredFile, CatalogError> {
        let id = FileId::new();
        let insert = sqlx::query(
            "INSERT INTO files (id, filename, purpose, content_hash, bytes, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.to_string())
        .bind(filename)
        .bind(purpose.word())
        .bind(&original.hash.0)
        .bind(i64::try_from(original.bytes).unwrap_or(i64::MAX))
        .bind(now());
        let mut transaction = self.write().await?;
        run(&mut transaction, "keep a file", insert).await?;
        commit(transaction).await?;
        self.file(id).await
    }

    /// One file.
    ///
    /// # Errors
    /// [`CatalogError::NoFile`].
    pub async fn file(&self, id: FileId) -> Result<StoredFile, CatalogError> {
        let found = sqlx::query("SELECT * FROM files WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a file"))?;
        found.map_or_else(|| Err(CatalogError::NoFile(id)), |found| stored(&found))
    }

    /// Files, newest first.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn files(&self, query: &FileQuery) -> Result<Page<File>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM files WHERE ($1 IS NULL OR purpose = $1) AND ($2 IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3",
        )
        .bind(query.purpose.map(|purpose| purpose.word()))
        .bind(query.after.map(|id| id.to_string()))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("list files"))?;
        let all = rows.iter().map(|found| Ok(stored(found)?.file));
        Ok(Page::cut(
            all.collect::<Result<_, CatalogError>>()?,
            query.limit,
        ))
    }

    /// Forgets a file; its bytes are collected by [`crate::Originals::collect`].
    ///
    /// # Errors
    /// [`CatalogError::NoFile`]; [`CatalogError::FileInUse`] while a job that is not over needs it.
    pub async fn delete_file(&self, id: FileId) -> Result<StoredFile, CatalogError> {
        let file = self.file(id).await?;
        let mut transaction = self.write().await?;
        for job in fine_tuning::unfinished(&mut transaction).await? {
            if fine_tuning::needs(&job, id) {
                return Err(CatalogError::FileInUse {
                    file: id,
                    job: job.id,
                });
            }
        }
        let delete = sqlx::query("DELETE FROM files WHERE id = $1").bind(id.to_string());
        run(&mut transaction, "delete a file", delete).await?;
        commit(transaction).await?;
        Ok(file)
    }
}

fn stored(found: &SqliteRow) -> Result<StoredFile, CatalogError> {
    let hash: String = row::get(found, "content_hash")?;
    Ok(StoredFile {
        file: File {
            id: row::id(found, "id")?,
            object: "file".to_owned(),
            bytes: row::number(found, "bytes")?,
            created_at: row::seconds(row::get(found, "created_at")?),
            filename: row::get(found, "filename")?,
            purpose: row::word(found, "purpose", "a file's purpose")?,
            status: "processed".to_owned(),
        },
        hash: ContentHash(hash),
    })
}
