//! From a leased job to a prepared version: read it, embed its chunks.

use crate::error::{Trouble, chain, reason};
use crate::prepared::Prepared;
use crate::read::{Read, known, read};
use crate::state::State;
use lore_catalog::{StoredVersion, Task};
use lore_embed::{EmbedError, EmbedPool};
use lore_index::IndexedChunk;
use lore_telemetry::names::INGEST_STAGE_SECONDS;
use lore_types::{Chunk, JobStage, document_fields};
use std::time::{Duration, Instant};

/// How often a job's progress is written at most.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Share of the work that is done when embedding begins, and when it ends.
pub(crate) const EMBEDDING: (f32, f32) = (0.2, 0.9);

/// Prepares a version; `None` where the job is no longer ours.
pub(crate) async fn prepare(state: &State, task: &Task) -> Result<Option<Prepared>, Trouble> {
    let pool = embedder(state, &task.version).await?;
    let read = if task.version.parsed {
        known(state, task).await?
    } else {
        read(state, task, &pool).await?
    };
    let Some(mut read) = read else {
        return Ok(None);
    };
    let began = Instant::now();
    let Some(vectors) = embed(state, task, &pool, &mut read).await? else {
        return Ok(None);
    };
    took("embedding", began);
    let fields = document_fields(
        &task.version.metadata,
        task.version.document_id,
        &task.version.name,
        read.format,
        read.language.as_deref(),
    );
    let title = read.title.unwrap_or_default();
    let indexed = |chunk| IndexedChunk {
        chunk,
        title: title.clone(),
        fields: fields.clone(),
    };
    let chunks = read.chunks.into_iter().map(indexed).collect();
    Ok(Some(Prepared {
        task: task.clone(),
        chunks,
        vectors,
        warnings: read.warnings,
    }))
}

async fn embedder(state: &State, version: &StoredVersion) -> Result<EmbedPool, Trouble> {
    let pool = state
        .embedders
        .get(&version.embedder)
        .await
        .map_err(|error| unusable(&version.embedder, &error))?;
    if pool.info().dimensions == version.dimensions as usize {
        return Ok(pool);
    }
    let message = format!(
        "collection `{}` holds vectors of {} dimensions, but its embedder `{}` now gives {}",
        version.collection,
        version.dimensions,
        version.embedder,
        pool.info().dimensions
    );
    let hint =
        "put the model back that the collection was made with, or make a new collection".to_owned();
    Err(Trouble::Document(reason(
        "embedding_failed",
        message,
        Some(hint),
    )))
}

fn unusable(name: &str, error: &EmbedError) -> Trouble {
    if error.is_missing_model() {
        let hint = format!("run `lore models pull {name}`, then upload the document again");
        return Trouble::Passing(reason("model_not_installed", chain(error), Some(hint)));
    }
    Trouble::Passing(reason("embedding_failed", chain(error), None))
}

/// Embeds all chunks, batch by batch; `None` where the job is no longer ours.
async fn embed(
    state: &State,
    task: &Task,
    pool: &EmbedPool,
    read: &mut Read,
) -> Result<Option<Vec<Vec<f32>>>, Trouble> {
    let mut vectors = Vec::with_capacity(read.chunks.len());
    let mut written = Instant::now();
    for batch in read.chunks.chunks(state.settings.embed_batch.max(1)) {
        if written.elapsed() >= PROGRESS_EVERY {
            let share = vectors.len() as f32 / read.chunks.len() as f32;
            let share = EMBEDDING.0 + share * (EMBEDDING.1 - EMBEDDING.0);
            if !state
                .advance(task.job.id, JobStage::Embedding, share)
                .await?
            {
                return Ok(None);
            }
            written = Instant::now();
        }
        vectors.extend(embed_batch(&task.version, pool, batch, &mut read.warnings).await?);
    }
    Ok(Some(vectors))
}

async fn embed_batch(
    version: &StoredVersion,
    pool: &EmbedPool,
    batch: &[Chunk],
    warnings: &mut Vec<String>,
) -> Result<Vec<Vec<f32>>, Trouble> {
    let mut texts: Vec<String> = batch.iter().map(|chunk| chunk.text.clone()).collect();
    loop {
        match pool.embed_passages_waiting(texts.clone()).await {
            Ok(embeddings) => {
                for index in embeddings.truncated {
                    let ordinal = batch.get(index).map_or(0, |chunk| chunk.ordinal);
                    warnings.push(format!(
                        "chunk {ordinal} is longer than the embedder reads; its end has no vector"
                    ));
                }
                return Ok(embeddings.vectors);
            }
            // A chunk of signs that the model does not know is found by its document's name at least.
            Err(EmbedError::NoVector { index, .. })
                if texts.get(index).is_some_and(|text| *text != version.name) =>
            {
                let ordinal = batch.get(index).map_or(0, |chunk| chunk.ordinal);
                warnings.push(format!(
                    "the embedder knows no sign of chunk {ordinal}; its vector is that of the name"
                ));
                version.name.clone_into(&mut texts[index]);
            }
            Err(error) => {
                return Err(Trouble::Passing(reason(
                    "embedding_failed",
                    chain(&error),
                    None,
                )));
            }
        }
    }
}

/// Notes how long a stage took.
pub(crate) fn took(stage: &'static str, began: Instant) {
    metrics::histogram!(INGEST_STAGE_SECONDS, "stage" => stage)
        .record(began.elapsed().as_secs_f64());
}
