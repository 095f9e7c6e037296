//! The dense side past one machine: a Qdrant server or cluster, over gRPC.

mod call;
mod collection;
mod request;
mod version;

use crate::terms::TermFilter;
use crate::ties::Ties;
use crate::vectors::{check_length, check_query, check_vectors};
use crate::{Candidate, DenseIndex, IndexError, IndexedChunk, IndexedId};
use async_trait::async_trait;
use call::Server;
use lore_types::{Filter, VersionId};
use qdrant_client::qdrant::PointId;
use std::time::{Duration, Instant};

/// Points that one request writes: some megabytes with vectors of 1,024 numbers.
const BATCH: usize = 256;
/// Longest wait for a server's optimizers.
const LONGEST_OPTIMIZING: Duration = Duration::from_secs(3600);

/// How to reach a Qdrant server.
#[derive(Clone)]
pub struct ServerSettings {
    /// Its gRPC address, such as `http://127.0.0.1:6334`.
    pub url: String,
    /// Its API key, where it asks for one.
    pub api_key: Option<String>,
    /// Stands before the names of Lore's collections on the server, which may hold others.
    pub prefix: String,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

impl ServerSettings {
    /// A server without a key, the prefix `lore_` and 30 seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            api_key: None,
            prefix: "lore_".to_owned(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// The dense side of every collection on a Qdrant server, 1.16 or later. Any number of processes.
#[derive(Clone)]
pub struct ServerDense {
    server: Server,
}

impl ServerDense {
    /// Connects, and checks that the server is one that Lore can use.
    ///
    /// # Errors
    /// [`IndexError::Unreachable`], [`IndexError::Unusable`].
    pub async fn connect(settings: ServerSettings) -> Result<Self, IndexError> {
        let dense = Self {
            server: Server::new(settings)?,
        };
        dense.check().await?;
        Ok(dense)
    }
}

#[async_trait]
impl DenseIndex for ServerDense {
    async fn create(&self, collection: &str, dimensions: u32) -> Result<(), IndexError> {
        if dimensions == 0 {
            return Err(IndexError::Vectors(format!(
                "collection `{collection}` cannot hold vectors of no numbers"
            )));
        }
        if self.info(collection).await?.is_none() {
            let request = request::create(self.server.name(collection)?, dimensions);
            let created = self
                .server
                .call("create", collection, || {
                    self.server.client.create_collection(request.clone())
                })
                .await;
            // Another process may have been faster: what is there now decides.
            if created.is_err() && self.info(collection).await?.is_none() {
                return created.map(|_| ());
            }
        }
        let (info, actual) = self.existing(collection).await?;
        check_length(collection, actual, dimensions)?;
        self.create_indexes(collection, &info).await
    }

    async fn drop_collection(&self, collection: &str) -> Result<(), IndexError> {
        let name = self.server.name(collection)?;
        match self
            .server
            .call("remove", collection, || {
                self.server.client.delete_collection(name.clone())
            })
            .await
        {
            Ok(_) | Err(IndexError::NoCollection { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn collections(&self) -> Result<Vec<String>, IndexError> {
        let answer = self
            .server
            .call("list", "", || self.server.client.list_collections())
            .await?;
        let names = answer
            .collections
            .iter()
            .filter_map(|found| self.server.collection(&found.name));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn upsert(
        &self,
        collection: &str,
        chunks: &[IndexedChunk],
        vectors: &[Vec<f32>],
    ) -> Result<(), IndexError> {
        let length = check_vectors(chunks, vectors)?;
        let (_, dimensions) = self.existing(collection).await?;
        let Some(length) = length else { return Ok(()) };
        check_length(collection, dimensions, length)?;
        let name = self.server.name(collection)?;
        for (chunks, vectors) in chunks.chunks(BATCH).zip(vectors.chunks(BATCH)) {
            let request = request::upsert(&name, chunks, vectors)
                .ok_or_else(|| IndexError::Vectors("a payload is not an object".to_owned()))?;
            self.server
                .call("write to", collection, || {
                    self.server.client.upsert_points(request.clone())
                })
                .await?;
        }
        Ok(())
    }

    async fn remove_versions(
        &self,
        collection: &str,
        versions: &[VersionId],
    ) -> Result<(), IndexError> {
        if versions.is_empty() {
            return Ok(());
        }
        let request = request::remove(self.server.name(collection)?, versions);
        match self
            .server
            .call("write to", collection, || {
                self.server.client.delete_points(request.clone())
            })
            .await
        {
            Ok(_) | Err(IndexError::NoCollection { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn search(
        &self,
        collection: &str,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let filter = filter.map_or(TermFilter::All, TermFilter::of);
        let (info, dimensions) = self.existing(collection).await?;
        check_query(collection, dimensions, vector)?;
        let limit =
            limit.min(usize::try_from(info.points_count.unwrap_or_default()).unwrap_or(usize::MAX));
        if limit == 0 || filter == TermFilter::None {
            return Ok(Vec::new());
        }
        let name = self.server.name(collection)?;
        let mut ties = Ties::new(limit);
        loop {
            let request = request::search(&name, vector, &filter, ties.ask);
            let found = self
                .server
                .call("search", collection, || {
                    self.server.client.query(request.clone())
                })
                .await?
                .result;
            let found: Option<Vec<_>> = found.iter().map(request::candidate).collect();
            if let Some(candidates) =
                ties.settle(found.ok_or_else(|| self.server.foreign(collection))?)
            {
                return Ok(candidates);
            }
        }
    }

    async fn chunks(&self, collection: &str) -> Result<Vec<IndexedId>, IndexError> {
        let name = self.server.name(collection)?;
        let mut chunks = Vec::new();
        let mut offset: Option<PointId> = None;
        loop {
            let request = request::scroll(&name, offset.take());
            let page = self
                .server
                .call("read", collection, || {
                    self.server.client.scroll(request.clone())
                })
                .await?;
            let found: Option<Vec<_>> = page.result.iter().map(request::indexed).collect();
            chunks.extend(found.ok_or_else(|| self.server.foreign(collection))?);
            offset = page.next_page_offset;
            if offset.is_none() {
                chunks.sort_unstable();
                return Ok(chunks);
            }
        }
    }

    /// Waits until the server's own optimizers have ended.
    async fn optimize(&self, collection: &str) -> Result<(), IndexError> {
        let started = Instant::now();
        let mut calm = 0;
        // Green twice: right after a write the optimizers may not have begun.
        while calm < 2 {
            calm = if self.is_optimized(collection).await? {
                calm + 1
            } else {
                0
            };
            if started.elapsed() > LONGEST_OPTIMIZING {
                return Err(self.server.refused(
                    "optimize",
                    collection,
                    "it did not end within an hour",
                ));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), IndexError> {
        let answer = self
            .server
            .call("check", "", || self.server.client.health_check())
            .await?;
        version::check(&answer.version).map_err(|reason| self.server.unusable(reason))
    }
}
