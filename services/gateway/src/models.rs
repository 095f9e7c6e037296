use crate::adapters::Served;
use crate::error::GatewayError;
use crate::state::GatewayState;
use axum::Json;
use axum::extract::State;
use lore_http::{ApiFailure, Segments};
use lore_types::{
    AdapterKind, AdapterMetrics, AdapterVersion, ErrorBody, FineTuningId, List, TrainedOn,
};
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
    /// that model answers from its documents; `lore-adapter` for an adapter.
    pub owned_by: &'static str,
    /// Of an adapter: its base model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Of an adapter: where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
}

/// Where an adapter comes from, and what of it is served.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Lineage {
    /// Its name.
    pub adapter: String,
    /// The version that answers under this name.
    pub version: u32,
    /// The version that the catalog has promoted.
    pub promoted: Option<u32>,
    /// What it holds.
    pub kind: AdapterKind,
    /// The base model that it was trained on.
    pub base: String,
    /// The adapter (`name@version`) that its training went on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continued_from: Option<String>,
    /// The job that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job: Option<FineTuningId>,
    /// The data sets that it was trained on.
    pub datasets: Vec<TrainedOn>,
    /// What was measured.
    pub metrics: AdapterMetrics,
    /// Whether a document that it was trained on has changed or gone since.
    pub stale: bool,
    /// Why the promoted version does not answer, where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Lists what `model` may name: the language model, its adapters with their lineage, the embedders, and the collections.
///
/// Of each adapter its name, which means the promoted version, and each version as `name@version`.
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
            parent: None,
            lineage: None,
        };
        let mut models = Vec::new();
        if let Ok(generator) = self.generator() {
            models.push(model(generator.info().model, self.started(), "lore"));
        }
        let served = self.parts().adapters.served();
        models.extend(served.iter().flat_map(of_adapter));
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
}

/// The bare name, where a version answers under it, and each version.
fn of_adapter(served: &Served) -> Vec<Model> {
    let bare = served
        .version
        .and_then(|number| served.adapter.version(number));
    let bare = bare.map(|version| model_of(served, version, served.adapter.name.clone()));
    let each = served.adapter.versions.iter();
    let each = each.map(|version| model_of(served, version, version.reference().to_string()));
    bare.into_iter().chain(each).collect()
}

fn model_of(served: &Served, version: &AdapterVersion, id: String) -> Model {
    let refusal = served
        .refusal
        .as_ref()
        .filter(|refusal| id == served.adapter.name || refusal.version == version.version);
    let lineage = Lineage {
        adapter: version.adapter.clone(),
        version: version.version,
        promoted: served.adapter.promoted,
        kind: version.kind,
        base: version.base.clone(),
        continued_from: version.parent.clone(),
        job: version.job,
        datasets: version.provenance.datasets.clone(),
        metrics: version.metrics.clone(),
        stale: version.stale,
        refused: refusal.map(|refusal| refusal.reason.clone()),
    };
    Model {
        id,
        object: "model",
        created: version.created_at.unix_timestamp(),
        owned_by: "lore-adapter",
        parent: Some(version.base.clone()),
        lineage: Some(lineage),
    }
}
