use crate::catalog::{commit, now, run};
use crate::leases::is_own;
use crate::{Catalog, CatalogError, Lease, row};
use lore_types::{
    Chunk, ContentHash, DocumentFormat, DocumentId, JobId, Metadata, Span, VersionId,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

/// Chunks written with one statement: nine values each, of the 32,766 that SQLite takes.
const CHUNKS_A_STATEMENT: usize = 1_000;

/// What reading an original gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedVersion {
    /// The text that spans count in.
    pub text: String,
    /// The format it was read as.
    pub format: DocumentFormat,
    /// The main language, ISO 639-1.
    pub language: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// Number of pages, for formats that have them.
    pub pages: Option<u32>,
    /// Things worth knowing that did not stop the reading.
    pub warnings: Vec<String>,
}

/// A version as the catalog holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVersion {
    /// Its id.
    pub id: VersionId,
    /// The document.
    pub document_id: DocumentId,
    /// The document's name.
    pub name: String,
    /// The collection.
    pub collection: String,
    /// The collection's embedder.
    pub embedder: String,
    /// Length of that embedder's vectors.
    pub dimensions: u32,
    /// Its number, from 1.
    pub number: u32,
    /// Names the original.
    pub content_hash: ContentHash,
    /// The content type that the client sent along.
    pub media_type: Option<String>,
    /// The format that the client insists on.
    pub declared: Option<String>,
    /// What the user says of it.
    pub metadata: Metadata,
    /// Whether text and chunks are in the catalog, so that it need not be read again.
    pub parsed: bool,
    /// The format it was read as.
    pub format: Option<DocumentFormat>,
    /// The main language.
    pub language: Option<String>,
    /// The title.
    pub title: Option<String>,
}

impl Catalog {
    /// Keeps what reading a version gave, in place of what an earlier attempt left, and its warnings
    /// with the job, whose stage is embedding then. False where the job is no longer `lease`'s;
    /// nothing is kept then.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn store_parsed(
        &self,
        lease: &Lease,
        job: JobId,
        version: VersionId,
        parsed: &ParsedVersion,
        chunks: &[Chunk],
    ) -> Result<bool, CatalogError> {
        let mut transaction = self.write().await?;
        if !is_own(&mut transaction, lease, job).await? {
            return Ok(false);
        }
        clear(&mut transaction, version).await?;
        let text = sqlx::query("INSERT INTO texts (version_id, body) VALUES ($1, $2)");
        run(
            &mut transaction,
            "keep a text",
            text.bind(version.to_string()).bind(&parsed.text),
        )
        .await?;
        for some in chunks.chunks(CHUNKS_A_STATEMENT) {
            insert(&mut transaction, some).await?;
        }
        describe(&mut transaction, version, parsed, chunks.len()).await?;
        begin_embedding(&mut transaction, job, parsed).await?;
        commit(transaction).await?;
        Ok(true)
    }

    /// The parsed text of a document's current version.
    ///
    /// # Errors
    /// [`CatalogError::Sql`]. `None` where it was not read yet.
    pub async fn text(&self, version: VersionId) -> Result<Option<String>, CatalogError> {
        let found = sqlx::query("SELECT body FROM texts WHERE version_id = $1")
            .bind(version.to_string())
            .fetch_optional(&self.reader)
            .await
            .map_err(CatalogError::sql("read a text"))?;
        found.map(|found| row::get(&found, "body")).transpose()
    }

    /// Chunks of a version in their order, from ordinal `from` on, at most `limit`.
    ///
    /// # Errors
    /// [`CatalogError::Sql`].
    pub async fn chunks(
        &self,
        version: VersionId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Chunk>, CatalogError> {
        let rows = sqlx::query(
            "SELECT c.*, v.document_id FROM chunks c JOIN versions v ON v.id = c.version_id \
             WHERE c.version_id = $1 AND c.ordinal >= $2 ORDER BY c.ordinal LIMIT $3",
        )
        .bind(version.to_string())
        .bind(i64::from(from))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(CatalogError::sql("read chunks"))?;
        rows.iter().map(chunk).collect()
    }
}

async fn clear(connection: &mut SqliteConnection, version: VersionId) -> Result<(), CatalogError> {
    let chunks = sqlx::query("DELETE FROM chunks WHERE version_id = $1").bind(version.to_string());
    run(connection, "drop an earlier attempt's chunks", chunks).await?;
    let text = sqlx::query("DELETE FROM texts WHERE version_id = $1").bind(version.to_string());
    run(connection, "drop an earlier attempt's text", text)
        .await
        .map(drop)
}

async fn insert(connection: &mut SqliteConnection, chunks: &[Chunk]) -> Result<(), CatalogError> {
    let mut builder = QueryBuilder::<Sqlite>::new(
        "INSERT INTO chunks (id, version_id, ordinal, span_start, span_end, page, heading, body, tokens) ",
    );
    builder.push_values(chunks, |mut values, chunk| {
        values
            .push_bind(chunk.id.to_string())
            .push_bind(chunk.version_id.to_string())
            .push_bind(i64::from(chunk.ordinal))
            .push_bind(chunk.span.start as i64)
            .push_bind(chunk.span.end as i64)
            .push_bind(chunk.page.map(i64::from))
            .push_bind(row::list(&chunk.heading))
            .push_bind(chunk.text.clone())
            .push_bind(i64::from(chunk.tokens));
    });
    run(connection, "keep chunks", builder.build())
        .await
        .map(drop)
}

async fn describe(
    connection: &mut SqliteConnection,
    version: VersionId,
    parsed: &ParsedVersion,
    chunks: usize,
) -> Result<(), CatalogError> {
    let describe = sqlx::query(
        "UPDATE versions SET parsed = 1, format = $2, language = $3, title = $4, pages = $5, chunk_count = $6 \
         WHERE id = $1",
    )
    .bind(version.to_string())
    .bind(parsed.format.word())
    .bind(parsed.language.as_deref())
    .bind(parsed.title.as_deref())
    .bind(parsed.pages.map(i64::from))
    .bind(chunks as i64);
    run(connection, "describe a version", describe)
        .await
        .map(drop)
}

async fn begin_embedding(
    connection: &mut SqliteConnection,
    job: JobId,
    parsed: &ParsedVersion,
) -> Result<(), CatalogError> {
    let begin = sqlx::query(
        "UPDATE jobs SET stage = 'embedding', warnings = $2, updated_at = $3 WHERE id = $1",
    );
    let begin = begin
        .bind(job.to_string())
        .bind(row::list(&parsed.warnings))
        .bind(now());
    run(connection, "note a job's stage", begin).await.map(drop)
}

/// A version as a transaction sees it.
pub(crate) async fn stored_version(
    connection: &mut SqliteConnection,
    version: VersionId,
) -> Result<StoredVersion, CatalogError> {
    let found = sqlx::query(
        "SELECT v.*, d.name, c.embedder, c.dimensions FROM versions v JOIN documents d ON d.id = v.document_id \
         JOIN collections c ON c.name = v.collection WHERE v.id = $1",
    )
    .bind(version.to_string())
    .fetch_one(connection)
    .await
    .map_err(CatalogError::sql("read a version"))?;
    Ok(StoredVersion {
        id: version,
        document_id: row::id(&found, "document_id")?,
        name: row::get(&found, "name")?,
        collection: row::get(&found, "collection")?,
        embedder: row::get(&found, "embedder")?,
        dimensions: row::number(&found, "dimensions")?,
        number: row::number(&found, "number")?,
        content_hash: ContentHash(row::get(&found, "content_hash")?),
        media_type: row::get(&found, "media_type")?,
        declared: row::get(&found, "declared")?,
        metadata: row::metadata(&found, "metadata")?,
        parsed: row::get::<i64>(&found, "parsed")? == 1,
        format: row::format(&found, "format")?,
        language: row::get(&found, "language")?,
        title: row::get(&found, "title")?,
    })
}

fn chunk(found: &SqliteRow) -> Result<Chunk, CatalogError> {
    Ok(Chunk {
        id: row::id(found, "id")?,
        document_id: row::id(found, "document_id")?,
        version_id: row::id(found, "version_id")?,
        ordinal: row::number(found, "ordinal")?,
        span: Span::new(
            row::number(found, "span_start")?,
            row::number(found, "span_end")?,
        ),
        text: row::get(found, "body")?,
        heading: row::texts(found, "heading")?,
        page: row::optional_number(found, "page")?,
        tokens: row::number(found, "tokens")?,
    })
}
