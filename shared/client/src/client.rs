use crate::ClientError;
use lore_types::{ApiError, ErrorBody};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may stay silent within one answer; streams carry keep-alive lines.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest wait before one retry, whatever the server asks for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Most characters of a foreign answer that an error shows.
const SHOWN: usize = 200;

/// Where a server is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `http://127.0.0.1:7878`, with a path where Lore stands behind a proxy.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// How often a call is repeated where the server says that it is full (429) or still loading (503).
    pub retries: u32,
}

/// A connection to one server. Cloning is cheap and shares connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    retries: u32,
}

impl Client {
    /// A client for a server; nothing is sent yet.
    ///
    /// # Errors
    /// Where the address or the key cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let base = parse_base(&settings.url)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .default_headers(headers(settings.api_key.as_deref())?);
        if is_loopback(&base) {
            // A proxy of the environment cannot reach this machine's own ports.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(ClientError::Setup)?;
        Ok(Self {
            http,
            base,
            retries: settings.retries,
        })
    }

    /// The server's address, without a slash at the end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// `GET path`, with the answer as `T`.
    ///
    /// # Errors
    /// As every call, see [`ClientError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let response = self.send(|| self.request(Method::GET, path, query)).await?;
        read_json(response).await
    }

    /// `POST path` with `body` as JSON, with the answer as `T`.
    ///
    /// # Errors
    /// As every call, see [`ClientError`].
    pub async fn post<B, T>(&self, path: &[&str], body: &B) -> Result<T, ClientError>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let response = self
            .send(|| self.request(Method::POST, path, &[]).json(body))
            .await?;
        read_json(response).await
    }

    /// `DELETE path`, with the answer as `T`.
    ///
    /// # Errors
    /// As every call, see [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        let response = self
            .send(|| self.request(Method::DELETE, path, &[]))
            .await?;
        read_json(response).await
    }

    /// A request that is not sent yet. `path` holds segments, which are escaped here.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Sends what `build` makes, again after a wait where the server is full, and refuses answers without success.
    pub(crate) async fn send(
        &self,
        build: impl Fn() -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let mut attempt = 0;
        loop {
            let error = match self.send_once(build()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let Some(wait) = wait_before_retry(&error, attempt).filter(|_| attempt < self.retries)
            else {
                return Err(error);
            };
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    pub(crate) async fn send_once(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(api_error(response).await)
        }
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.url().to_owned(),
            source,
        }
    }
}

/// The answer's body as `T`.
pub(crate) async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let url = response.url().to_string();
    let malformed = |reason: String| ClientError::Malformed {
        url: url.clone(),
        reason,
    };
    let bytes = response
        .bytes()
        .await
        .map_err(|error| malformed(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))
}

fn parse_base(text: &str) -> Result<Url, ClientError> {
    let wrong = |reason: &str| ClientError::Url {
        url: text.to_owned(),
        reason: reason.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(wrong("it must begin with http:// or https://")),
    }
}

fn headers(key: Option<&str>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ClientError::Key)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost"
            || bare
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

pub(crate) fn wait_before_retry(error: &ClientError, attempt: u32) -> Option<Duration> {
    if !error.is_busy() {
        return None;
    }
    let ClientError::Api { retry_after, .. } = error else {
        return None;
    };
    let backoff = Duration::from_millis(250).saturating_mul(1 << attempt.min(6));
    Some(retry_after.unwrap_or(backoff).min(MAX_WAIT))
}

async fn api_error(response: Response) -> ClientError {
    let status = response.status().as_u16();
    let url = response.url().to_string();
    let retry_after = retry_after(response.headers());
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => ClientError::Api {
            status,
            error: Box::new(body.error),
            retry_after,
        },
        Err(_) => ClientError::Api {
            status,
            error: Box::new(foreign(&url, status, &body)),
            retry_after,
        },
    }
}

/// An error for an answer that did not come from Lore, a proxy's for example.
fn foreign(url: &str, status: u16, body: &[u8]) -> ApiError {
    let text: String = String::from_utf8_lossy(body).chars().take(SHOWN).collect();
    ApiError {
        code: "foreign_answer".to_owned(),
        message: format!("{url} answered with status {status}: {}", text.trim()),
        hint: Some(
            "check that the address is a Lore server's and that nothing else listens there"
                .to_owned(),
        ),
        ..ApiError::default()
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, ClientError> {
        Client::new(&ClientSettings {
            url: url.to_owned(),
            api_key: None,
            retries: 0,
        })
    }

    #[test]
    fn segments_are_escaped_and_the_base_path_is_kept() {
        let client = client("http://localhost:1/lore/").expect("a client");
        let request = client
            .request(
                Method::GET,
                &["v1", "collections", "a/b c"],
                &[("after", "x&y".to_owned())],
            )
            .build()
            .expect("a request");
        assert_eq!(
            request.url().as_str(),
            "http://localhost:1/lore/v1/collections/a%2Fb%20c?after=x%26y"
        );
        assert_eq!(client.url(), "http://localhost:1/lore");
    }

    #[test]
    fn an_address_without_a_scheme_is_refused() {
        for wrong in ["localhost:7878", "ftp://a", ""] {
            assert!(
                matches!(client(wrong), Err(ClientError::Url { .. })),
                "{wrong}"
            );
        }
    }
}
