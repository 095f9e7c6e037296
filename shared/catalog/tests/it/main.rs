//! The catalog on a real SQLite file.
mod accept;
mod concurrency;
mod originals;
mod training;
mod versions;
mod work;

use lore_catalog::{
    Activation, Catalog, Lease, NewCollection, NewVersion, Originals, ParsedVersion, Task,
};
use lore_types::{Accepted, Chunk, ChunkId, DocumentFormat, Metadata, Span};
use std::time::Duration;
use tempfile::TempDir;

/// A catalog in its own folder, with the collection `docs`.
struct Fixture {
    catalog: Catalog,
    originals: Originals,
    lease: Lease,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let catalog = Catalog::open(folder.path().join("catalog.db"))
            .await
            .expect("a new catalog");
        let originals = Originals::open(folder.path().join("files"))
            .await
            .expect("a folder for originals");
        catalog
            .create_collection(&collection("docs"))
            .await
            .expect("a new collection");
        Self {
            catalog,
            originals,
            lease: lease("worker-1"),
            folder,
        }
    }

    async fn upload(&self, name: &str, text: &str) -> Accepted {
        self.upload_with(name, text, Metadata::new()).await
    }

    async fn upload_with(&self, name: &str, text: &str, metadata: Metadata) -> Accepted {
        let new = self.new_version(name, text, metadata).await;
        self.catalog
            .accept("docs", &[new], 100)
            .await
            .expect("an accepted upload")
            .remove(0)
    }

    async fn new_version(&self, name: &str, text: &str, metadata: Metadata) -> NewVersion {
        let original = self
            .originals
            .keep(text.as_bytes())
            .await
            .expect("kept bytes");
        NewVersion {
            name: name.to_owned(),
            original,
            media_type: None,
            declared: None,
            metadata,
        }
    }

    async fn claim(&self) -> Option<Task> {
        self.catalog.claim(&self.lease).await.expect("a claim")
    }

    /// Does a worker's part for the next job up to the point before the flip.
    async fn prepare(&self) -> (Task, Activation) {
        let task = self.claim().await.expect("a waiting job");
        let (parsed, chunks) = parsed(&task);
        let (job, version) = (task.job.id, task.version.id);
        let kept = self
            .catalog
            .store_parsed(&self.lease, job, version, &parsed, &chunks)
            .await
            .expect("stored");
        assert!(kept, "the job is ours");
        let activation = Activation { job, version };
        let own = self
            .catalog
            .begin_indexing(&self.lease, &[activation])
            .await
            .expect("begun");
        assert_eq!(own, [activation]);
        (task, activation)
    }

    /// Does a worker's whole part for the next job.
    async fn index_next(&self) -> Task {
        let (task, activation) = self.prepare().await;
        assert_eq!(
            self.catalog
                .activate(&self.lease, &[activation])
                .await
                .expect("flipped"),
            [activation]
        );
        self.catalog
            .finish(&self.lease, &[(activation.job, &[])])
            .await
            .expect("finished");
        task
    }

    /// Does the indexer's part for everything that is to leave the indexes.
    async fn remove_all(&self) {
        let removals = self.catalog.removals(100).await.expect("removals");
        self.catalog.removed(&removals).await.expect("removed");
    }

    /// The texts of `docs` that can be found, of all chunks ever made from `accepted`.
    async fn found(&self, accepted: &[&Accepted]) -> Vec<String> {
        let ids: Vec<_> = accepted.iter().map(|accepted| chunk_id(accepted)).collect();
        let hydrated = self.catalog.passages("docs", &ids).await.expect("passages");
        assert_eq!(hydrated.passages.len() + hydrated.stale, ids.len());
        hydrated
            .passages
            .into_iter()
            .map(|passage| passage.text)
            .collect()
    }
}

fn lease(owner: &str) -> Lease {
    Lease {
        owner: owner.to_owned(),
        length: Duration::from_secs(60),
    }
}

fn collection(name: &str) -> NewCollection {
    NewCollection {
        name: name.to_owned(),
        description: String::new(),
        embedder: "all-minilm-l6-v2".to_owned(),
        dimensions: 384,
    }
}

fn chunk_id(accepted: &Accepted) -> ChunkId {
    ChunkId::derive(
        lore_types::VersionId::derive(accepted.document_id, accepted.version),
        0,
    )
}

/// One chunk that covers a text named after the version.
fn parsed(task: &Task) -> (ParsedVersion, Vec<Chunk>) {
    let text = format!("{} v{}", task.version.name, task.version.number);
    let chunk = Chunk {
        id: ChunkId::derive(task.version.id, 0),
        document_id: task.version.document_id,
        version_id: task.version.id,
        ordinal: 0,
        span: Span::new(0, text.len()),
        text: text.clone(),
        heading: vec!["Top".to_owned()],
        page: Some(1),
        tokens: 3,
    };
    let parsed = ParsedVersion {
        text,
        format: DocumentFormat::Markdown,
        language: Some("en".to_owned()),
        title: Some("Title".to_owned()),
        pages: None,
        warnings: Vec::new(),
    };
    (parsed, vec![chunk])
}

fn metadata(value: serde_json::Value) -> Metadata {
    value.as_object().expect("an object").clone()
}
