//! The gateway in front of services that run apart: their routes, handed on with both bodies streaming.

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::StreamExt;
use lore_http::{ApiFailure, BodyLimit, ErrorCode, RequestId, exceeds_limit};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Routes of the ingest service.
const INGEST: [&str; 5] = [
    "/v1/collections",
    "/v1/collections/{*rest}",
    "/v1/jobs",
    "/v1/jobs/{*rest}",
    "/v1/index/{*rest}",
];
/// Routes of the trainer service.
const TRAINER: [&str; 10] = [
    "/v1/fine_tuning/{*rest}",
    "/v1/files",
    "/v1/files/{*rest}",
    "/v1/datasets",
    "/v1/datasets/{*rest}",
    "/v1/adapters",
    "/v1/adapters/{*rest}",
    "/v1/evaluations",
    "/v1/evaluations/{*rest}",
    "/v1/feedback",
];
/// How long a service may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// One service behind the gateway.
#[derive(Clone)]
struct Upstream {
    name: &'static str,
    url: String,
    client: reqwest::Client,
    stopping: CancellationToken,
}

/// Hands the ingest and trainer routes on to where those services listen; a service without an address has no routes.
///
/// # Guarantees
/// Bodies stream both ways, server-sent events included; nothing is kept in memory. The request id goes along. A service
/// that cannot be reached is 502 with `upstream_unavailable`, a body over the limit 413 as without a proxy, and the client's hanging up ends the request behind. When
/// `stopping` is cancelled, server-sent events end; other answers go on to their end. No proxy of the environment is asked:
/// the services are neighbours.
///
/// # Errors
/// Where the HTTP client cannot be built.
pub fn proxy(
    ingest_url: Option<&str>,
    trainer_url: Option<&str>,
    stopping: &CancellationToken,
) -> Result<Router, reqwest::Error> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let services = [
        ("ingest", ingest_url, INGEST.as_slice()),
        ("trainer", trainer_url, TRAINER.as_slice()),
    ];
    let mut router = Router::new();
    for (name, url, routes) in services {
        let Some(url) = url else { continue };
        let upstream = Upstream {
            name,
            url: url.trim_end_matches('/').to_owned(),
            client: client.clone(),
            stopping: stopping.clone(),
        };
        for route in routes {
            router = router.route(route, any(hand_on).with_state(upstream.clone()));
        }
    }
    Ok(router)
}

async fn hand_on(
    State(upstream): State<Upstream>,
    request: Request,
) -> Result<Response, ApiFailure> {
    let (parts, body) = request.into_parts();
    let limit = parts.extensions.get::<BodyLimit>().copied();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = end_to_end(&parts.headers);
    headers.remove(header::HOST);
    // These are about this server and were looked at; the service behind has another address.
    for about_us in [header::ORIGIN, HeaderName::from_static("sec-fetch-site")] {
        headers.remove(about_us);
    }
    if let Some(RequestId(id)) = parts.extensions.get()
        && let Ok(id) = id.parse()
    {
        headers.insert("x-request-id", id);
    }
    let mut request = upstream
        .client
        .request(parts.method, format!("{}{path}", upstream.url))
        .headers(headers);
    if !body.is_end_stream() {
        request = request.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    let response = request.send().await.map_err(|error| match limit {
        Some(limit) if exceeds_limit(&error) => limit.exceeded().cause(&error),
        _ => unreachable_service(&upstream, &error),
    })?;
    Ok(handed_back(response, upstream.stopping))
}

fn handed_back(response: reqwest::Response, stopping: CancellationToken) -> Response {
    let status =
        StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = end_to_end(response.headers());
    let events = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let bytes = response.bytes_stream();
    let body = if events {
        Body::from_stream(bytes.take_until(stopping.cancelled_owned()))
    } else {
        Body::from_stream(bytes)
    };
    (status, headers, body).into_response()
}

/// Headers without those that concern one connection only (RFC 9110, 7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const CONNECTION: [HeaderName; 6] = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let mut kept = headers.clone();
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')) {
        kept.remove(name.trim());
    }
    for name in CONNECTION {
        kept.remove(name);
    }
    kept.remove("keep-alive");
    kept
}

fn unreachable_service(upstream: &Upstream, error: &reqwest::Error) -> ApiFailure {
    let Upstream { name, url, .. } = upstream;
    ApiFailure::new(
        ErrorCode::UpstreamUnavailable,
        format!("the {name} service at {url} does not answer"),
    )
    .hint(format!(
        "start it with `lore serve {name}`, or correct `services.{name}_url`"
    ))
    .retry_after(2)
    .cause(error)
}
