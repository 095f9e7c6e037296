//! Who may speak to a server without keys: programs on this machine, but no web page of another site.
//!
//! A browser sends what any page asks it to, also to this machine, and a page whose name is made to lead here (DNS
//! rebinding) may even read the answers. Such requests give themselves away by their headers.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lore_http::{ApiFailure, ErrorCode, is_loopback_host};

/// Lets a request pass that is meant for this machine and comes from no other site's page.
pub async fn check(request: Request, next: Next) -> Response {
    match verdict(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn verdict(request: &Request) -> Result<(), ApiFailure> {
    let host = host(request).unwrap_or_default();
    let named: Option<Authority> = host.parse().ok();
    if !named.is_some_and(|named| is_loopback_host(named.host())) {
        return Err(misdirected(&host));
    }
    let header = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    if header("sec-fetch-site") == Some(b"cross-site".as_slice()) {
        return Err(foreign("another site's page"));
    }
    match request.headers().get(ORIGIN) {
        Some(origin) if !is_own(origin.as_bytes(), &host) => {
            Err(foreign(&String::from_utf8_lossy(origin.as_bytes())))
        }
        _ => Ok(()),
    }
}

fn host(request: &Request) -> Option<String> {
    let header = request.headers().get(HOST);
    let header = header.and_then(|host| host.to_str().ok().map(str::to_owned));
    header.or_else(|| request.uri().authority().map(ToString::to_string))
}

/// Whether a page's origin is this very server.
fn is_own(origin: &[u8], host: &str) -> bool {
    let plain = origin.strip_prefix(b"http://");
    let origin = plain.or_else(|| origin.strip_prefix(b"https://"));
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_bytes()))
}

fn misdirected(host: &str) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::MisdirectedRequest,
        format!("the request is for host `{host}`, but a server without API keys answers to localhost only"),
    )
    .hint("ask http://localhost or http://127.0.0.1, or set server.api_keys and send a key")
}

fn foreign(origin: &str) -> ApiFailure {
    ApiFailure::new(
        ErrorCode::Forbidden,
        format!("the request comes from {origin}, and a server without API keys takes none from web pages of other sites"),
    )
    .hint("set server.api_keys and send a key, or ask from outside a browser")
}
