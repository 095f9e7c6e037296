use crate::{Client, ClientError};
use lore_types::{Chunk, Deleted, Document, DocumentId, List};
use reqwest::Method;
use std::path::Path;

/// Which documents to list.
#[derive(Clone, Debug, Default)]
pub struct DocumentQuery {
    /// Only those that stand like this: `pending`, `ready`, `failed`.
    pub status: Option<String>,
    /// Only the one of this name.
    pub name: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
    /// Only those after this one.
    pub after: Option<String>,
}

impl DocumentQuery {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("status", self.status.clone()),
            ("name", self.name.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("after", self.after.clone()),
        ];
        pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

impl Client {
    /// A page of a collection's documents.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn documents(
        &self,
        collection: &str,
        query: &DocumentQuery,
    ) -> Result<List<Document>, ClientError> {
        self.get(
            &["v1", "collections", collection, "documents"],
            &query.pairs(),
        )
        .await
    }

    /// One document.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn document(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<Document, ClientError> {
        self.get(
            &[
                "v1",
                "collections",
                collection,
                "documents",
                &id.to_string(),
            ],
            &[],
        )
        .await
    }

    /// The chunks of a document's current version, in order.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn chunks(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<List<Chunk>, ClientError> {
        let id = id.to_string();
        let path = [
            "v1",
            "collections",
            collection,
            "documents",
            id.as_str(),
            "chunks",
        ];
        let (mut all, mut after) = (Vec::new(), Vec::new());
        loop {
            let page: List<Chunk> = self.get(&path, &after).await?;
            all.extend(page.data);
            match page.last_id.filter(|_| page.has_more) {
                Some(last) => after = vec![("after", last)],
                None => return Ok(List::whole(all)),
            }
        }
    }

    /// The parsed text of a document's current version, to which every span refers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn document_text(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<String, ClientError> {
        let path = [
            "v1",
            "collections",
            collection,
            "documents",
            &id.to_string(),
            "text",
        ];
        let response = self.send(|| self.request(Method::GET, &path, &[])).await?;
        response
            .text()
            .await
            .map_err(|source| self.unreachable(source))
    }

    /// Writes the original bytes of a document's current version to a file, and returns their number. The file
    /// appears under its name only when it is whole.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn download(
        &self,
        collection: &str,
        id: DocumentId,
        to: &Path,
    ) -> Result<u64, ClientError> {
        let path = [
            "v1",
            "collections",
            collection,
            "documents",
            &id.to_string(),
            "content",
        ];
        let response = self.send(|| self.request(Method::GET, &path, &[])).await?;
        self.save(response, to).await
    }

    /// Deletes a document from the catalog and from both indexes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_document(
        &self,
        collection: &str,
        id: DocumentId,
    ) -> Result<Deleted, ClientError> {
        self.delete(&[
            "v1",
            "collections",
            collection,
            "documents",
            &id.to_string(),
        ])
        .await
    }
}
