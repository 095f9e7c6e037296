//! Reading a version: its original through the parser and the chunker, or the catalog where an earlier attempt got so far.

use crate::chunk::{ChunkSettings, Tokens, chunk};
use crate::error::{Trouble, is_waiting, reason};
use crate::parse::{ParseError, ParseRequest, Parsed};
use crate::prepare::{EMBEDDING, PROGRESS_EVERY, took};
use crate::state::State;
use lore_catalog::{ParsedVersion, StoredVersion, Task};
use lore_embed::{EmbedPool, EmbedTokenizer, TokenCounter};
use lore_types::{Chunk, ChunkId, DocumentFormat, JobStage};
use std::time::Instant;

/// A version's chunks with what is known of its text.
pub(crate) struct Read {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) title: Option<String>,
    pub(crate) format: Option<DocumentFormat>,
    pub(crate) language: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// The chunks that an earlier attempt left in the catalog.
pub(crate) async fn known(state: &State, task: &Task) -> Result<Option<Read>, Trouble> {
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

/// Reads the original and keeps what that gave in the catalog; `None` where the job is no longer ours.
pub(crate) async fn read(
    state: &State,
    task: &Task,
    pool: &EmbedPool,
) -> Result<Option<Read>, Trouble> {
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
