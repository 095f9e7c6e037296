//! Taking what was replaced, deleted or given up out of the indexes, and then out of the catalog.

use crate::indexer::Indexer;
use crate::write::Unwritten;
use lore_catalog::Removal;
use lore_types::VersionId;
use std::collections::BTreeMap;

/// Versions removed with one pair of commits.
const REMOVALS: u32 = 500;

/// Removes everything that is to be removed.
///
/// # Guarantees
/// May end at any point and be repeated: the catalog forgets a version only once both indexes have.
pub(crate) async fn sweep(indexer: &mut Indexer) -> Result<(), Unwritten> {
    loop {
        let removals = indexer.state.catalog.removals(REMOVALS).await?;
        if removals.is_empty() {
            break;
        }
        remove(indexer, &removals).await?;
    }
    for collection in indexer.state.catalog.doomed_collections().await? {
        drop_collection(indexer, &collection).await?;
    }
    Ok(())
}

async fn remove(indexer: &Indexer, removals: &[Removal]) -> Result<(), Unwritten> {
    let state = &indexer.state;
    let mut touched: BTreeMap<&str, Vec<VersionId>> = BTreeMap::new();
    for removal in removals.iter().filter(|removal| removal.touched) {
        touched
            .entry(&removal.collection)
            .or_default()
            .push(removal.version);
    }
    for (collection, versions) in touched {
        state.dense.remove_versions(collection, &versions).await?;
        state.lexical.remove_versions(collection, &versions).await?;
        state.lexical.commit(collection).await?;
    }
    state.catalog.removed(removals).await?;
    let originals: Vec<_> = removals
        .iter()
        .map(|removal| removal.content_hash.clone())
        .collect();
    state.originals.collect(&state.catalog, &originals).await?;
    Ok(())
}

async fn drop_collection(indexer: &mut Indexer, collection: &str) -> Result<(), Unwritten> {
    indexer.made.remove(collection);
    indexer.written.remove(collection);
    let state = &indexer.state;
    state.dense.drop_collection(collection).await?;
    state.lexical.drop_collection(collection).await?;
    let originals = state.catalog.purge_collection(collection).await?;
    state.originals.collect(&state.catalog, &originals).await?;
    Ok(())
}
