//! A collection of many chunks, brought in by the steps in which ingest brings them in.

use anyhow::{Context, Result, ensure};
use lore_catalog::{
    Activation, Catalog, Lease, NewCollection, NewVersion, Originals, ParsedVersion, Task,
};
use lore_index::{DenseIndex, EdgeDense, IndexedChunk, LexicalWriter, TantivyWriter};
use lore_types::{Chunk, ChunkId, DocumentFormat, Metadata, Span, document_fields};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The collection's name.
pub const COLLECTION: &str = "bench";
/// Length of its vectors.
pub const DIMENSIONS: usize = 384;
/// Chunks of one document.
const CHUNKS: usize = 20;
/// Documents that are written together.
const DOCUMENTS: usize = 50;

/// Where everything lies.
pub struct Folder(pub PathBuf);

impl Folder {
    /// The catalog.
    pub async fn catalog(&self) -> Result<Catalog> {
        Ok(Catalog::open(self.0.join("catalog.db")).await?)
    }

    /// The vector side.
    pub fn dense(&self) -> Result<EdgeDense> {
        Ok(EdgeDense::open(self.0.join("dense"))?)
    }

    /// The folder of the BM25 side.
    pub fn lexical(&self) -> PathBuf {
        self.0.join("lexical")
    }

    fn ids(&self) -> PathBuf {
        self.0.join("ids.json")
    }

    /// The chunks' ids, in the order of their texts; there once the collection is whole.
    pub fn chunk_ids(&self) -> Result<Option<Vec<ChunkId>>> {
        if !self.ids().is_file() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&std::fs::read(self.ids())?)?))
    }
}

/// Fills a folder that holds no whole collection yet.
///
/// # Errors
/// Where texts and vectors do not fit each other, and whatever catalog or index say.
pub async fn fill(folder: &Folder, texts: &Path, vectors: &Path) -> Result<Vec<ChunkId>> {
    if folder.0.exists() {
        std::fs::remove_dir_all(&folder.0)?; // half of an earlier one
    }
    std::fs::create_dir_all(&folder.0)?;
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(texts)?)?;
    let vectors = read_vectors(vectors)?;
    ensure!(
        texts.len() == vectors.len(),
        "{} texts came with {} vectors",
        texts.len(),
        vectors.len()
    );
    let filler = Filler::open(folder).await?;
    let mut ids = Vec::with_capacity(texts.len());
    let size = CHUNKS * DOCUMENTS;
    for (texts, vectors) in texts.chunks(size).zip(vectors.chunks(size)) {
        ids.extend(filler.add(ids.len(), texts, vectors).await?);
        if ids.len() % (10 * size) == 0 {
            eprintln!("lore: {} chunks", ids.len());
        }
    }
    filler.dense.optimize(COLLECTION).await?;
    std::fs::write(folder.ids(), serde_json::to_vec(&ids)?)?;
    Ok(ids)
}

/// Vectors of [`DIMENSIONS`] float32 numbers, little endian, one after the other.
pub fn read_vectors(path: &Path) -> Result<Vec<Vec<f32>>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let number = |bytes: &[u8]| bytes.try_into().map_or(f32::NAN, f32::from_le_bytes);
    let rows = bytes.chunks_exact(DIMENSIONS * 4);
    Ok(rows
        .map(|row| row.chunks_exact(4).map(number).collect())
        .collect())
}

struct Filler {
    catalog: Catalog,
    originals: Originals,
    dense: EdgeDense,
    lexical: TantivyWriter,
    lease: Lease,
}

impl Filler {
    async fn open(folder: &Folder) -> Result<Self> {
        let filler = Self {
            catalog: folder.catalog().await?,
            originals: Originals::open(folder.0.join("files")).await?,
            dense: folder.dense()?,
            lexical: TantivyWriter::open(folder.lexical())?,
            lease: Lease {
                owner: "bench".to_owned(),
                length: Duration::from_secs(3600),
            },
        };
        let new = NewCollection {
            name: COLLECTION.to_owned(),
            description: String::new(),
            embedder: "multilingual-e5-small".to_owned(),
            dimensions: u32::try_from(DIMENSIONS)?,
        };
        filler.catalog.create_collection(&new).await?;
        filler.dense.create(COLLECTION, new.dimensions).await?;
        filler.lexical.create(COLLECTION).await?;
        Ok(filler)
    }

    /// Adds documents that hold these chunks; gives the chunks' ids.
    async fn add(
        &self,
        first: usize,
        texts: &[String],
        vectors: &[Vec<f32>],
    ) -> Result<Vec<ChunkId>> {
        let mut uploads = Vec::new();
        for (number, texts) in texts.chunks(CHUNKS).enumerate() {
            uploads.push(self.upload(first / CHUNKS + number, texts).await?);
        }
        self.catalog
            .accept(COLLECTION, &uploads, u64::MAX >> 1)
            .await?;
        let mut work = Vec::new();
        let mut indexed = Vec::new();
        for (texts, upload) in texts.chunks(CHUNKS).zip(&uploads) {
            let task = self.catalog.claim(&self.lease).await?;
            let task = task.context("no job was queued")?;
            let (name, expected) = (&task.version.name, &upload.name);
            ensure!(name == expected, "`{name}` was claimed before `{expected}`");
            work.push(Activation {
                job: task.job.id,
                version: task.version.id,
            });
            indexed.extend(self.parse(&task, texts).await?);
        }
        self.catalog.begin_indexing(&self.lease, &work).await?;
        self.dense.upsert(COLLECTION, &indexed, vectors).await?;
        self.lexical.upsert(COLLECTION, &indexed).await?;
        self.lexical.commit(COLLECTION).await?;
        self.catalog.activate(&self.lease, &work).await?;
        let done: Vec<_> = work.iter().map(|one| (one.job, [].as_slice())).collect();
        self.catalog.finish(&self.lease, &done).await?;
        Ok(indexed.iter().map(|one| one.chunk.id).collect())
    }

    async fn upload(&self, number: usize, texts: &[String]) -> Result<NewVersion> {
        let text = texts.join("\n\n");
        Ok(NewVersion {
            name: format!("document {number:06}"),
            original: self.originals.keep(text.as_bytes()).await?,
            media_type: None,
            declared: None,
            metadata: Metadata::new(),
        })
    }

    async fn parse(&self, task: &Task, texts: &[String]) -> Result<Vec<IndexedChunk>> {
        let version = &task.version;
        let (document_id, version_id) = (version.document_id, version.id);
        let mut start = 0;
        let mut chunks = Vec::new();
        for (text, ordinal) in texts.iter().zip(0..) {
            let span = Span::new(start, start + text.len());
            start = span.end + 2;
            chunks.push(Chunk {
                id: ChunkId::derive(version_id, ordinal),
                document_id,
                version_id,
                ordinal,
                span,
                text: text.clone(),
                heading: Vec::new(),
                page: None,
                tokens: u32::try_from(text.len() / 4)?,
            });
        }
        let parsed = ParsedVersion {
            text: texts.join("\n\n"),
            format: DocumentFormat::Text,
            language: None,
            title: None,
            pages: None,
            warnings: Vec::new(),
        };
        let stored = self
            .catalog
            .store_parsed(&self.lease, task.job.id, version_id, &parsed, &chunks)
            .await?;
        ensure!(stored, "the job of {} is no longer ours", version.name);
        let format = Some(DocumentFormat::Text);
        let fields = document_fields(&version.metadata, document_id, &version.name, format, None);
        let indexed = chunks.into_iter().map(|chunk| IndexedChunk {
            chunk,
            title: String::new(),
            fields: fields.clone(),
        });
        Ok(indexed.collect())
    }
}
