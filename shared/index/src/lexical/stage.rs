use super::schema::{FORMAT, Fields};
use crate::IndexError;
use crate::IndexedChunk;
use crate::folder::{damaged, read_mark};
use lore_types::VersionId;
use std::path::Path;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexWriter};

/// Memory for chunks that are not yet on disk; beyond it Tantivy writes them out, invisibly, before the commit.
const MEMORY_BYTES: usize = 64 << 20;
/// A stage of more chunks than this is committed early, so that neither memory nor the loss in a crash grows without end.
const MOST_STAGED: usize = 10_000;
/// Share of removed chunks in a segment from which it is written anew.
const MOST_REMOVED: f32 = 0.2;

/// One staged change.
enum Change {
    Upsert(Vec<IndexedChunk>),
    Remove(Vec<VersionId>),
}

/// A collection open for writing, with what was staged since its last commit.
///
/// # Guarantees
/// A commit that succeeds has all of it, even where Tantivy's writer failed in between (a full disk, say): the stage is
/// then played again into a new writer. A dropped stage has no thread left that writes, unless its writer had failed: such a
/// one does not wait for its merges, whose results are thrown away.
pub(super) struct Stage {
    index: Index,
    fields: Fields,
    writer: Option<IndexWriter>,
    staged: Vec<Change>,
}

impl Stage {
    /// Opens the collection in `folder`; `None` where there is none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, IndexError> {
        if read_mark(folder, FORMAT)?.is_none() {
            return Ok(None);
        }
        let index = Index::open_in_dir(folder).map_err(|error| damaged(folder, error))?;
        let (schema, fields) = Fields::schema();
        if index.schema() != schema {
            return Err(damaged(folder, "its fields are not those of this Lore"));
        }
        Ok(Some(Self {
            index,
            fields,
            writer: None,
            staged: Vec::new(),
        }))
    }

    /// Whether a commit has nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Stages chunks in place of those with the same ids.
    pub(super) fn upsert(&mut self, chunks: Vec<IndexedChunk>) -> tantivy::Result<()> {
        self.stage(Change::Upsert(chunks))
    }

    /// Stages the removal of versions.
    pub(super) fn remove(&mut self, versions: Vec<VersionId>) -> tantivy::Result<()> {
        self.stage(Change::Remove(versions))
    }

    /// Commits what is staged.
    pub(super) fn commit(&mut self) -> tantivy::Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        let result = self.try_commit();
        if result.is_err() {
            self.end_writer();
        } else {
            self.staged.clear();
        }
        result
    }

    /// Ends the writer once its merges are done. Merely dropped, it would leave threads behind that remove the files of its
    /// successor, which they do not know.
    fn end_writer(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        // For one that failed, which does not wait for its merges: what it had begun to tidy up is over after this.
        let _ = writer.garbage_collect_files().wait();
        if let Err(error) = writer.wait_merging_threads() {
            tracing::warn!(%error, "the writer of a lexical index did not end well");
        }
    }

    fn stage(&mut self, change: Change) -> tantivy::Result<()> {
        self.staged.push(change);
        if self.writer.is_some() {
            let result = self.play(self.staged.len() - 1);
            if result.is_err() {
                self.end_writer();
            }
            result?;
        }
        let staged: usize = self.staged.iter().map(Change::chunks).sum();
        if staged >= MOST_STAGED {
            self.commit()
        } else {
            self.ready()
        }
    }

    fn try_commit(&mut self) -> tantivy::Result<()> {
        self.ready()?;
        match &mut self.writer {
            Some(writer) => writer.commit().map(|_| ()),
            None => Ok(()),
        }
    }

    /// Makes sure of a writer that has seen all that is staged.
    fn ready(&mut self) -> tantivy::Result<()> {
        if self.writer.is_some() {
            return Ok(());
        }
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1);
        let writer = self
            .index
            .writer_with_options(options.memory_budget_per_thread(MEMORY_BYTES).build())?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(MOST_REMOVED);
        writer.set_merge_policy(Box::new(policy));
        // A writer numbers its changes on from the last commit, its first like the commit itself. A removal of that number
        // is taken for done in segments that lost chunks with the commit; so nothing at all gets it.
        writer.run([])?;
        self.writer = Some(writer);
        let result = self.play(0);
        if result.is_err() {
            self.end_writer();
        }
        result
    }

    /// Hands the staged changes from `first` on to the writer.
    fn play(&self, first: usize) -> tantivy::Result<()> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        for change in self.staged.iter().skip(first) {
            match change {
                Change::Upsert(chunks) => {
                    for chunk in chunks {
                        writer.delete_term(self.fields.chunk_term(chunk.chunk.id));
                        writer.add_document(self.fields.document(chunk))?;
                    }
                }
                Change::Remove(versions) => {
                    for version in versions {
                        writer.delete_term(self.fields.version_term(*version));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_writer();
    }
}

impl Change {
    fn chunks(&self) -> usize {
        match self {
            Self::Upsert(chunks) => chunks.len(),
            Self::Remove(_) => 1,
        }
    }
}
