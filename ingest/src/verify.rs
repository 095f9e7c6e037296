//! Comparing the catalog with both indexes, and repairing what differs.

use crate::difference::{Difference, compare};
use crate::error::{chain, refused};
use crate::indexer::Indexer;
use lore_http::{ApiFailure, ErrorCode};
use lore_index::{IndexError, IndexedId};
use lore_types::{CollectionReport, IndexReport, JobId, OrphanCollection, SideReport};
use std::collections::{BTreeSet, HashSet};

/// Collections that are read from the catalog at a time.
const PAGE: u32 = 1_000;

/// Compares one collection or all of them; with `repair`, removes what is too much and queues what is missing.
pub(crate) async fn verify(
    indexer: &mut Indexer,
    collection: Option<&str>,
    repair: bool,
) -> Result<IndexReport, ApiFailure> {
    let names = names(indexer, collection).await?;
    let mut collections = Vec::with_capacity(names.len());
    for name in &names {
        collections.push(compare_collection(indexer, name, repair).await?);
    }
    let orphans = if collection.is_some() {
        Vec::new()
    } else {
        orphans(indexer, &names).await?
    };
    if repair {
        drop_orphans(indexer, &orphans).await?;
    }
    let sound = |side: &SideReport| side.missing == 0 && side.extra == 0;
    let consistent = orphans.is_empty()
        && collections
            .iter()
            .all(|one| sound(&one.dense) && sound(&one.lexical));
    Ok(IndexReport {
        object: "index_report".to_owned(),
        consistent,
        repaired: repair && !consistent,
        collections,
        orphans,
    })
}

async fn names(indexer: &Indexer, collection: Option<&str>) -> Result<Vec<String>, ApiFailure> {
    let catalog = &indexer.state.catalog;
    if let Some(name) = collection {
        return Ok(vec![catalog.collection(name).await.map_err(refused)?.name]);
    }
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().map(String::as_str);
        let page = catalog.collections(after, PAGE).await.map_err(refused)?;
        names.extend(page.items.into_iter().map(|one| one.name));
        if !page.has_more {
            return Ok(names);
        }
    }
}

async fn compare_collection(
    indexer: &mut Indexer,
    name: &str,
    repair: bool,
) -> Result<CollectionReport, ApiFailure> {
    let state = indexer.state.clone();
    let live = state.catalog.live_chunks(name).await.map_err(refused)?;
    let states = state.catalog.version_states(name).await.map_err(refused)?;
    let dense = compare(&live, &held(state.dense.chunks(name).await)?, &states);
    let lexical = compare(&live, &held(state.lexical.chunks(name).await)?, &states);
    let jobs = if repair {
        repair_collection(indexer, name, &dense, &lexical).await?
    } else {
        Vec::new()
    };
    Ok(CollectionReport {
        collection: name.to_owned(),
        chunks: live.len() as u64,
        dense: dense.report,
        lexical: lexical.report,
        jobs,
    })
}

/// What an index holds; one that was never made, or was taken away, holds nothing.
fn held(answer: Result<Vec<IndexedId>, IndexError>) -> Result<Vec<IndexedId>, ApiFailure> {
    match answer {
        Err(IndexError::NoCollection { .. }) => Ok(Vec::new()),
        other => other.map_err(|error| unreachable(&error)),
    }
}

async fn repair_collection(
    indexer: &mut Indexer,
    name: &str,
    dense: &Difference,
    lexical: &Difference,
) -> Result<Vec<JobId>, ApiFailure> {
    let state = indexer.state.clone();
    indexer.made.remove(name);
    if !dense.surplus.is_empty() {
        state
            .dense
            .remove_versions(name, &dense.surplus())
            .await
            .map_err(|error| unreachable(&error))?;
    }
    if !lexical.surplus.is_empty() {
        state
            .lexical
            .remove_versions(name, &lexical.surplus())
            .await
            .map_err(|error| unreachable(&error))?;
        state
            .lexical
            .commit(name)
            .await
            .map_err(|error| unreachable(&error))?;
    }
    let mut jobs = Vec::new();
    for version in dense
        .rewrite()
        .chain(lexical.rewrite())
        .collect::<BTreeSet<_>>()
    {
        // A version that the catalog does not know as active is only removed.
        jobs.extend(state.catalog.index_again(version).await.map_err(refused)?);
    }
    state.queued.notify_waiters();
    Ok(jobs)
}

async fn orphans(indexer: &Indexer, known: &[String]) -> Result<Vec<OrphanCollection>, ApiFailure> {
    let state = &indexer.state;
    let leaving = state.catalog.doomed_collections().await.map_err(refused)?;
    let known: HashSet<&String> = known.iter().collect();
    let sides = [
        ("dense", state.dense.collections().await),
        ("lexical", state.lexical.collections().await),
    ];
    let mut orphans = Vec::new();
    for (side, names) in sides {
        let names = names.map_err(|error| unreachable(&error))?;
        let unknown = names
            .into_iter()
            .filter(|name| !known.contains(name) && !leaving.contains(name));
        orphans.extend(unknown.map(|collection| OrphanCollection {
            collection,
            side: side.to_owned(),
        }));
    }
    Ok(orphans)
}

async fn drop_orphans(indexer: &Indexer, orphans: &[OrphanCollection]) -> Result<(), ApiFailure> {
    for orphan in orphans {
        let dropped = match orphan.side.as_str() {
            "dense" => {
                indexer
                    .state
                    .dense
                    .drop_collection(&orphan.collection)
                    .await
            }
            _ => {
                indexer
                    .state
                    .lexical
                    .drop_collection(&orphan.collection)
                    .await
            }
        };
        dropped.map_err(|error| unreachable(&error))?;
        tracing::warn!(
            collection = orphan.collection,
            side = orphan.side,
            "an unknown collection was dropped"
        );
    }
    Ok(())
}

fn unreachable(error: &IndexError) -> ApiFailure {
    if error.is_transient() {
        return ApiFailure::new(ErrorCode::UpstreamUnavailable, chain(error))
            .retry_after(5)
            .cause(error);
    }
    ApiFailure::internal(error)
}
