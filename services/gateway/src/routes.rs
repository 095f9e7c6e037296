use crate::state::GatewayState;
use crate::{ask, chat, embeddings, models, search};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The gateway's routes with their OpenAPI. The caller merges it with the other services' and seals the whole
/// (`lore_http::sealed`).
pub fn router(state: GatewayState) -> OpenApiRouter {
    routes().with_state(state)
}

/// The OpenAPI of these routes, for which no state is needed.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<GatewayState> {
    OpenApiRouter::new()
        .routes(routes!(search::search))
        .routes(routes!(ask::ask))
        .routes(routes!(chat::complete))
        .routes(routes!(embeddings::embeddings))
        .routes(routes!(models::list))
        .routes(routes!(models::get))
}
