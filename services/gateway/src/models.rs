use crate::error::GatewayError;
use crate::state::GatewayState;
use axum::Json;
use axum::extract::State;
use lore_http::{ApiFailure, Segments};
use lore_types::{ErrorBody, List};
use serde::Serialize;
use utoipa::ToSchema;

/// Most collections that are listed as models.
const MAX_COLLECTIONS: u32 = 1_000;

/// Something that `model` may name, in OpenAI's shape.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Model {
    /// Its name.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// When it was made, in seconds since 1970; for models, when this server started.
    pub created: i64,
    /// `lore` for a language model, `lore-embedder` for an embedder, `lore-collection` for a collection: chatting with
    /// that model answers from its documents.
    pub owned_by: &'static str,
}

/// Lists what `model` may name: the language model, the embedders, and the collections.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = List<Model>)))]
pub(crate) async fn list(
    State(state): State<GatewayState>,
) -> Result<Json<List<Model>>, ApiFailure> {
    Ok(Json(List::whole(state.models().await?)))
}

/// One of them.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "models", params(("model" = String, Path, description = "Its name")), responses(
    (status = 200, body = Model),
    (status = 404, description = "No such model", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<GatewayState>,
    Segments(name): Segments<String>,
) -> Result<Json<Model>, ApiFailure> {
    let mut models = state.models().await?;
    let known = models.iter().map(|model| model.id.clone()).collect();
    let at = models
        .iter()
        .position(|model| model.id == name)
        .ok_or(GatewayError::NoModel { name, known })?;
    Ok(Json(models.swap_remove(at)))
}

impl GatewayState {
    async fn models(&self) -> Result<Vec<Model>, GatewayError> {
        let model = |id: String, created, owned_by| Model {
            id,
            object: "model",
            created,
            owned_by,
        };
        let mut models = Vec::new();
        if let Ok(generator) = self.generator() {
            models.push(model(generator.info().model, self.started(), "lore"));
        }
        let collections = self
            .parts()
            .catalog
            .collections(None, MAX_COLLECTIONS)
            .await?
            .items;
        for embedder in self.embedders(&collections) {
            models.push(model(embedder, self.started(), "lore-embedder"));
        }
        let listed = collections
            .into_iter()
            .map(|one| model(one.name, one.created_at.unix_timestamp(), "lore-collection"));
        models.extend(listed);
        Ok(models)
    }

    /// The default embedder and those of the collections, each once.
    pub(crate) fn embedders(&self, collections: &[lore_types::Collection]) -> Vec<String> {
        let mut names = vec![self.settings().embedder.clone()];
        for collection in collections {
            if !names.contains(&collection.embedder) {
                names.push(collection.embedder.clone());
            }
        }
        names
    }

    /// Refuses a model that does not answer questions.
    pub(crate) fn check_model(&self, name: &str) -> Result<(), GatewayError> {
        let known = self.generator()?.info().model;
        if name == known {
            return Ok(());
        }
        Err(GatewayError::NoModel {
            name: name.to_owned(),
            known: vec![known],
        })
    }
}
