//! From a question to its candidates: both sides at once, what cannot be found any more left out, joined by fusion.

use crate::error::GatewayError;
use crate::state::GatewayState;
use lore_catalog::StoredPassage;
use lore_embed::EmbedPool;
use lore_index::Candidate;
use lore_retrieval::{DenseEvidence, Fused, dense_only, lexical_only, reciprocal_rank_fusion};
use lore_types::{ChunkId, Collection, Filter, Passage, SearchMode};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How often the indexes are asked for twice as much, where what they gave has been replaced or deleted.
const ROUNDS: usize = 4;

/// What to look for.
pub(crate) struct Query<'a> {
    pub collection: &'a Collection,
    pub text: &'a str,
    pub mode: SearchMode,
    pub filter: Option<&'a Filter>,
    /// Passages wanted.
    pub limit: usize,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    /// Every candidate that can be found, best first, with all its scores.
    pub passages: Vec<Passage>,
    /// What the dense side says of the question.
    pub dense: Option<DenseEvidence>,
    pub embed_time: Duration,
    pub retrieve_time: Duration,
}

/// What the indexes give for a query, best first.
struct Sides {
    dense: Vec<Candidate>,
    lexical: Vec<Candidate>,
}

/// Both sides' candidates of one round, without those that cannot be found any more.
struct Round {
    sides: Sides,
    stored: HashMap<ChunkId, StoredPassage>,
    stale: usize,
}

impl GatewayState {
    /// Finds the candidates of a query.
    pub(crate) async fn find(&self, query: &Query<'_>) -> Result<Found, GatewayError> {
        if query.collection.chunks == 0 {
            return Ok(Found::default());
        }
        let embedding = Instant::now();
        let (vector, background) = self.embed_with_background(query).await?;
        let embed_time = embedding.elapsed();
        let retrieving = Instant::now();
        let round = self.rounds(query, vector.as_deref()).await?;
        let dense = round.sides.dense.first().and_then(|best| {
            DenseEvidence::new(
                best.score,
                &round.stored.get(&best.chunk_id)?.text,
                &background,
            )
        });
        let passages = self.ranked(query.mode, round);
        Ok(Found {
            passages,
            dense,
            embed_time,
            retrieve_time: retrieving.elapsed(),
        })
    }

    /// The `limit` best passages of a query.
    pub(crate) async fn best(&self, query: &Query<'_>) -> Result<Vec<Passage>, GatewayError> {
        if query.collection.chunks == 0 {
            return Ok(Vec::new());
        }
        let vector = self.embed(query).await?.map(|(_, vector)| vector);
        self.best_by_vector(query, vector.as_deref()).await
    }

    /// The `limit` best passages of a query whose vector is known. The catalog is asked for no others, unless one of these
    /// cannot be found any more.
    pub(crate) async fn best_by_vector(
        &self,
        query: &Query<'_>,
        vector: Option<&[f32]>,
    ) -> Result<Vec<Passage>, GatewayError> {
        let sides = self.sides(query, vector, self.wanted(query)).await?;
        let mut best = self.fused(query.mode, &sides);
        best.truncate(query.limit);
        let ids: Vec<ChunkId> = best.iter().map(|fused| fused.chunk_id).collect();
        let hydrated = self
            .parts()
            .catalog
            .passages(&query.collection.name, &ids)
            .await?;
        if hydrated.stale == 0 {
            let stored = hydrated.passages.into_iter();
            return Ok(stored
                .zip(&best)
                .map(|(stored, fused)| passage(stored, fused))
                .collect());
        }
        let round = self.rounds(query, vector).await?;
        let mut passages = self.ranked(query.mode, round);
        passages.truncate(query.limit);
        Ok(passages)
    }

    /// The collection's embedder and the question's vector; nothing where only the lexical side is asked.
    async fn embed(
        &self,
        query: &Query<'_>,
    ) -> Result<Option<(EmbedPool, Vec<f32>)>, GatewayError> {
        if query.mode == SearchMode::Lexical {
            return Ok(None);
        }
        let embedder = self
            .parts()
            .embedders
            .get(&query.collection.embedder)
            .await?;
        let vector = embedder.embed_query(query.text.to_owned()).await?;
        Ok(Some((embedder, vector)))
    }

    /// The question's vector, and its cosines with the background.
    async fn embed_with_background(
        &self,
        query: &Query<'_>,
    ) -> Result<(Option<Vec<f32>>, Vec<f32>), GatewayError> {
        let Some((embedder, vector)) = self.embed(query).await? else {
            return Ok((None, Vec::new()));
        };
        let background = self.backgrounds().cosines(&embedder, &vector).await?;
        Ok((Some(vector), background))
    }

    /// Candidates that each side is asked for.
    fn wanted(&self, query: &Query<'_>) -> usize {
        self.settings().candidates.max(query.limit)
    }

    /// Asks again, and for more, while some of what the indexes gave cannot be found: then a document was replaced or deleted
    /// in between, and what took its place is found by the next round.
    async fn rounds(
        &self,
        query: &Query<'_>,
        vector: Option<&[f32]>,
    ) -> Result<Round, GatewayError> {
        let wanted = self.wanted(query);
        let mut round = self.round(query, vector, wanted).await?;
        for doubling in 1..ROUNDS {
            if round.stale == 0 {
                break;
            }
            round = self.round(query, vector, wanted << doubling).await?;
        }
        Ok(round)
    }

    async fn round(
        &self,
        query: &Query<'_>,
        vector: Option<&[f32]>,
        fetch: usize,
    ) -> Result<Round, GatewayError> {
        let Sides { dense, lexical } = self.sides(query, vector, fetch).await?;
        let mut seen = HashSet::new();
        let all = dense
            .iter()
            .chain(&lexical)
            .map(|candidate| candidate.chunk_id);
        let ids: Vec<ChunkId> = all.filter(|id| seen.insert(*id)).collect();
        let hydrated = self
            .parts()
            .catalog
            .passages(&query.collection.name, &ids)
            .await?;
        let stored: HashMap<_, _> = hydrated
            .passages
            .into_iter()
            .map(|passage| (passage.chunk_id, passage))
            .collect();
        let can_be_found = |side: Vec<Candidate>| {
            side.into_iter()
                .filter(|one| stored.contains_key(&one.chunk_id))
                .collect()
        };
        Ok(Round {
            sides: Sides {
                dense: can_be_found(dense),
                lexical: can_be_found(lexical),
            },
            stale: hydrated.stale,
            stored,
        })
    }

    /// Asks both sides at once.
    async fn sides(
        &self,
        query: &Query<'_>,
        vector: Option<&[f32]>,
        fetch: usize,
    ) -> Result<Sides, GatewayError> {
        let (dense, lexical) =
            tokio::try_join!(self.dense(query, vector, fetch), self.lexical(query, fetch))?;
        Ok(Sides { dense, lexical })
    }

    async fn dense(
        &self,
        query: &Query<'_>,
        vector: Option<&[f32]>,
        fetch: usize,
    ) -> Result<Vec<Candidate>, GatewayError> {
        let Some(vector) = vector else {
            return Ok(Vec::new());
        };
        Ok(self
            .parts()
            .dense
            .search(&query.collection.name, vector, query.filter, fetch)
            .await?)
    }

    async fn lexical(
        &self,
        query: &Query<'_>,
        fetch: usize,
    ) -> Result<Vec<Candidate>, GatewayError> {
        if query.mode == SearchMode::Dense {
            return Ok(Vec::new());
        }
        Ok(self
            .parts()
            .lexical
            .search(&query.collection.name, query.text, query.filter, fetch)
            .await?)
    }

    fn ranked(&self, mode: SearchMode, mut round: Round) -> Vec<Passage> {
        self.fused(mode, &round.sides)
            .iter()
            .filter_map(|fused| Some(passage(round.stored.remove(&fused.chunk_id)?, fused)))
            .collect()
    }

    fn fused(&self, mode: SearchMode, sides: &Sides) -> Vec<Fused> {
        let (dense, lexical) = (scored(&sides.dense), scored(&sides.lexical));
        match mode {
            SearchMode::Hybrid => reciprocal_rank_fusion(&dense, &lexical, &self.settings().fusion),
            SearchMode::Dense => dense_only(&dense),
            SearchMode::Lexical => lexical_only(&lexical),
        }
    }
}

fn scored(candidates: &[Candidate]) -> Vec<(ChunkId, f32)> {
    candidates
        .iter()
        .map(|candidate| (candidate.chunk_id, candidate.score))
        .collect()
}

fn passage(stored: StoredPassage, fused: &Fused) -> Passage {
    Passage {
        chunk_id: stored.chunk_id,
        document_id: stored.document_id,
        document_name: stored.document_name,
        version: stored.version,
        ordinal: stored.ordinal,
        text: stored.text,
        span: stored.span,
        heading: stored.heading,
        page: stored.page,
        metadata: stored.metadata,
        score: fused.score(),
        scores: Some(fused.scores),
    }
}
