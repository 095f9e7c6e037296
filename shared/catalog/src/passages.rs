use crate::{Catalog, CatalogError, row};
use lore_types::{ChunkId, DocumentId, Metadata, Span, VersionId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};
use std::collections::HashMap;

/// Ids asked for with one statement; SQLite takes 32,766.
const IDS_A_STATEMENT: usize = 10_000;

/// A chunk that can be found, with what an answer needs of its document.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPassage {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// The document.
    pub document_id: DocumentId,
    /// The document's name.
    pub document_name: String,
    /// The document's title.
    pub title: Option<String>,
    /// The version.
    pub version_id: VersionId,
    /// Its number, from 1.
    pub version: u32,
    /// Place of the chunk in the version, from 0.
    pub ordinal: u32,
    /// The chunk's text: the parsed text at `span`.
    pub text: String,
    /// Bytes of the parsed text.
    pub span: Span,
    /// Headings above it, outermost first.
    pub heading: Vec<String>,
    /// Page on which it starts, from 1.
    pub page: Option<u32>,
    /// The document's metadata.
    pub metadata: Metadata,
    /// Length in the embedder's tokens.
    pub tokens: u32,
}

/// What became of the candidates that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hydrated {
    /// Those of active versions, in the order asked.
    pub passages: Vec<StoredPassage>,
    /// How many others there were: not active yet, replaced, or deleted. Where there are any, the indexes were asked in
    /// the middle of a change, and asking them again finds what took their place.
    pub stale: usize,
}

impl Catalog {
    /// The candidates of a collection that can be found, with their texts.
    ///
    /// # Guarantees
    /// As of one moment: of each document, chunks of one version only.
    ///
    /// # Errors
    /// [`CatalogError::Sql`]. A collection that is not there has no passages.
    pub async fn passages(
        &self,
        collection: &str,
        ids: &[ChunkId],
    ) -> Result<Hydrated, CatalogError> {
        let mut found = HashMap::with_capacity(ids.len());
        // One read transaction is one snapshot, however many statements.
        let mut snapshot = self
            .reader
            .begin()
            .await
            .map_err(CatalogError::sql("begin to read passages"))?;
        for some in ids.chunks(IDS_A_STATEMENT) {
            let mut builder = QueryBuilder::new("");
            select(&mut builder, collection, some);
            let rows = builder.build().fetch_all(&mut *snapshot).await;
            for row in rows.map_err(CatalogError::sql("read passages"))? {
                if let Some(passage) = passage(&row)? {
                    found.insert(passage.chunk_id, passage);
                }
            }
        }
        snapshot
            .commit()
            .await
            .map_err(CatalogError::sql("end reading passages"))?;
        let passages: Vec<_> = ids.iter().filter_map(|id| found.remove(id)).collect();
        let stale = ids.len() - passages.len();
        Ok(Hydrated { passages, stale })
    }
}

/// The chunks, each with its document where it can be found. A left join, because it is the one whose order no planner changes:
/// SQLite's began with the collection's versions otherwise and read all of its chunks, 190 ms where it holds 100,000.
fn select(builder: &mut QueryBuilder<Sqlite>, collection: &str, ids: &[ChunkId]) {
    builder.push(
        "SELECT c.*, v.number, v.title, v.metadata, v.document_id, d.name FROM chunks c \
         LEFT JOIN versions v ON v.id = c.version_id AND v.state = 'active' AND v.collection = ",
    );
    builder
        .push_bind(collection.to_owned())
        .push(" LEFT JOIN documents d ON d.id = v.document_id WHERE c.id IN (");
    let mut list = builder.separated(", ");
    for id in ids {
        list.push_bind(id.to_string());
    }
    builder.push(")");
}

/// `None` where the chunk's version is not the one to be found in this collection.
fn passage(found: &SqliteRow) -> Result<Option<StoredPassage>, CatalogError> {
    if row::get::<Option<&str>>(found, "document_id")?.is_none() {
        return Ok(None);
    }
    Ok(Some(StoredPassage {
        chunk_id: row::id(found, "id")?,
        document_id: row::id(found, "document_id")?,
        document_name: row::get(found, "name")?,
        title: row::get(found, "title")?,
        version_id: row::id(found, "version_id")?,
        version: row::number(found, "number")?,
        ordinal: row::number(found, "ordinal")?,
        text: row::get(found, "body")?,
        span: Span::new(
            row::number(found, "span_start")?,
            row::number(found, "span_end")?,
        ),
        heading: row::texts(found, "heading")?,
        page: row::optional_number(found, "page")?,
        metadata: row::metadata(found, "metadata")?,
        tokens: row::number(found, "tokens")?,
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passages_are_found_by_their_ids_and_not_by_way_of_the_collection() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path().join("catalog.db"))
            .await
            .unwrap();
        let version = VersionId::derive(DocumentId::derive("c", "d"), 1);
        let ids = [0, 1].map(|ordinal| ChunkId::derive(version, ordinal));
        let mut builder = QueryBuilder::new("EXPLAIN QUERY PLAN ");
        select(&mut builder, "c", &ids);
        let plan = builder.build().fetch_all(&catalog.reader).await.unwrap();
        let steps: Vec<String> = plan
            .iter()
            .map(|step| row::get(step, "detail").unwrap())
            .collect();
        assert!(
            steps[0].starts_with("SEARCH c ") && steps[0].ends_with("(id=?)"),
            "{steps:?}"
        );
        assert!(
            steps.iter().all(|step| !step.starts_with("SCAN")),
            "{steps:?}"
        );
    }
}
