use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use lore_telemetry::names::{HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS};
use std::time::Instant;

/// Counts and times every request of `router`, by method, route and status.
pub fn layered(router: Router) -> Router {
    router.layer(from_fn(measure))
}

async fn measure(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let _in_flight = InFlight::begin();
    let method = request.method().to_string();
    // The route, not the path: ids in labels would make a series for each document.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    let labels = [("route", route), ("method", method)];
    metrics::histogram!(HTTP_SECONDS, &labels).record(begun.elapsed().as_secs_f64());
    let [route, method] = labels;
    metrics::counter!(HTTP_REQUESTS, &[route, method, ("status", status)]).increment(1);
    response
}

/// Counts a request while it lives, also one whose client hangs up.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!(HTTP_IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_IN_FLIGHT).decrement(1.0);
    }
}
