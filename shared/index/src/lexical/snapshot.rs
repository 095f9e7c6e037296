use super::query::query;
use super::schema::{CHUNK, DOCUMENT, FORMAT, Fields, VERSION, uuid};
use crate::folder::{damaged, folder, read_mark};
use crate::terms::TermFilter;
use crate::ties::Ties;
use crate::{Candidate, IndexError, IndexedId};
use lore_types::{ChunkId, DocumentId, Filter, VersionId};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tantivy::collector::TopDocs;
use tantivy::columnar::Column;
use tantivy::{DocId, Index, IndexReader, ReloadPolicy, Searcher, SegmentReader};

/// The state of a folder and of the commit in it: equal stamps, same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    folder: u64,
    commit: (u64, i64, i64, u64),
}

/// An open collection of the lexical side, kept at its last commit.
pub(super) struct Snapshot {
    collection: String,
    path: PathBuf,
    folder: u64,
    reader: IndexReader,
    fields: Fields,
    seen: Mutex<Stamp>,
}

impl Snapshot {
    /// Opens a collection.
    ///
    /// # Errors
    /// [`IndexError::NoCollection`], [`IndexError::Damaged`].
    pub(super) fn open(root: &Path, collection: &str) -> Result<Self, IndexError> {
        let path = folder(root, collection)?;
        let missing = || IndexError::NoCollection {
            collection: collection.to_owned(),
            side: "lexical",
        };
        read_mark(&path, FORMAT)?.ok_or_else(missing)?;
        let stamp = stamp(&path)?.ok_or_else(missing)?;
        let index = Index::open_in_dir(&path).map_err(|error| damaged(&path, error))?;
        let builder = index.reader_builder().reload_policy(ReloadPolicy::Manual);
        let reader = builder
            .try_into()
            .map_err(|error: tantivy::TantivyError| damaged(&path, error))?;
        let (_, fields) = Fields::schema();
        let seen = Mutex::new(stamp);
        Ok(Self {
            collection: collection.to_owned(),
            path,
            folder: stamp.folder,
            reader,
            fields,
            seen,
        })
    }

    /// Whether the folder is still the one that was opened; if so, the last commit in it is what is read from now on.
    pub(super) fn refresh(&self) -> Result<bool, IndexError> {
        let Some(now) = stamp(&self.path)?.filter(|now| now.folder == self.folder) else {
            return Ok(false);
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != now {
            self.reader
                .reload()
                .map_err(|error| self.failed("read", error))?;
            *seen = now;
        }
        Ok(true)
    }

    /// The best `limit` chunks for a question.
    pub(super) fn search(
        &self,
        question: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let filter = filter.map_or(TermFilter::All, TermFilter::of);
        let searcher = self.reader.searcher();
        let limit = limit.min(usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX));
        let Some(query) = query(&self.fields, question, &filter).filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let mut ties = Ties::new(limit);
        loop {
            let top = TopDocs::with_limit(ties.ask).order_by_score();
            let found = searcher
                .search(&*query, &top)
                .map_err(|error| self.failed("search", error))?;
            let columns = self.columns(&searcher)?;
            let found = found
                .into_iter()
                .map(|(score, at)| columns[at.segment_ord as usize].candidate(at.doc_id, score));
            if let Some(candidates) = ties.settle(found.collect()) {
                return Ok(candidates);
            }
        }
    }

    /// Every chunk, ordered by id.
    pub(super) fn chunks(&self) -> Result<Vec<IndexedId>, IndexError> {
        let searcher = self.reader.searcher();
        let mut chunks = Vec::new();
        for (segment, columns) in searcher
            .segment_readers()
            .iter()
            .zip(self.columns(&searcher)?)
        {
            chunks.extend(segment.doc_ids_alive().map(|document| columns.id(document)));
        }
        chunks.sort_unstable();
        Ok(chunks)
    }

    fn columns(&self, searcher: &Searcher) -> Result<Vec<Columns>, IndexError> {
        let columns: tantivy::Result<Vec<_>> =
            searcher.segment_readers().iter().map(Columns::of).collect();
        columns.map_err(|error| self.failed("read", error))
    }

    fn failed(&self, doing: &'static str, error: tantivy::TantivyError) -> IndexError {
        IndexError::Engine {
            doing,
            collection: self.collection.clone(),
            source: Box::new(error),
        }
    }
}

/// The ids of one segment's chunks.
struct Columns {
    chunk: [Column<u64>; 2],
    version: [Column<u64>; 2],
    document: [Column<u64>; 2],
}

impl Columns {
    fn of(segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let pair = |names: [&str; 2]| {
            Ok::<_, tantivy::TantivyError>([columns.u64(names[0])?, columns.u64(names[1])?])
        };
        Ok(Self {
            chunk: pair(CHUNK)?,
            version: pair(VERSION)?,
            document: pair(DOCUMENT)?,
        })
    }

    fn id(&self, at: DocId) -> IndexedId {
        IndexedId {
            chunk_id: ChunkId(value(&self.chunk, at)),
            version_id: VersionId(value(&self.version, at)),
            document_id: DocumentId(value(&self.document, at)),
        }
    }

    fn candidate(&self, at: DocId, score: f32) -> Candidate {
        Candidate {
            chunk_id: ChunkId(value(&self.chunk, at)),
            version_id: VersionId(value(&self.version, at)),
            score,
        }
    }
}

fn value(columns: &[Column<u64>; 2], at: DocId) -> uuid::Uuid {
    uuid([0, 1].map(|half| columns[half].first(at).unwrap_or_default()))
}

/// The stamp of a collection's folder; `None` where there is no folder.
fn stamp(path: &Path) -> Result<Option<Stamp>, IndexError> {
    let Some(folder) = metadata(path)? else {
        return Ok(None);
    };
    let Some(commit) = metadata(&path.join("meta.json"))? else {
        return if metadata(path)?.is_none() {
            Ok(None)
        } else {
            Err(damaged(path, "meta.json is missing"))
        };
    };
    let commit = (
        commit.ino(),
        commit.mtime(),
        commit.mtime_nsec(),
        commit.len(),
    );
    Ok(Some(Stamp {
        folder: folder.ino(),
        commit,
    }))
}

fn metadata(path: &Path) -> Result<Option<Metadata>, IndexError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(crate::folder::io("read", path, source)),
    }
}
