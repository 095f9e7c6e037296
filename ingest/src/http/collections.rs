use crate::error::{no_embedder, refused, unknown_embedder};
use crate::http::{check, limit, list};
use crate::indexer::Command;
use crate::state::State;
use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use lore_catalog::{CatalogError, NewCollection};
use lore_http::{ApiFailure, ErrorCode, JsonBody, Params, Segments};
use lore_types::{Collection, Deleted, ErrorBody, List};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

/// How long an answer waits for the indexes to follow. They follow in any case.
const INDEXES: Duration = Duration::from_secs(10);

/// A collection to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCollection {
    /// 1–64 of `a-z A-Z 0-9 _ - .`, not starting with `.`.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The catalogue name of its embedder; the configured one where absent.
    #[serde(default)]
    pub embedder: Option<String>,
}

/// What is to change; fields that are absent stay as they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCollection {
    /// The adapter that answers questions where a request names no model; `null` for the base model.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub default_adapter: Option<Option<String>>,
}

/// A field that is there, be it `null`.
fn given<'de, D>(value: D) -> Result<Option<Option<String>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Option::deserialize(value).map(Some)
}

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CollectionPage {
    /// At most this many, 1–1000; 100 where absent.
    limit: Option<u32>,
    /// Only those after this name.
    after: Option<String>,
}

/// Make a collection.
#[utoipa::path(
    post, path = "/v1/collections", tag = "collections", request_body = CreateCollection,
    responses(
        (status = 201, description = "It is there", body = Collection),
        (status = 400, description = "The name is not allowed, or there is no such embedder", body = ErrorBody),
        (status = 409, description = "It is there already, or the name is the language model's", body = ErrorBody),
        (status = 503, description = "Its embedder is not installed", body = ErrorBody),
    )
)]
pub(crate) async fn create_collection(
    Shared(state): Shared<Arc<State>>,
    JsonBody(asked): JsonBody<CreateCollection>,
) -> Result<(StatusCode, Json<Collection>), ApiFailure> {
    Ok((StatusCode::CREATED, Json(create(&state, asked).await?)))
}

/// List the collections by name.
#[utoipa::path(
    get, path = "/v1/collections", tag = "collections", params(CollectionPage),
    responses((status = 200, description = "A page of collections", body = List<Collection>))
)]
pub(crate) async fn list_collections(
    Shared(state): Shared<Arc<State>>,
    Params(page): Params<CollectionPage>,
) -> Result<Json<List<Collection>>, ApiFailure> {
    let limit = limit(page.limit)?;
    let found = state
        .catalog
        .collections(page.after.as_deref(), limit)
        .await
        .map_err(refused)?;
    Ok(Json(list(found.items, found.has_more, |one| {
        one.name.clone()
    })))
}

/// One collection.
#[utoipa::path(
    get, path = "/v1/collections/{collection}", tag = "collections",
    params(("collection" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The collection", body = Collection),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn get_collection(
    Shared(state): Shared<Arc<State>>,
    Segments(collection): Segments<String>,
) -> Result<Json<Collection>, ApiFailure> {
    state
        .catalog
        .collection(&collection)
        .await
        .map(Json)
        .map_err(refused)
}

/// Change what a collection answers with.
#[utoipa::path(
    patch, path = "/v1/collections/{collection}", tag = "collections", request_body = ChangeCollection,
    params(("collection" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The collection as it is now", body = Collection),
        (status = 404, description = "It is not there, or the adapter is not", body = ErrorBody),
    )
)]
pub(crate) async fn change_collection(
    Shared(state): Shared<Arc<State>>,
    Segments(collection): Segments<String>,
    JsonBody(change): JsonBody<ChangeCollection>,
) -> Result<Json<Collection>, ApiFailure> {
    let changed = match change.default_adapter {
        None => state.catalog.collection(&collection).await,
        Some(adapter) => {
            let adapter = adapter.as_deref();
            state
                .catalog
                .set_default_adapter(&collection, adapter)
                .await
        }
    };
    changed.map(Json).map_err(refused)
}

/// Delete a collection with all its documents.
#[utoipa::path(
    delete, path = "/v1/collections/{collection}", tag = "collections",
    params(("collection" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is gone", body = Deleted),
        (status = 404, description = "It is not there", body = ErrorBody),
    )
)]
pub(crate) async fn delete_collection(
    Shared(state): Shared<Arc<State>>,
    Segments(collection): Segments<String>,
) -> Result<Json<Deleted>, ApiFailure> {
    state
        .catalog
        .delete_collection(&collection)
        .await
        .map_err(refused)?;
    swept(&state).await;
    Ok(Json(Deleted {
        id: collection,
        deleted: true,
    }))
}

/// Waits a while until the indexes have followed a deletion.
pub(crate) async fn swept(state: &State) {
    let followed = timeout(INDEXES, async { state.sweep().await.await });
    if followed.await.is_err() {
        tracing::info!("the indexes are busy and follow a deletion later");
    }
}

fn reserved(name: &str) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::Conflict,
        format!("`{name}` is the language model's name, so no collection can have it"),
    )
    .hint("chat completions take either as `model`; choose another name")
    .param("name")
}

/// Makes a collection in the catalog and then in the indexes.
pub(crate) async fn create(
    state: &State,
    asked: CreateCollection,
) -> Result<Collection, ApiFailure> {
    check::collection_name(&asked.name)?;
    if state.settings.reserved.contains(&asked.name) {
        return Err(reserved(&asked.name));
    }
    let default = &state.settings.default_embedder;
    let embedder = match asked.embedder {
        Some(name) if name != *default && !state.embedders.offers(&name) => {
            return Err(unknown_embedder(&name, state.embedders.offered()));
        }
        Some(name) => name,
        None => default.clone(),
    };
    let pool = state
        .embedders
        .get(&embedder)
        .await
        .map_err(|error| no_embedder(&embedder, &error))?;
    let dimensions = u32::try_from(pool.info().dimensions).unwrap_or(u32::MAX);
    let new = NewCollection {
        name: asked.name,
        description: asked.description,
        embedder,
        dimensions,
    };
    let made = match state.catalog.create_collection(&new).await {
        // The one that was deleted may be on its way out of the indexes just now.
        Err(CatalogError::CollectionRemoving(_)) => {
            swept(state).await;
            state.catalog.create_collection(&new).await
        }
        other => other,
    };
    let made = made.map_err(refused)?;
    let (done, heard) = oneshot::channel();
    let create = Command::Create(made.name.clone(), dimensions, done);
    if state.indexer.send(create).await.is_ok() {
        let _ = timeout(INDEXES, heard).await;
    }
    Ok(made)
}
