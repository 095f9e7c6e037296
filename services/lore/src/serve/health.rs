use super::edge::Edge;
use super::readiness::Readiness;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use utoipa::OpenApi;

/// Routes that need no key: probes and the API's description.
pub fn open_routes(edge: &Edge) -> Router {
    let openapi = edge.openapi.clone();
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz).with_state(edge.readiness.clone()))
        .route("/openapi.json", get(move || describe(openapi)))
}

/// Routes that need a key where the server has any.
pub fn closed_routes(edge: &Edge) -> Router {
    let metrics = edge.metrics.clone();
    Router::new().route("/metrics", get(move || async move { scrape(&metrics) }))
}

/// The description of these routes.
pub fn description() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(healthz, readyz, metrics_text, describe_text))]
struct Described;

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()),
    responses((status = 200, description = "The process runs.", body = Object)))]
async fn healthz() -> impl IntoResponse {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// Every part is loaded.
#[utoipa::path(get, path = "/readyz", tag = "server", security(()), responses(
    (status = 200, description = "Every part is loaded.", body = Object),
    (status = 503, description = "Parts are missing: `status` is `loading`, `unavailable` (a part was lost), `failed` or `stopping`.", body = Object)))]
async fn readyz(State(readiness): State<Readiness>) -> Response {
    let status = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness.report())).into_response()
}

fn scrape(metrics: &lore_telemetry::MetricsHandle) -> impl IntoResponse + use<> {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        metrics.render(),
    )
}

async fn describe(openapi: Arc<str>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        openapi.to_string(),
    )
}

/// What this process has counted, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, description = "The numbers.", body = String, content_type = "text/plain")))]
#[expect(
    dead_code,
    reason = "it carries the description; the handler is a closure that owns the numbers"
)]
fn metrics_text() {}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "server", security(()),
    responses((status = 200, description = "The description.", body = Object)))]
#[expect(
    dead_code,
    reason = "it carries the description; the handler is a closure that owns the text"
)]
fn describe_text() {}
