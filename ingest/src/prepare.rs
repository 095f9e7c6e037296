//! From a leased job to a prepared version: read the original, cut the text, embed the chunks.

use crate::chunk::{ChunkSettings, Tokens, chunk};
use crate::error::{Trouble, chain, is_waiting, reason};
use crate::parse::{ParseError, ParseRequest, Parsed};
use crate::prepared::Prepared;
use crate::state::State;
use lore_catalog::{ParsedVersion, StoredVersion, Task};
use lore_embed::{EmbedError, EmbedPool, EmbedTokenizer, TokenCounter};
use lore_index::IndexedChunk;
use lore_telemetry::names::INGEST_STAGE_SECONDS;
use lore_types::{Chunk, ChunkId, DocumentFormat, JobStage, document_fields};
use std::time::{Duration, Instant};

/// How often a job's progress is written at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Share of the work that is done when embedding begins, and when it ends.
const EMBEDDING: (f32, f32) = (0.2, 0.9);

/// A document's text with what is known of it, in either of two ways: just read, or read by an earlier attempt.
struct Read {
    chunks: Vec<Chunk>,
    title: Option<String>,
    format: Option<DocumentFormat>,
    language: Option<String>,
    warnings: Vec<String>,
}

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

/// The chunks that an earlier attempt left in the catalog.
async fn known(state: &State, task: &Task) -> Result<Option<Read>, Trouble> {
    if !state
        .advance(task.job.id, JobStage::Embedding, EMBEDDING.0)
        .await?
    {
        return Ok(None);
    }
    let version = &task.version;
    Ok(Some(Read {
        chunks: state.catalog.chunks(version.id, 0, u32::MAX).await?,
        title: version.title.clone(),
        format: version.format,
        language: version.language.clone(),
        warnings: task
            .job
            .warnings
            .iter()
            .filter(|warning| !is_waiting(warning))
            .cloned()
            .collect(),
    }))
}

async fn read(state: &State, task: &Task, pool: &EmbedPool) -> Result<Option<Read>, Trouble> {
    state.feed.changed(task.job.id);
    let began = Instant::now();
    let parsed = state
        .parser
        .parse(&request(state, &task.version))
        .await
        .map_err(unreadable)?;
    took("parsing", began);
    // Worth a write only where somebody may be watching by now.
    if began.elapsed() >= PROGRESS_EVERY
        && !state
            .advance(task.job.id, JobStage::Chunking, EMBEDDING.0 / 2.0)
            .await?
    {
        return Ok(None);
    }
    let began = Instant::now();
    let (parsed, chunks) = cut(state, &task.version, pool, parsed).await?;
    took("chunking", began);
    keep(state, task, parsed, chunks).await
}

fn request(state: &State, version: &StoredVersion) -> ParseRequest {
    ParseRequest {
        path: state.originals.path(&version.content_hash),
        name: version.name.clone(),
        declared_type: version
            .declared
            .clone()
            .or_else(|| version.media_type.clone()),
    }
}

fn unreadable(error: ParseError) -> Trouble {
    let failure = reason(error.code(), error.to_string(), error.hint());
    if error.is_transient() {
        Trouble::Passing(failure)
    } else {
        Trouble::Document(failure)
    }
}

/// The embedder's tokens as the chunker counts them.
struct EmbedderTokens(EmbedTokenizer);

impl Tokens for EmbedderTokens {
    fn count(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
        self.0.token_offsets(text)
    }

    fn overhead(&self) -> usize {
        self.0.special_tokens()
    }
}

async fn cut(
    state: &State,
    version: &StoredVersion,
    pool: &EmbedPool,
    parsed: Parsed,
) -> Result<(Parsed, Vec<Chunk>), Trouble> {
    let tokens = EmbedderTokens(pool.tokenizer().clone());
    let settings = ChunkSettings {
        max_tokens: state.settings.max_chunk_tokens.min(tokens.0.max_tokens()),
        overlap_tokens: state.settings.overlap_tokens,
    };
    let work = move || {
        let drafts = chunk(&parsed, &tokens, settings);
        (parsed, drafts)
    };
    let (parsed, drafts) = tokio::task::spawn_blocking(work).await.map_err(|error| {
        Trouble::Document(reason(
            "chunking_failed",
            format!("cutting the text failed: {error}"),
            None,
        ))
    })?;
    let mut chunks = Vec::with_capacity(drafts.len());
    for (draft, ordinal) in drafts.into_iter().zip(0..) {
        let Some(text) = draft.span.of(&parsed.text) else {
            let message = format!(
                "chunk {ordinal} covers bytes {:?} that the text does not have",
                draft.span.range()
            );
            return Err(Trouble::Document(reason("chunking_failed", message, None)));
        };
        chunks.push(Chunk {
            id: ChunkId::derive(version.id, ordinal),
            document_id: version.document_id,
            version_id: version.id,
            ordinal,
            span: draft.span,
            text: text.to_owned(),
            heading: draft.heading,
            page: draft.page,
            tokens: u32::try_from(draft.tokens).unwrap_or(u32::MAX),
        });
    }
    if chunks.is_empty() {
        let hint = "send a file that holds text".to_owned();
        return Err(Trouble::Document(reason(
            "no_chunks",
            "the document holds nothing to index",
            Some(hint),
        )));
    }
    Ok((parsed, chunks))
}

async fn keep(
    state: &State,
    task: &Task,
    parsed: Parsed,
    chunks: Vec<Chunk>,
) -> Result<Option<Read>, Trouble> {
    let pages = u32::try_from(parsed.pages.len()).unwrap_or(u32::MAX);
    let stored = ParsedVersion {
        text: parsed.text,
        format: parsed.format,
        language: parsed.language,
        title: parsed.title,
        pages: (pages > 0).then_some(pages),
        warnings: parsed.warnings,
    };
    let (job, version) = (task.job.id, task.version.id);
    if !state
        .catalog
        .store_parsed(&state.lease, job, version, &stored, &chunks)
        .await?
    {
        return Ok(None);
    }
    state.feed.changed(job);
    Ok(Some(Read {
        chunks,
        title: stored.title,
        format: Some(stored.format),
        language: stored.language,
        warnings: stored.warnings,
    }))
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

fn took(stage: &'static str, began: Instant) {
    metrics::histogram!(INGEST_STAGE_SECONDS, "stage" => stage)
        .record(began.elapsed().as_secs_f64());
}
