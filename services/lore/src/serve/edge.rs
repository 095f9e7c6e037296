//! What stands before every service: limits, keys, metrics, and the routes of the process itself.

use super::readiness::Readiness;
use super::{door, health, keys, measure};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use lore_config::Server;
use lore_http::{ApiFailure, BodyLimit, ErrorCode};
use lore_telemetry::MetricsHandle;
use std::any::Any;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;

/// What the edge needs to know.
#[derive(Clone)]
pub struct Edge {
    /// Limits and keys.
    pub server: Server,
    /// What is still to come.
    pub readiness: Readiness,
    /// Where counts go.
    pub metrics: MetricsHandle,
    /// The API's description, as JSON.
    pub openapi: Arc<str>,
}

/// The whole server around `services`: cross-origin requests are not allowed, bodies are limited, keys are asked for,
/// a panic is an error 500, and every error has Lore's shape and a request id. Without keys, no web page of another site
/// gets in.
pub fn app(services: Router, edge: Edge) -> Router {
    let limit = BodyLimit(edge.server.max_body.bytes());
    let keys = Arc::new(edge.server.api_keys.clone());
    let router = lore_http::limited(services, limit)
        .merge(health::closed_routes(&edge))
        .layer(from_fn_with_state(keys, keys::check))
        .merge(health::open_routes(&edge))
        .layer(CatchPanicLayer::custom(panicked));
    let open = edge.server.api_keys.is_empty();
    let sealed = lore_http::sealed_inside(router, |router| {
        if open {
            router.layer(from_fn(door::check))
        } else {
            router
        }
    });
    measure::layered(sealed)
}

/// The server while its parts are loading: the process answers, the API says when to come back.
pub fn loading(edge: Edge) -> Router {
    let readiness = edge.readiness.clone();
    let later = move || {
        let waiting = readiness.report().waiting_for.join(", ");
        async move { not_ready(&waiting) }
    };
    app(
        Router::new().route("/v1/{*rest}", axum::routing::any(later)),
        edge,
    )
}

fn not_ready(waiting: &str) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::NotReady,
        format!("the server is still loading: {waiting}"),
    )
    .hint("GET /readyz tells when it is ready")
    .retry_after(2)
}

fn panicked(panic: Box<dyn Any + Send>) -> axum::response::Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(
        panic = text.as_deref().unwrap_or("without a message"),
        "a handler panicked"
    );
    let failure = ApiFailure::new(ErrorCode::Internal, "something went wrong inside Lore")
        .hint("look for the request id in the server's log");
    axum::response::IntoResponse::into_response(failure)
}
